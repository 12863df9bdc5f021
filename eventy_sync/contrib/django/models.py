"""What stands behind the admin pages: models without tables, for the permissions that they have.

Django makes the permissions of a model that it does not manage like those of any other.  The rows are in the queues;
in the database there are none, and whoever asks for them, as ``dumpdata`` does, finds none.
"""

from __future__ import annotations

from typing import Any

from django.db import models


class NoRows(models.Manager[Any]):
    """Finds nothing, without asking a database that has no such table."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return an empty query."""
        rows: models.QuerySet[Any] = super().get_queryset().none()
        return rows


class Row(models.Model):
    """Something in a queue."""

    id: models.CharField[str, str] = models.CharField(max_length=300, primary_key=True)

    objects = NoRows()

    class Meta:
        abstract = True
        managed = False
        base_manager_name = "objects"
        default_permissions: tuple[str, ...] = ("view",)

    def __str__(self) -> str:
        return str(self.id)


class Event(Row):
    """An event; its payload, and whatever may quote it, is for those who may view payloads."""

    class Meta(Row.Meta):
        abstract = False
        permissions = (("view_payload", "Can view payloads, and texts that may quote them"),)


class Result(Row):
    """What came of one run of one handler on one event."""

    class Meta(Row.Meta):
        abstract = False


class Claim(Row):
    """A claim that somebody holds."""

    class Meta(Row.Meta):
        abstract = False


class Group(Row):
    """A group; whoever may change it may pause it and let it go on."""

    class Meta(Row.Meta):
        abstract = False
        default_permissions = ("view", "change")


class DeadLetter(Row):
    """An event that a group has given up; whoever may change it may have it handed out again."""

    class Meta(Row.Meta):
        abstract = False
        default_permissions = ("view", "change")

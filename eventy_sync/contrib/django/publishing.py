"""Publishing that keeps to the database's transactions."""

from __future__ import annotations

import functools
from typing import Any

from django.db import transaction

from eventy_sync.contrib.django.configuration import DEFAULT_ALIAS
from eventy_sync.contrib.django.queues import check_payload, get_queue


def publish_on_commit(payload: Any, *, using: str | None = None, alias: str = DEFAULT_ALIAS, **options: Any) -> None:
    """Publish when the present transaction is committed; at once outside of one, never if it is rolled back.

    The payload is published as it is at the commit.

    Arguments:
        using: the database; the default one unless given.
        alias: the queue in ``EVENTY_SYNC``.
        options: those of `EventQueue.publish`.

    Raises:
        ImproperlyConfigured: the settings of the queue are wrong.
        InvalidPayloadError: the payload is not of the queue's type, too large or too deep.
        StorageError: outside of a transaction, the event could not be written.  Inside one, the commit raises it:
            the transaction is committed then, and the event is not there.
    """
    queue = get_queue(alias)
    check_payload(alias, payload)  # while the transaction can still be rolled back
    transaction.on_commit(functools.partial(queue.publish, payload, **options), using=using)

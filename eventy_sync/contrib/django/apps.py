"""The app for ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from eventy_sync.contrib.django.checks import check_settings


class EventySyncConfig(AppConfig):
    """Settings are checked when a command starts; a queue is opened when it is first used."""

    name = "eventy_sync.contrib.django"
    label = "eventy_sync"
    verbose_name = "Event queues"

    def ready(self) -> None:
        """Register the checks."""
        register(check_settings, "eventy_sync")

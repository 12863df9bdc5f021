"""Queues in a Django project: settings, publishing on commit, a worker that finds each app's ``subscribers.py``, admin.

Add ``"eventy_sync.contrib.django"`` to ``INSTALLED_APPS`` and describe the queues in ``EVENTY_SYNC``;
``docs/django.rst`` goes through it.
"""

try:
    import django as _django  # noqa: F401
except ImportError:
    raise ImportError('eventy_sync.contrib.django needs Django: pip install "eventy-sync[django]"') from None

from eventy_sync.contrib.django.publishing import publish_on_commit
from eventy_sync.contrib.django.queues import close_queues, get_queue
from eventy_sync.contrib.django.subscribing import subscriber

__all__ = ["close_queues", "get_queue", "publish_on_commit", "subscriber"]

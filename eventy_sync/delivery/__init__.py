"""Delivery: a thread for each subscription, woken by one thread that watches the log."""

from eventy_sync.delivery.dispatcher import Dispatcher

__all__ = ["Dispatcher"]

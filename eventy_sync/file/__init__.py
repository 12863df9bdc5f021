"""The file queue: a directory is the queue."""

from eventy_sync.file.abstract_queue import AbstractFileEventQueue
from eventy_sync.file.manager import FileQueueManager
from eventy_sync.file.queue import FileEventQueue

__all__ = ["AbstractFileEventQueue", "FileEventQueue", "FileQueueManager"]

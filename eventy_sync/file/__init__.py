"""The file queue: a directory is the queue."""

from eventy_sync.file.manager import FileQueueManager
from eventy_sync.file.queue import AbstractFileEventQueue, FileEventQueue

__all__ = ["AbstractFileEventQueue", "FileEventQueue", "FileQueueManager"]

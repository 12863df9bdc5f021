"""What is wrong, found out by looking: the file system under a queue, its files, and the story of one event.

Nothing here opens a queue: none is made, joined, upgraded or written to.  Start reading at `finding`.
"""

from eventy_sync.file.diagnosis.file_system import look_at_file_system
from eventy_sync.file.diagnosis.finding import ERROR, OK, WARNING, Finding, counted
from eventy_sync.file.diagnosis.queue_files import look_at_queue
from eventy_sync.file.diagnosis.story import Step, Story, clock, tell_story

__all__ = [
    "ERROR",
    "OK",
    "WARNING",
    "Finding",
    "Step",
    "Story",
    "clock",
    "counted",
    "look_at_file_system",
    "look_at_queue",
    "tell_story",
]

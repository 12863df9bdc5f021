"""The event log: records in segments, appended under one lock, read without any.

`docs/log-format.rst` describes the files.  Start reading at `event_log`; `record` is the ground.
"""

from eventy_sync.storage.log.event_log import SEGMENT_BYTES, EventLog
from eventy_sync.storage.log.keyed import KeyedPublish, KeyEntry, KeyTakenError
from eventy_sync.storage.log.numbering import Entry, LocalNumbering, LogEnd, Numbering, not_written_yet
from eventy_sync.storage.log.reader import LogReader
from eventy_sync.storage.log.record import (
    MAX_KEY_CHARACTERS,
    MAX_WINDOW_MICROSECONDS,
    Marks,
    StoredRecord,
    all_fields,
    build,
    fields,
    parse,
)
from eventy_sync.storage.log.repair import Verification, repair, verify
from eventy_sync.storage.log.retention import Retention, SegmentSummary
from eventy_sync.storage.log.view import LogView
from eventy_sync.storage.log.writer import Durability

__all__ = [
    "MAX_KEY_CHARACTERS",
    "MAX_WINDOW_MICROSECONDS",
    "SEGMENT_BYTES",
    "Durability",
    "Entry",
    "EventLog",
    "KeyEntry",
    "KeyTakenError",
    "KeyedPublish",
    "LocalNumbering",
    "LogEnd",
    "LogReader",
    "LogView",
    "Marks",
    "Numbering",
    "Retention",
    "SegmentSummary",
    "StoredRecord",
    "Verification",
    "all_fields",
    "build",
    "fields",
    "not_written_yet",
    "parse",
    "repair",
    "verify",
]

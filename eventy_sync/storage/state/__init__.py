"""The state store: results, claims and subscriptions of one root, in SQLite.

Everything in it can be lost without losing an event; the log is the truth.
"""

from eventy_sync.storage.state.claims import ClaimTable, Held, check_claim_id, check_ttl, encode_data
from eventy_sync.storage.state.filters import check_text, from_microseconds
from eventy_sync.storage.state.group_changes import GROUP, DeadRow, GroupChange, encode_change
from eventy_sync.storage.state.group_mirror import Grant, GroupMirror
from eventy_sync.storage.state.group_place import is_shared
from eventy_sync.storage.state.group_records import Death, Lease, Retry, Settlement, Taken, Want
from eventy_sync.storage.state.group_states import GroupState, HeldLease, WaitingEvent, merged
from eventy_sync.storage.state.groups import EventInGroup, GroupTable, unknown_group
from eventy_sync.storage.state.handling_times import BOUNDS_SECONDS, HandlingTime
from eventy_sync.storage.state.leases import RAN_OUT, LeaseTable, PlaceChangedError
from eventy_sync.storage.state.outbox import RESULTS, RUNS, SUBSCRIBED, UNSUBSCRIBED
from eventy_sync.storage.state.ranges import Range, united
from eventy_sync.storage.state.result_rows import encode_results, encode_runs, insert_results
from eventy_sync.storage.state.result_runs import ResultRun, make_runs
from eventy_sync.storage.state.results import ResultTable
from eventy_sync.storage.state.store import StateStore
from eventy_sync.storage.state.subscriptions import StoredSubscription, SubscriptionTable
from eventy_sync.storage.state.view import StateView

__all__ = [
    "BOUNDS_SECONDS",
    "GROUP",
    "RAN_OUT",
    "RESULTS",
    "RUNS",
    "SUBSCRIBED",
    "UNSUBSCRIBED",
    "ClaimTable",
    "DeadRow",
    "Death",
    "EventInGroup",
    "Grant",
    "GroupChange",
    "GroupMirror",
    "GroupState",
    "GroupTable",
    "HandlingTime",
    "Held",
    "HeldLease",
    "Lease",
    "LeaseTable",
    "PlaceChangedError",
    "Range",
    "ResultRun",
    "ResultTable",
    "Retry",
    "Settlement",
    "StateStore",
    "StateView",
    "StoredSubscription",
    "SubscriptionTable",
    "Taken",
    "WaitingEvent",
    "Want",
    "check_claim_id",
    "check_text",
    "check_ttl",
    "encode_change",
    "encode_data",
    "encode_results",
    "encode_runs",
    "from_microseconds",
    "insert_results",
    "is_shared",
    "make_runs",
    "merged",
    "united",
    "unknown_group",
]

"""The state store: results, claims and subscriptions of one root, in SQLite.

Everything in it can be lost without losing an event; the log is the truth.
"""

from eventy_sync.storage.state.claims import ClaimTable, check_claim_id, check_ttl, encode_data
from eventy_sync.storage.state.filters import from_microseconds
from eventy_sync.storage.state.group_records import Death, Lease, Retry, Settlement, Taken, Want
from eventy_sync.storage.state.groups import GroupTable
from eventy_sync.storage.state.handling_times import BOUNDS_SECONDS, HandlingTime
from eventy_sync.storage.state.leases import LeaseTable
from eventy_sync.storage.state.outbox import RESULTS, RUNS, SUBSCRIBED, UNSUBSCRIBED
from eventy_sync.storage.state.result_rows import encode_results, encode_runs, insert_results
from eventy_sync.storage.state.result_runs import ResultRun, make_runs
from eventy_sync.storage.state.results import ResultTable
from eventy_sync.storage.state.store import StateStore
from eventy_sync.storage.state.subscriptions import StoredSubscription, SubscriptionTable

__all__ = [
    "BOUNDS_SECONDS",
    "RESULTS",
    "RUNS",
    "SUBSCRIBED",
    "UNSUBSCRIBED",
    "ClaimTable",
    "Death",
    "GroupTable",
    "HandlingTime",
    "Lease",
    "LeaseTable",
    "ResultRun",
    "ResultTable",
    "Retry",
    "Settlement",
    "StateStore",
    "StoredSubscription",
    "SubscriptionTable",
    "Taken",
    "Want",
    "check_claim_id",
    "check_ttl",
    "encode_data",
    "encode_results",
    "encode_runs",
    "from_microseconds",
    "insert_results",
    "make_runs",
]

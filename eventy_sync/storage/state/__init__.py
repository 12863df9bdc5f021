"""The state store: results, claims and subscriptions of one root, in SQLite.

Everything in it can be lost without losing an event; the log is the truth.
"""

from eventy_sync.storage.state.claims import ClaimTable, check_claim_id, check_ttl, encode_data
from eventy_sync.storage.state.outbox import RESULTS, SUBSCRIBED, UNSUBSCRIBED
from eventy_sync.storage.state.results import ResultTable
from eventy_sync.storage.state.store import StateStore
from eventy_sync.storage.state.subscriptions import StoredSubscription, SubscriptionTable

__all__ = [
    "RESULTS",
    "SUBSCRIBED",
    "UNSUBSCRIBED",
    "ClaimTable",
    "ResultTable",
    "StateStore",
    "StoredSubscription",
    "SubscriptionTable",
    "check_claim_id",
    "check_ttl",
    "encode_data",
]

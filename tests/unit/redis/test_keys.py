"""The names of a queue's keys."""

from __future__ import annotations

import pytest

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.redis.keys import Keys

FIXED = (
    "next_event_id",
    "journal",
    "changes",
    "meta",
    "awaiting",
    "roots",
    "workers",
    "claims",
    "claim_ids",
    "claim_holders",
    "resync_lock",
    "channel",
)


def names(keys: Keys) -> list[str]:
    """Return the names of all keys of a queue."""
    return [*(getattr(keys, each) for each in FIXED), keys.claim("x"), keys.event_key("y"), keys.resync("abc")]


def test_names_are_as_documented() -> None:
    """Two installations of different versions must find the same keys."""
    assert names(Keys("eventy", "orders")) == [
        "eventy:orders:next_event_id",
        "eventy:orders:journal",
        "eventy:orders:changes",
        "eventy:orders:meta",
        "eventy:orders:awaiting",
        "eventy:orders:roots",
        "eventy:orders:workers",
        "eventy:orders:claims",
        "eventy:orders:claim_ids",
        "eventy:orders:claim_holders",
        "eventy:orders:resync_lock",
        "eventy:orders:events",
        "eventy:orders:claim:x",
        "eventy:orders:key:y",
        "eventy:orders:resync:abc",
    ]


@pytest.mark.parametrize(
    ("queue_name", "part"),
    [
        ("a:b", "a%3Ab"),
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("{a}", "%7Ba%7D"),
        ("100%", "100%25"),
        ("größe", "gr%C3%B6%C3%9Fe"),
    ],
)
def test_a_queues_name_is_encoded(queue_name: str, part: str) -> None:
    """So that it can hold colons and braces, and no two queues share a key."""
    assert Keys("p", queue_name).meta == f"p:{part}:meta"


def test_no_two_names_of_a_queue_are_the_same() -> None:
    """Nor is a claim, whatever its id, one of the other keys."""
    keys = Keys("p", "q")
    assert len(set(names(keys))) == len(FIXED) + 3
    assert keys.claim("s") not in names(keys)
    assert keys.claim("") not in names(keys)
    assert keys.event_key("s") not in names(keys)
    assert keys.event_key("a:b") == "p:q:key:a:b"


@pytest.mark.parametrize(("database", "channel"), [(0, "p:q:events"), (3, "p:q:events:3"), (15, "p:q:events:15")])
def test_only_the_channel_carries_the_database(database: int, channel: str) -> None:
    """Pub/sub does not know databases, keys do."""
    keys = Keys("p", "q", database)
    assert keys.channel == channel
    assert keys.meta == "p:q:meta"


def test_in_a_cluster_all_keys_share_a_slot() -> None:
    """The queue's name, and nothing else, stands in braces, once."""
    for name in names(Keys("p", "a{b}c", is_cluster=True)):
        assert name.startswith("p:{a%7Bb%7Dc}:")
        assert name.count("{") == name.count("}") == 1


@pytest.mark.parametrize("prefix", ["{p}", "p{", "}p"])
def test_a_prefix_with_braces_is_refused_in_a_cluster_only(prefix: str) -> None:
    """It would choose the slot."""
    with pytest.raises(InvalidArgumentError, match="redis_prefix"):
        Keys(prefix, "q", is_cluster=True)
    assert Keys(prefix, "q").meta == f"{prefix}:q:meta"

"""Claims that a root brings along to a queue that is another one, and keys that another program has taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventy_sync import QueueIdentityError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Spawn, Wait, is_granted, settle

CLAIM_ALONE = """
    import sys
    from eventy_sync import FileEventQueue
    with FileEventQueue(sys.argv[1], payload_type=dict) as alone:
        if sys.argv[2] == "with an event":
            alone.publish({"n": 0})
        for number in range(20):
            assert alone.create_claim(f"claim {number}", ttl_seconds=600)
        assert alone.create_claim("taken", ttl_seconds=600)
        print("claimed", flush=True)
        sys.stdin.read()
"""


def claim_alone(spawn_python: Spawn, root: Path, how: str) -> None:
    """Let a root that has not joined hold claims under higher and higher tokens; its worker is killed."""
    process = spawn_python(CLAIM_ALONE, root, how)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    process.kill()
    process.wait()


def test_a_root_that_is_refused_takes_no_claim_away(make: Make, tmp_path: Path, spawn_python: Spawn) -> None:
    """It holds one of the same name, under a later token, in a queue of its own."""
    claim_alone(spawn_python, tmp_path / "b", "with an event")
    with make("a") as a:
        a.publish({"n": 0})
        assert a.create_claim("taken", ttl_seconds=600)
        before = a.get_claim("taken")
        with pytest.raises(QueueIdentityError):
            make("b").open()
        assert a.get_claim("taken") == before
        assert [each.id for each in a.search_claims().items] == ["taken"]
        assert a.renew_claim("taken")


def test_an_empty_root_brings_its_claims_along(
    make: Make, tmp_path: Path, spawn_python: Spawn, wait_until: Wait
) -> None:
    """What it holds is held in the queue it joins, but for what somebody holds there, under whichever token."""
    claim_alone(spawn_python, tmp_path / "b", "without")
    with make("a") as a:
        a.publish({"n": 0})
        assert a.create_claim("taken", ttl_seconds=600)
        with make("b") as b:
            assert a.renew_claim("taken")
            assert b.get_claim("taken").worker_id == a.worker_id
            assert not is_granted(a, "claim 7", wait_until)
            assert a.get_claim("claim 7").worker_id != a.worker_id


def test_a_claim_whose_key_another_program_has_taken_stops_nobody(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It is lost to its holder, and nobody is granted it; the rest goes on, also when the root joins anew."""
    with make("a") as a, make("b") as b:
        assert a.create_claim("taken", ttl_seconds=600)
        assert a.create_claim("kept", ttl_seconds=600)
        server.command("DEL", "eventy:orders:meta", "eventy:orders:claim:taken")
        server.command("HSET", "eventy:orders:claim:taken", "a", "b")
        settle(a, b, wait_until)
        assert [is_granted(queue, name, wait_until) for queue in (a, b) for name in ("taken", "kept")] == [False] * 4
        assert a.renew_claim("kept")
        assert server.command("HGETALL", "eventy:orders:claim:taken") == {b"a": b"b"}

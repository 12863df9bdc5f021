"""A server that comes back with a claim that was released and granted anew since."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, publish_when_possible, settle, wait_for_mode


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that loads a snapshot when it starts."""
    with RedisServer(dbfilename="dump.rdb") as server:
        yield server


def test_a_claim_in_an_old_snapshot_gives_way_to_a_newer_grant(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The larger token is the newer one: its holder keeps the claim, the old holder does not get it back."""
    with make("a") as a, make("b") as b:
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        assert a.create_claim("x", ttl_seconds=60)
        server.command("SAVE")
        shutil.copy(server.directory / "dump.rdb", server.directory / "kept.rdb")
        assert a.release_claim("x")
        assert b.create_claim("x", ttl_seconds=60)
        token = b.get_claim("x").token
        server.kill()
        shutil.copy(server.directory / "kept.rdb", server.directory / "dump.rdb")
        server.start()
        settle(a, b, wait_until)
        wait_for_mode(a, "connected", wait_until)
        wait_for_mode(b, "connected", wait_until)
        assert a.get_claim("x").worker_id == b.worker_id
        assert b.renew_claim("x").token == token
        assert not a.create_claim("x")

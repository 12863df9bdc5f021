"""What arrives on the channel from anybody."""

from __future__ import annotations

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait


def test_foreign_messages_change_nothing(
    make: Make, server: RedisServer, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """Forged, oversized, malformed: one warning, and delivery goes on."""
    with make("a") as a:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", "eventy:orders:events")[1] == 1)
        for data in (
            b"",
            b"\xff\x00",
            b"[" * 10_000,
            b'{"type":"add_event"}',
            b'{"type":"import","module":"os"}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":-5}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":99999999999999999999999}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":1000000}',
            b'{"type":"heartbeat","worker_id":"x","root_id":"y","epoch":"forged"}',
            b"x" * 100_000,
        ):
            server.command("PUBLISH", "eventy:orders:events", data)
        a.publish({"n": 0})
        wait_until(lambda: seen == [1])
        assert caplog.text.count("messages passed over") == 1

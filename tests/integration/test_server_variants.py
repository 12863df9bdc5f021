"""One queue, whichever way leads to its server: TLS, unix sockets, Sentinel, Cluster, clients passed in."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from eventy_sync import CoordinationError, InvalidArgumentError, RedisConfigurationError
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis import link as link_module
from eventy_sync.redis.link import Link
from eventy_sync.redis.server import RedisServer
from eventy_sync.redis.server_address import make_pool
from tests.redis_topologies import SERVICE, ClusterNode, SentinelServer, SlotMove, TlsProxy, make_certificate

Queue = RedisFileEventQueue[Any]
Make = Callable[..., Queue]
Wait = Callable[..., None]

FAILOVER_SECONDS = 90.0
"""A sentinel that was kept waiting itself does nothing for 30 seconds, and tries again late."""

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a root of the queue "orders"."""

    def make_queue(root: str = "a", **fields: Any) -> Queue:
        return RedisFileEventQueue(tmp_path / root, **{"name": "orders", "payload_type": dict, **fields})

    return make_queue


@pytest.fixture
def cluster(wait_until: Wait) -> Iterator[ClusterNode]:
    """A cluster of one node, which has all slots."""
    with ClusterNode() as node:
        node.take_all_slots()
        wait_until(lambda: node.is_ready)
        yield node


def numbers(queue: Queue) -> list[int]:
    return [event.payload["n"] for event in queue.iter_events(queue.stats()["oldest"])]


def mode_of(queue: Queue) -> Any:
    return queue.health()["mode"]


def publish_when_possible(queue: Queue, number: int, wait_until: Wait) -> bool:
    """Publish, trying again while it is refused; False when whether it was published is unknown."""
    outcome: list[bool] = []

    def attempt() -> bool:
        try:
            queue.publish({"n": number})
        except CoordinationError as exc:
            if isinstance(exc, RedisConfigurationError):
                raise
            if "is unknown" in str(exc):
                outcome.append(False)
            return bool(outcome)
        outcome.append(True)
        return True

    wait_until(attempt, FAILOVER_SECONDS)
    return outcome[0]


def use(make: Make, wait_until: Wait, **fields: Any) -> None:
    """Do with two roots all that needs the server: events, claims, a group, a resync."""
    seen: list[int] = []
    roots = [f"{fields.get('redis_prefix', 'eventy')}-{each}" for each in "abc"]
    with make(roots[0], **fields) as a, make(roots[1], **fields) as b:
        b.subscribe(lambda event: seen.append(event.id))
        a.publish_many([{"n": number} for number in range(1, 20)])
        b.publish({"n": 20})
        wait_until(lambda: seen == list(range(1, 21)))
        assert mode_of(a) == mode_of(b) == "connected"
        assert a.create_claim("x", ttl_seconds=60)
        assert not b.create_claim("x")
        assert b.get_claim("x").worker_id == a.worker_id
        shared: list[int] = []
        for queue in (a, b):
            queue.subscribe(lambda event: shared.append(event.id), group="work", from_index=1)
        wait_until(lambda: sorted(shared) == list(range(1, 21)) and a.groups()[0].lag == 0)
        with make(roots[2], resync=True, **fields) as c:
            assert numbers(c) == list(range(1, 21))


def test_what_is_short_goes_past_the_client(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own ways take several times as long; its socket is found in whatever version is installed."""
    monkeypatch.setattr(link_module, "_HAS_CORES", True)
    monkeypatch.setattr(link_module, "IDLE_SECONDS", float("inf"))
    connection = make_pool(server.url, 0, None).make()
    link = Link(lambda: connection)
    try:
        assert link.command("PING") == b"PONG"
        for name in ("can_read", "send_packed_command"):
            monkeypatch.setattr(connection, name, None)
        assert [link.command("INCR", "n") for _ in range(100)] == list(range(1, 101))
    finally:
        link.end()


@needs_openssl
def test_a_server_over_tls(make: Make, tmp_path: Path, server: RedisServer, wait_until: Wait) -> None:
    """With the authority's certificate in the URL; the address shows that it is TLS."""
    certificate = make_certificate(tmp_path)
    with TlsProxy(certificate, server.port) as proxy:
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={certificate[0]}"
        use(make, wait_until, redis_url=url)
        assert make(redis_url=url).redis_address == f"rediss://localhost:{proxy.port}/0"
        client = redis.Redis(port=proxy.port, ssl=True, ssl_ca_certs=str(certificate[0]), ssl_check_hostname=True)
        use(make, wait_until, redis_client=client, redis_prefix="passed-in")


@needs_openssl
def test_a_certificate_that_is_not_trusted_is_said_at_once(make: Make, tmp_path: Path, server: RedisServer) -> None:
    """One of an unknown authority, one for another host; unless nothing is to be checked."""
    for host in ("localhost", "elsewhere.example.com"):
        certificate = make_certificate(tmp_path, host)
        trust = f"?ssl_ca_certs={certificate[0]}" if host != "localhost" else ""
        with TlsProxy(certificate, server.port) as proxy, pytest.raises(RedisConfigurationError, match="ssl_ca_certs"):
            make(redis_url=f"rediss://localhost:{proxy.port}{trust}").open()
    with TlsProxy(certificate, server.port) as proxy:
        url = f"rediss://localhost:{proxy.port}?ssl_cert_reqs=none"
        with make(redis_url=url) as queue:
            queue.publish({"n": 1})
            assert mode_of(queue) == "connected"


def test_a_unix_socket(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """In a URL, with a database, and as a client passed in."""
    use(make, wait_until, redis_url=f"{server.unix_url}?db=3")
    assert server.command("INFO", "keyspace").keys() == {"db3"}
    path = server.unix_url.removeprefix("unix://")
    use(make, wait_until, redis_client=redis.Redis(unix_socket_path=path, db=3), redis_prefix="passed-in")


@pytest.mark.parametrize("kind", ["default", "resp3", "blocking", "decoding"])
def test_a_client_passed_in(make: Make, server: RedisServer, wait_until: Wait, kind: str) -> None:
    """Whatever its pool, its protocol and its decoding; it stays usable, and is not closed."""
    if kind == "blocking":
        client = redis.Redis(connection_pool=redis.BlockingConnectionPool(port=server.port, max_connections=1))
    else:
        options: dict[str, Any] = {"resp3": {"protocol": 3}, "decoding": {"decode_responses": True}}.get(kind, {})
        client = redis.Redis(port=server.port, **options)
    with client:
        client.set("mine", "kept")
        use(make, wait_until, redis_client=client)
        assert client.get("mine") in (b"kept", "kept")


def test_a_client_that_retries_does_not_hold_up_a_publish(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Its retries are not taken over, and it has a timeout even if it had none."""
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(3), 20)
    with redis.Redis(port=server.port, retry=retry) as client, make(redis_client=client) as queue:
        queue.publish({"n": 0})
        server.freeze()
        wait_until(lambda: queue.publish({"n": 1}) and mode_of(queue) == "degraded", 30)
        server.thaw()
        wait_until(lambda: mode_of(queue) == "connected")


def test_what_is_no_client_is_refused(make: Make) -> None:
    """An asynchronous client, a replica's, a text."""
    sentinel = redis.Sentinel([("127.0.0.1", 1)])
    for client in (redis.asyncio.Redis(), "redis://localhost", sentinel.slave_for(SERVICE)):
        with pytest.raises(RedisConfigurationError, match="redis_client"):
            make(redis_client=client)


@pytest.fixture
def replicated(wait_until: Wait) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and its replica."""
    with RedisServer(**{"repl-diskless-sync-delay": "0"}) as server, RedisServer() as replica:
        replica.command("REPLICAOF", "127.0.0.1", server.port)
        wait_until(lambda: replica.command("INFO", "replication")["master_link_status"] == "up")
        yield server, replica


@pytest.mark.parametrize("way", ["url", "client"])
def test_a_failover_is_followed(
    make: Make, replicated: tuple[RedisServer, RedisServer], wait_until: Wait, way: str
) -> None:
    """Sentinel makes the replica the primary: connected again by itself, nothing lost, nothing twice."""
    primary, replica = replicated
    seen: list[int] = []
    with SentinelServer(primary) as sentinel:
        fields: dict[str, Any] = {"redis_url": sentinel.service_url}
        if way == "client":
            fields = {"redis_client": redis.Sentinel([("127.0.0.1", sentinel.port)]).master_for(SERVICE)}
        use(make, wait_until, redis_prefix="before", **fields)
        wait_until(lambda: sentinel.command("SENTINEL", "REPLICAS", SERVICE))
        with make("d", **fields) as d, make("e", **fields) as e:
            d.subscribe(lambda event: seen.append(event.id))
            e.subscribe(lambda event: None)
            for number in range(20):
                (d if number % 2 else e).publish({"n": number})
            assert d.create_claim("x", ttl_seconds=60)
            primary.kill()
            acknowledged = set(range(20))
            for number in range(20, 40):
                if publish_when_possible(d if number % 2 else e, number, wait_until):
                    acknowledged.add(number)
            wait_until(lambda: mode_of(d) == mode_of(e) == "connected", FAILOVER_SECONDS)
            assert replica.command("INFO", "replication")["role"] == "master"
            assert not e.create_claim("x")
            wait_until(lambda: numbers(d) == numbers(e))
            found = numbers(d)
            assert len(set(found)) == len(found)
            assert acknowledged <= set(found) <= set(range(40))
            wait_until(lambda: seen == list(range(1, len(found) + 1)))


def test_closing_one_pool_leaves_the_others_that_ask_the_same_sentinels_alone(server: RedisServer) -> None:
    """A monitor's end must not cut off another thread in the midst of asking."""
    with SentinelServer(server) as sentinel:
        pool = make_pool(sentinel.service_url, 0, None)
        asking = pool.finder._pools[0].get_connection()
        pool.twin().disconnect()
        assert asking._sock is not None
        pool.finder._pools[0].release(asking)
        pool.disconnect()
        assert asking._sock is None


def test_sentinels_that_cannot_help(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """None there: degraded.  An unknown service, a wrong password: said at once, and never shown."""
    with make(redis_url=f"redis+sentinel://127.0.0.1:1/{SERVICE}") as queue:
        assert "none of the sentinels can be reached: 127.0.0.1:1" in queue.health()["reason"]
    with SentinelServer(server, requirepass="hunter2") as sentinel:
        for options, service, says in (
            ("", SERVICE, "password"),
            ("?sentinel_password=wrong-secret", SERVICE, "password"),
            ("?sentinel_password=hunter2", "elsewhere", "no service 'elsewhere'"),
        ):
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/{service}{options}"
            with pytest.raises(RedisConfigurationError, match=says) as raised:
                make(redis_url=url).open()
            assert "hunter2" not in str(raised.value)
            assert "wrong-secret" not in str(raised.value)
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/{SERVICE}/2?sentinel_password=hunter2"
        use(make, wait_until, redis_url=url)
        assert server.command("INFO", "keyspace").keys() == {"db2"}
        assert make(redis_url=url).redis_address == url.partition("?")[0]


@pytest.mark.parametrize("way", ["url", "client"])
def test_a_cluster(make: Make, cluster: ClusterNode, wait_until: Wait, way: str) -> None:
    """All keys of a queue share a slot."""
    if way == "client":
        with redis.RedisCluster(host="127.0.0.1", port=cluster.port) as client:
            use(make, wait_until, redis_client=client)
    else:
        use(make, wait_until, redis_url=f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.port}")
    keys = cluster.command("KEYS", "*")
    assert len({cluster.command("CLUSTER", "KEYSLOT", key) for key in keys}) == 1
    with pytest.raises(InvalidArgumentError, match="braces"):
        make("d", redis_url=cluster.cluster_url, redis_prefix="a{}").open()


def test_a_slot_that_moves_is_followed(make: Make, cluster: ClusterNode, wait_until: Wait) -> None:
    """Before, while and after its keys move to another node: nothing is lost, nothing is there twice."""
    with ClusterNode() as other:
        other.command("CLUSTER", "MEET", "127.0.0.1", cluster.port)
        wait_until(lambda: cluster.knows(other) and other.knows(cluster) and other.is_ready)
        fields = {"redis_url": cluster.cluster_url}
        with make("a", **fields) as a, make("b", **fields) as b:
            seen: list[int] = []
            b.subscribe(lambda event: seen.append(event.id))
            for number in range(10):
                (a if number % 2 else b).publish({"n": number})
            assert a.create_claim("x", ttl_seconds=60)
            move = SlotMove("eventy:{orders}:journal", cluster, other)
            move.begin()
            a.publish({"n": 10})
            move.move("eventy:{orders}:journal")
            for queue in (a, b):
                with pytest.raises(CoordinationError) as raised:
                    queue.publish({"n": "no"})
                assert not isinstance(raised.value, RedisConfigurationError)
            move.finish()
            for number in range(11, 20):
                assert publish_when_possible(a if number % 2 else b, number, wait_until)
            wait_until(lambda: numbers(a) == numbers(b) == list(range(20)))
            wait_until(lambda: mode_of(a) == mode_of(b) == "connected")
            assert not b.create_claim("x")
            assert other.command("EXISTS", "eventy:{orders}:journal")
            wait_until(lambda: seen == list(range(1, 21)))


def test_a_cluster_and_a_server_alone_are_told_apart(make: Make, cluster: ClusterNode, server: RedisServer) -> None:
    """The wrong form of the URL is said at once, and which one is right."""
    with pytest.raises(RedisConfigurationError, match="take redis\\+cluster://"):
        make("a", redis_url=cluster.url).open()
    with pytest.raises(RedisConfigurationError, match="take redis://"):
        make("b", redis_url=f"redis+cluster://127.0.0.1:{server.port}").open()


def test_a_server_that_comes_back_with_an_older_state_gives_no_id_twice(
    make: Make, tmp_path: Path, wait_until: Wait
) -> None:
    """Though it knows the epoch, and the root that publishes next has not been told anything."""
    with RedisServer() as server, make("a", redis_url=server.url) as a, make("b", redis_url=server.url) as b:
        a.subscribe(lambda event: None)
        for number in range(5):
            b.publish({"n": number})
        server.command("SAVE")
        for number in range(5, 8):
            a.publish({"n": number})
        server.kill()
        server.start()
        acknowledged = [number for number in range(8, 12) if publish_when_possible(b, number, wait_until)]
        wait_until(lambda: numbers(a) == numbers(b))
        assert numbers(a) == [*range(8), *acknowledged]


@pytest.mark.parametrize(
    ("refuse", "allow"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    ],
    ids=["readonly", "oom"],
)
def test_a_server_that_refuses_writes_for_a_while_is_waited_for(
    make: Make, server: RedisServer, wait_until: Wait, refuse: tuple[str, ...], allow: tuple[str, ...]
) -> None:
    """It is no fault of the configuration: degraded, then connected again."""
    with make(redis_url=server.url) as queue:
        queue.publish({"n": 0})
        server.command(*refuse)
        queue.publish({"n": 1})
        assert mode_of(queue) == "degraded"
        server.command(*allow)
        wait_until(lambda: mode_of(queue) == "connected")
        queue.publish({"n": 2})
        assert numbers(queue) == [0, 1, 2]


@pytest.mark.parametrize(("policy", "warns"), [("noeviction", 0), ("allkeys-lru", 1), ("volatile-ttl", 1)])
def test_a_policy_that_evicts_is_warned_of_once(
    make: Make, wait_until: Wait, caplog: pytest.LogCaptureFixture, policy: str, warns: int
) -> None:
    """At the opening, not again when it comes back."""
    caplog.set_level(logging.WARNING)
    with (
        RedisServer(**{"maxmemory-policy": policy, "maxmemory": "64mb"}) as server,
        make(redis_url=server.url) as queue,
    ):
        queue.publish({"n": 0})
        server.kill()
        queue.publish({"n": 1})
        server.start()
        wait_until(lambda: mode_of(queue) == "connected")
        assert caplog.text.count("may evict keys") == warns
        assert caplog.text.count(policy) == warns

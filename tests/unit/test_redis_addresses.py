"""What a URL, or a client passed in, says of where the server is.  No server is asked."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from eventy_sync import RedisConfigurationError
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.pool import TIMEOUT_SECONDS
from eventy_sync.redis.server_address import make_pool, pool_of

SECRET = "hunter2"


def options_of(url: str, database: int = 0, password: str | None = None) -> dict[str, Any]:
    return dict(make_pool(url, database, password).connection_kwargs)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("redis://h", "redis://h:6379/0"),
        ("REDIS://h:1/2", "redis://h:1/2"),
        ("redis://[::1]:7/1", "redis://[::1]:7/1"),
        ("redis://me:hunter2@h:1?db=4", "redis://:***@h:1/4"),
        ("redis://:hunter2@h?password=hunter2", "redis://:***@h:6379/0"),
        ("rediss://:hunter2@h", "rediss://:***@h:6379/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        ("unix://:hunter2@/run/redis.sock?db=2", "unix://:***@/run/redis.sock?db=2"),
        ("unix:///run/redis.sock?password=hunter2", "unix://:***@/run/redis.sock?db=0"),
        ("redis+sentinel://a/shop", "redis+sentinel://a:26379/shop/0"),
        ("redis+sentinel://me:hunter2@a:1,[::1]:2/shop/3", "redis+sentinel://:***@a:1,[::1]:2/shop/3"),
        ("rediss+sentinel://a,b/my%20shop?sentinel_password=hunter2", "rediss+sentinel://a:26379,b:26379/my shop/0"),
        ("redis+cluster://:hunter2@a,b:7", "redis+cluster://:***@a:6379,b:7/0"),
        ("rediss+cluster://a/0?username=me&password=hunter2", "rediss+cluster://:***@a:6379/0"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    """Neither by itself nor in the pool's repr."""
    pool = make_pool(url, 0, None)
    assert pool.display() == shown
    assert SECRET not in repr(pool)
    assert SECRET not in repr(pool.twin(socket_timeout=9.0))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://:hunter2@h", "must begin with redis://"),
        ("h:6379", "must begin with redis://"),
        ("redis://h:hunter2", "name:port"),
        ("redis://h:99999", "name:port"),
        ("redis://h/hunter2", "database number"),
        ("redis://h/-1", "database number"),
        ("redis://h?db=hunter2", "database number"),
        ("redis://:hunter/2@h:1/0", "percent-encoded"),
        ("redis://:hunter?2=x@h:1/0", "percent-encoded"),
        ("redis://:hunter#2@h:1/0", "percent-encoded"),
        ("redis://:hunter2:@h:1,g:2/0", "redis\\+sentinel://"),
        ("redis://:hunter2\N{FULLWIDTH SOLIDUS}@h", "percent-encoded"),
        ("redis://h?socket_timeout=hunter2", "does not understand"),
        ("redis://:hunter2@h?no_such_thing=1", "no such option: no_such_thing"),
        ("redis+sentinel://:hunter2@h", "the service's name is missing"),
        ("redis+sentinel://:hunter2@h/shop/one", "database number"),
        ("redis+sentinel://:hunter2@/shop", "name:port"),
        ("redis+cluster://:hunter2@h,/", "name:port"),
        ("redis+cluster://:hunter2@h/shop", "database number"),
    ],
)
def test_a_url_that_cannot_be_used_is_said_at_once(url: str, says: str) -> None:
    """What is wrong and what to do, and no part of a password."""
    with pytest.raises(RedisConfigurationError, match=says) as raised:
        make_pool(url, 0, None)
    assert "hunter" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_arguments_stand_in_place_of_the_url(tmp_path: Any) -> None:
    """`redis_db` and `redis_password`, for each form."""
    for url in ("redis://:other@h/1", "redis+sentinel://:other@h/shop/1", "redis+cluster://:other@h"):
        options = options_of(url, database=3, password=SECRET)
        assert (options["db"], options["password"]) == (3, SECRET)
    queue = RedisFileEventQueue[Any](tmp_path / "q", redis_url="redis://h", redis_password=SECRET, redis_db=2)
    assert queue.redis_address == "redis://:***@h:6379/2"


def test_nothing_in_a_url_or_a_client_brings_retries_or_endless_waiting_back() -> None:
    """Options that would are overruled; a timeout may be changed, but not left away."""
    query = "retry_on_timeout=yes&health_check_interval=9&decode_responses=1&socket_timeout=0.5"
    patient = redis.retry.Retry(redis.backoff.ConstantBackoff(1), 9)
    client = redis.Redis(retry=patient, retry_on_error=[OSError], socket_timeout=None, socket_connect_timeout=0.5)
    for pool, timeouts in (
        (make_pool(f"redis://h?{query}", 0, None), (0.5, TIMEOUT_SECONDS)),
        (pool_of(client), (TIMEOUT_SECONDS, 0.5)),
    ):
        connection = pool.make()
        assert (connection.socket_timeout, connection.socket_connect_timeout) == timeouts
        assert connection.retry._retries == 0
        assert pool.connection_kwargs["decode_responses"] is False
        assert connection.health_check_interval == 0


def test_a_certificate_is_checked_with_its_name() -> None:
    """Unless the URL says that nothing is to be checked."""
    assert options_of("rediss://h")["ssl_check_hostname"]
    assert not options_of("rediss://h?ssl_check_hostname=no")["ssl_check_hostname"]
    assert not make_pool("rediss://h?ssl_cert_reqs=none", 0, None).make().check_hostname


def test_credentials_of_a_client_are_taken_over() -> None:
    """User, password, or whoever provides them; and never shown."""
    provider = redis.UsernamePasswordCredentialProvider("me", SECRET)
    for client in (redis.Redis("h", username="me", password=SECRET), redis.Redis("h", credential_provider=provider)):
        pool = pool_of(client)
        assert pool.display() == "redis://:***@h:6379/0"
        connection = pool.make()
        given = (connection.username, connection.password) if connection.credential_provider is None else None
        assert given in (None, ("me", SECRET))
        assert SECRET not in repr(pool)


def test_all_keys_of_a_queue_share_a_slot() -> None:
    """With Redis Cluster: whatever the queue's name and the claim's id are made of."""
    for name in ("orders", "{a}b", "a}b{", "Grüße / 100%"):
        keys = Keys("eventy", name, is_cluster=True)
        found = [value for value in vars(keys).values() if str(value).startswith("eventy:")]
        found += [keys.claim("{other}"), keys.resync("x")]
        assert len(found) > 9
        assert len({redis.crc.key_slot(key.encode()) for key in found}) == 1

"""What each of redis-py's errors becomes."""

from __future__ import annotations

import pickle

import pytest
import redis
from redis import exceptions

from eventy_sync.errors import CoordinationError, RedisConfigurationError
from eventy_sync.redis.translation import RedisUnavailableError, translated

LASTING = [
    (exceptions.AuthenticationError("WRONGPASS invalid username-password pair"), "check redis_password and redis_url"),
    (exceptions.AuthenticationError("invalid username-password pair or user is disabled."), "is wrong"),
    (exceptions.AuthenticationError("Authentication required."), "wants a password"),
    (exceptions.ResponseError("NOAUTH Authentication required."), "wants a password"),
    (exceptions.ResponseError("Protocol error: unauthenticated multibulk length"), "wants a password"),
    (exceptions.AuthenticationError("invalid password"), "the password is wrong"),
    (exceptions.AuthenticationError("something new"), "check redis_password and redis_url"),
    (
        exceptions.AuthenticationError("AUTH <password> called without any password configured for the default user."),
        "leave redis_password away",
    ),
    (exceptions.NoPermissionError("this user has no permissions to run the 'get' command"), "docs/redis.rst"),
    (exceptions.NoPermissionError("something new"), "docs/redis.rst"),
    (exceptions.ResponseError("No permissions to access a key"), "docs/redis.rst"),
    (exceptions.ResponseError("The user executing the script can't run this command"), "docs/redis.rst"),
    (exceptions.ResponseError("WRONGTYPE Operation against a key"), "another redis_prefix or name"),
    (exceptions.ResponseError("value is not an integer or out of range"), "another redis_prefix or name"),
    (exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"), "redis\\+cluster://"),
    (exceptions.ResponseError("This instance has cluster support disabled"), "take redis:// for redis_url"),
    (exceptions.ResponseError("DB index is out of range"), "check redis_db"),
    (exceptions.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "ssl_ca_certs="),
    (exceptions.ResponseError("unknown command 'EVALSHA'"), "unknown command 'EVALSHA'"),
]

PASSING = [
    exceptions.ConnectionError("Connection refused"),
    exceptions.ConnectionError(""),
    exceptions.TimeoutError("Timeout reading from socket"),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    exceptions.ResponseError("OOM command not allowed"),
    exceptions.ResponseError("BUSY Redis is busy running a script."),
    exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
    exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
    exceptions.MasterDownError("Link with MASTER is down"),
    exceptions.ClusterDownError("The cluster is down"),
    exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    exceptions.MovedError("3999 127.0.0.1:6381"),
    exceptions.AskError("3999 127.0.0.1:6381"),
    exceptions.InvalidResponse("Protocol Error"),
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(),
    TimeoutError(),
    OSError("No route to host"),
]


def name_of(error: object) -> str:
    """Return a name for a case."""
    return f"{type(error).__name__}-{error}"[:40] if isinstance(error, Exception) else ""


@pytest.mark.parametrize(("exc", "advice"), LASTING, ids=name_of)
@pytest.mark.parametrize("was_sent", [True, False])
def test_what_will_not_pass_says_what_to_change(exc: Exception, advice: str, was_sent: bool) -> None:
    """A person has to see to it."""
    error = translated(exc, was_sent=was_sent)
    assert type(error) is RedisConfigurationError
    assert str(error).startswith("Redis refuses")
    with pytest.raises(RedisConfigurationError, match=advice):
        raise error


@pytest.mark.parametrize("exc", PASSING, ids=name_of)
def test_what_will_pass_keeps_the_queue_going(exc: Exception) -> None:
    """The text is never empty."""
    error = translated(exc)
    assert type(error) is RedisUnavailableError
    assert str(exc) in str(error)
    assert str(error)


@pytest.mark.parametrize("exc", PASSING, ids=name_of)
def test_only_what_was_sent_and_not_answered_may_have_run(exc: Exception) -> None:
    """An error from the server is an answer; where nothing was sent nothing can have run."""
    assert not translated(exc, was_sent=False).may_have_run  # type: ignore[attr-defined]
    is_answer = isinstance(exc, (exceptions.ResponseError, exceptions.BusyLoadingError))
    assert translated(exc, was_sent=True).may_have_run is not is_answer  # type: ignore[attr-defined]


@pytest.mark.parametrize("exc", PASSING, ids=name_of)
def test_waiting_is_told_from_other_failures(exc: Exception) -> None:
    """Who has waited already does not wait again."""
    is_timeout = isinstance(exc, (exceptions.TimeoutError, TimeoutError))
    assert translated(exc).is_timeout is is_timeout  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (exceptions.ReadOnlyError("You can't write"), "READONLY"),
        (exceptions.OutOfMemoryError("command not allowed"), "OOM"),
        (exceptions.BusyLoadingError("Redis is loading"), "LOADING"),
        (exceptions.NoPermissionError("this user"), "NOPERM"),
        (exceptions.MasterDownError("Link is down"), "MASTERDOWN"),
        (exceptions.ClusterDownError("The cluster is down"), "CLUSTERDOWN"),
        (exceptions.TryAgainError("Multiple keys"), "TRYAGAIN"),
        (exceptions.ClusterCrossSlotError("Keys"), "CROSSSLOT"),
    ],
    ids=name_of,
)
def test_the_code_that_the_client_takes_away_is_there_again(exc: redis.RedisError, code: str) -> None:
    """Once, also where the client has left it."""
    assert f"{code} {exc}" in str(translated(exc))
    assert str(translated(type(exc)(f"{code} {exc}"))).count(code) == 1


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@host:6379/0",
        "rediss://bertha:s3cret@host",
        "redis+sentinel://bertha:s3cret@a,b/service",
        "unix://:s3cret@/run/redis.sock",
    ],
)
@pytest.mark.parametrize("kind", [exceptions.ConnectionError, exceptions.ResponseError, exceptions.AuthenticationError])
def test_credentials_are_never_in_the_text(kind: type[Exception], url: str) -> None:
    """Wherever an address stands in what the client says."""
    text = str(translated(kind(f"cannot reach {url}, nor {url}")))
    assert "s3cret" not in text
    assert "bertha" not in text
    assert text.count("://***@") == 2


def test_an_error_survives_pickling() -> None:
    """With its text, as every error of the library."""
    error = translated(exceptions.TimeoutError("slow"), was_sent=True)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, CoordinationError)
    assert (str(again), again.is_timeout, again.may_have_run) == ("slow", True, True)  # type: ignore[attr-defined]

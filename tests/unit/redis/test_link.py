"""One connection, the scripts over it, and what is known of a command when something went wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from eventy_sync.errors import RedisConfigurationError
from eventy_sync.redis import link as module
from eventy_sync.redis.link import Argument, Link, Script, pack
from eventy_sync.redis.translation import RedisUnavailableError
from tests.unit.redis.conftest import Fake

LEAVE, TELL = Script("leave"), Script("tell")
LEAVE_KEYS, LEAVE_ARGUMENTS = ("workers", "meta", "roots"), ["e", "w", "r", "open", "closed"]
ELSEWHERE_ONCE = """
if redis.call('INCR', 'asked') == 1 then
    return redis.error_reply('{reply}')
end
return redis.call('INCR', 'done')
"""


class Counted:
    """A link over connections that are kept, so that they can be counted and looked at."""

    def __init__(self, fake: Fake, check: Callable[[Any], None] | None = None) -> None:
        self.made: list[Any] = []
        self._fake = fake
        self.link = Link(self._make, check)

    def _make(self) -> Any:
        self.made.append(self._fake.pool.make())
        return self.made[-1]

    def open(self) -> list[bool]:
        """Return which connections are open, in the order in which they were made."""
        return [each._sock is not None for each in self.made]


@pytest.fixture
def counted(fake: Fake) -> Iterator[Counted]:
    """A link to the fake server."""
    made = Counted(fake)
    yield made
    made.link.close()


@pytest.mark.parametrize(
    ("arguments", "packed"),
    [
        ([], b""),
        (["PING"], b"$4\r\nPING\r\n"),
        ([b""], b"$0\r\n\r\n"),
        ([b"\x00\xff\r\n"], b"$4\r\n\x00\xff\r\n\r\n"),
        (["ß"], b"$2\r\n\xc3\x9f\r\n"),
        ([0, -1, 2**63], b"$1\r\n0\r\n$2\r\n-1\r\n$19\r\n9223372036854775808\r\n"),
        (["a", b"b"], b"$1\r\na\r\n$1\r\nb\r\n"),
    ],
)
def test_arguments_are_packed_as_the_protocol_wants(arguments: list[Argument], packed: bytes) -> None:
    """Lengths are in bytes; what is packed apart can be put together."""
    assert pack(arguments) == packed
    assert b"".join(pack([each]) for each in arguments) == packed


def test_a_command_is_answered_over_one_connection(counted: Counted) -> None:
    """It is opened when it is first needed, and stays."""
    assert counted.made == []
    assert counted.link.command("SET", "größe", b"\x00\r\n") == b"OK"
    assert counted.link.command("GET", "größe") == b"\x00\r\n"
    assert counted.link.command("INCRBY", "n", 5) == 5
    assert counted.open() == [True]


def test_a_script_that_the_server_does_not_know_is_sent_whole(fake: Fake, counted: Counted) -> None:
    """Once; from then on its name does.  What is to be done meanwhile is done once."""
    assert LEAVE.sha == hashlib.sha1(LEAVE.text).hexdigest()
    meanwhile: list[int] = []
    assert fake.client.script_exists(LEAVE.sha) == [False]
    for number in range(2):
        assert counted.link.run(LEAVE, LEAVE_KEYS, LEAVE_ARGUMENTS, lambda number=number: meanwhile.append(number)) == 1
        assert fake.client.script_exists(LEAVE.sha) == [True]
    fake.client.script_flush()
    assert counted.link.run(LEAVE, LEAVE_KEYS, LEAVE_ARGUMENTS) == 1
    assert meanwhile == [0, 1]
    assert counted.open() == [True]


def test_what_is_prepared_once_serves_for_many_calls(fake: Fake, counted: Counted) -> None:
    """Keys and first arguments are packed before, the others when they are known."""
    call = LEAVE.prepare(LEAVE_KEYS, ["e", "ann"])
    fake.client.hset("workers", "ben", '{"root_id":"r1"}')
    assert counted.link.call(call, 3, pack(["r1", "open", "closed"])) == 0
    assert counted.link.call(call, 3, pack(["r2", "open", "closed"])) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda link: link.command("HGET", "text", "field"),
        lambda link: link.command("GET"),
        lambda link: link.command("NOSUCHCOMMAND"),
        lambda link: link.run(LEAVE, ("text", "meta", "roots"), LEAVE_ARGUMENTS),
    ],
)
def test_a_refusal_leaves_the_connection_as_good_as_it_was(
    fake: Fake, counted: Counted, ask: Callable[[Link], Any]
) -> None:
    """The answer to the next command is its own."""
    fake.client.set("text", "x")
    for _ in range(2):
        with pytest.raises(RedisConfigurationError):
            ask(counted.link)
        assert counted.link.command("ECHO", "mine") == b"mine"
    assert counted.open() == [True]


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), redis.TimeoutError("slow"), KeyboardInterrupt()])
@pytest.mark.parametrize(("is_known", "runs"), [(True, b"1"), (False, None)])
def test_a_reply_that_was_not_read_is_nobody_elses(
    fake: Fake, counted: Counted, error: BaseException, is_known: bool, runs: bytes | None
) -> None:
    """The connection is closed, and nothing is sent again, whatever came between a command and its reply."""

    def interrupt() -> None:
        raise error

    if is_known:
        fake.client.script_load(TELL.text)
    with pytest.raises((RedisUnavailableError, KeyboardInterrupt)) as caught:
        counted.link.run(TELL, ("meta", "changes"), [10, "channel", "r", 1, "k", "b"], interrupt)
    if isinstance(caught.value, RedisUnavailableError):
        assert caught.value.may_have_run
        assert caught.value.is_timeout is isinstance(error, redis.TimeoutError)
    assert fake.client.hget("meta", "changes") == runs  # never twice
    assert counted.open() == [False]
    assert counted.link.command("ECHO", "mine") == b"mine"
    assert counted.open() == [False, True]


@pytest.mark.parametrize(
    ("was_open", "idle_seconds", "may_have_run"),
    [
        (False, 1000.0, False),  # nobody is there
        (True, -1.0, False),  # it was looked at before it was used
        (True, 1000.0, True),  # it was used a moment ago
    ],
)
def test_what_was_not_sent_cannot_have_run(
    fake: Fake,
    counted: Counted,
    monkeypatch: pytest.MonkeyPatch,
    was_open: bool,
    idle_seconds: float,
    may_have_run: bool,
) -> None:
    """Which is why a connection that lay idle is looked at first.  The next command finds the server again."""
    monkeypatch.setattr(module, "IDLE_SECONDS", idle_seconds)
    if was_open:
        counted.link.command("PING")
    fake.server.connected = False
    with pytest.raises(RedisUnavailableError) as caught:
        counted.link.command("PING")
    assert caught.value.may_have_run is may_have_run
    assert not any(counted.open())
    fake.server.connected = True
    assert counted.link.command("PING") == b"PONG"


def test_an_idle_connection_that_is_sound_is_used_on(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at it does not close it."""
    monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
    for _ in range(3):
        counted.link.command("PING")
    assert counted.open() == [True]


@pytest.mark.parametrize("reply", ["MOVED 1 other:6379", "READONLY no", "CLUSTERDOWN no"])
def test_what_another_server_has_to_do_is_sent_once_more(fake: Fake, counted: Counted, reply: str) -> None:
    """Over a new connection, because it was not done."""
    text = ELSEWHERE_ONCE.replace("{reply}", reply)
    assert counted.link.command("EVAL", text, 0) == 1
    assert fake.client.get("asked") == b"2"
    assert counted.open() == [False, True]


def test_it_is_sent_once_more_only(fake: Fake, counted: Counted) -> None:
    """Who is sent on again and again hears of it."""
    text = "redis.call('INCR', 'asked') return redis.error_reply('READONLY no')"
    with pytest.raises(RedisUnavailableError, match="READONLY") as caught:
        counted.link.command("EVAL", text, 0)
    assert not caught.value.may_have_run
    assert fake.client.get("asked") == b"2"


@pytest.mark.parametrize("error", [redis.ConnectionError("another server"), OSError("gone"), ZeroDivisionError()])
def test_each_new_connection_is_checked_before_it_is_used(fake: Fake, error: Exception) -> None:
    """What the check refuses is closed, and nothing was sent over it."""
    checked: list[Any] = []

    def check(connection: Any) -> None:
        checked.append(connection)
        if len(checked) == 1:
            raise error

    counted = Counted(fake, check)
    with pytest.raises((RedisUnavailableError, ZeroDivisionError)) as caught:
        counted.link.command("INCR", "n")
    assert not getattr(caught.value, "may_have_run", False)
    assert counted.open() == [False]
    assert [counted.link.command("INCR", "n") for _ in range(2)] == [1, 2]
    assert checked == counted.made
    counted.link.close()


def test_a_closed_link_opens_again(counted: Counted) -> None:
    """Closing what is closed is no harm."""
    counted.link.close()
    counted.link.command("PING")
    counted.link.close()
    counted.link.close()
    assert counted.open() == [False]
    assert counted.link.command("PING") == b"PONG"
    assert counted.open() == [False, True]


NEAR_SECONDS, FAR_SECONDS, CROWDED_SECONDS = (
    module.LOOK_SECONDS / 2,
    module.LOOK_SECONDS * 2,
    module.CROWDED_SECONDS * 2,
)


class Looked:
    """A link over a connection on which each look takes so many seconds, of a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = self._seconds = 0.0
        self._looks = 0
        monkeypatch.setattr(module, "_HAS_CORES", True)
        monkeypatch.setattr(module, "IDLE_SECONDS", float("inf"))
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self._now))
        nothing = dict.fromkeys(("connect", "disconnect"), lambda: None)
        self._link = Link(
            lambda: SimpleNamespace(
                **nothing,
                send_packed_command=lambda command, check_health: None,
                can_read=self._look,
                read_response=lambda: b"reply",
            )
        )

    def _look(self, timeout: float) -> bool:
        self._now += self._seconds
        self._looks += 1
        return self._seconds == NEAR_SECONDS

    def asked(self, seconds: float, times: int = 1) -> int:
        """Return how many of so many replies were looked for."""
        self._seconds, self._looks = seconds, 0
        for _ in range(times):
            assert self._link.command("PING") == b"reply"
        return self._looks


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    """A link whose replies were not looked for yet."""
    return Looked(monkeypatch)


def test_replies_of_a_server_that_is_near_are_looked_for(looked: Looked) -> None:
    """A few that come late now and then are chance."""
    for _ in range(3):
        assert looked.asked(NEAR_SECONDS, 1000) == 1000
        assert looked.asked(FAR_SECONDS, module.LATE - 1) == module.LATE - 1


@pytest.mark.parametrize(("seconds", "looks"), [(FAR_SECONDS, module.LATE), (CROWDED_SECONDS, 1)])
def test_others_are_slept_for_and_hardly_looked_for_any_more(looked: Looked, seconds: float, looks: int) -> None:
    """Those of a server that is far, and, at once, those for which a processor had to be waited for."""
    assert looked.asked(seconds, looks) == looks
    sleeps = module.SLEEPS
    while sleeps < module.MOST_SLEEPS:
        assert looked.asked(seconds, sleeps) == 0
        assert looked.asked(seconds) == 1
        sleeps *= module.MORE_SLEEPS
    assert looked.asked(seconds, 3 * (module.MOST_SLEEPS + 1)) == 3


def test_what_is_better_again_is_looked_for_again(looked: Looked) -> None:
    """Each reply in time halves what the next crowd costs."""
    looked.asked(CROWDED_SECONDS)
    looked.asked(CROWDED_SECONDS, module.SLEEPS + 1)
    assert looked.asked(NEAR_SECONDS, module.SLEEPS * module.MORE_SLEEPS + 10) == 10
    assert looked.asked(CROWDED_SECONDS, module.SLEEPS + 1) == 1
    assert looked.asked(CROWDED_SECONDS) == 1

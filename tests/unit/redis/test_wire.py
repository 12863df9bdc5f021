"""What goes through the socket itself, and what is left to the client."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from eventy_sync.redis.wire import SHORT_BYTES, Wire

SHORT_REPLIES = {
    b"$0\r\n\r\n": b"",
    b"$5\r\nhello\r\n": b"hello",
    b"$4\r\n\r\n:1\r\n": b"\r\n:1",
    b":0\r\n": 0,
    b":-12\r\n": -12,
}
OTHER_REPLIES = [
    b"$-1\r\n",
    b"-ERR wrong\r\n",
    b"+OK\r\n",
    b"*1\r\n$1\r\nx\r\n",
    b"$%d\r\n%b\r\n" % (SHORT_BYTES, b"x" * SHORT_BYTES),
    b"nonsense",
    *(kind + text + b"\r\n" for kind in (b"$", b":", b"") for text in (b"", b"x", b"1x", b"--1")),
]


class Client:
    """A connection as redis-py has it, to a server that is this test; keeps what is sent through it."""

    def __init__(self) -> None:
        self._sock, self.server = socket.socketpair()
        self._sock.settimeout(5)
        self.sent: list[bytes] = []

    def send_packed_command(self, command: list[bytes], check_health: bool) -> None:
        """Note what is sent."""
        self.sent += command

    def read_response(self) -> Any:
        """Return what is there, as a list to tell it from what the wire reads."""
        return [self._sock.recv(10_000)]

    def disconnect(self) -> None:
        """Close the socket."""
        self._sock.close()


@pytest.fixture
def client() -> Iterator[Client]:
    """A connection that is open."""
    made = Client()
    yield made
    made.disconnect()
    made.server.close()


@pytest.fixture
def wire(client: Client) -> Iterator[Wire]:
    """The wire over it."""
    made = Wire(client)
    yield made
    made.close()


def test_what_arrives_is_seen_until_it_is_read(client: Client, wire: Wire) -> None:
    """The other side's end counts, too: reading tells."""
    assert not wire.has_arrived()
    client.server.send(b"$4\r\nPONG\r\n")
    assert wire.has_arrived()
    assert wire.has_arrived()
    assert wire.read() == b"PONG"
    assert not wire.has_arrived()
    client.server.close()
    assert wire.has_arrived()
    assert wire.read() == [b""]


@pytest.mark.parametrize(("reply", "value"), SHORT_REPLIES.items())
def test_short_replies_are_read_from_the_socket(client: Client, wire: Wire, reply: bytes, value: object) -> None:
    """Once all of one has arrived; what has arrived in part the client waits for."""
    client.server.send(reply)
    assert wire.has_arrived()
    assert wire.read() == value
    for arrived in range(1, len(reply)):
        client.server.send(reply[:arrived])
        assert wire.has_arrived()
        client.server.send(reply[arrived:])
        assert wire.read() == [reply]


@pytest.mark.parametrize("reply", OTHER_REPLIES)
def test_others_are_the_clients(client: Client, wire: Wire, reply: bytes) -> None:
    """Nothing of them is taken away; nor of a reply that was not looked for."""
    client.server.send(reply)
    assert wire.has_arrived()
    assert wire.read() == [reply]
    client.server.send(b":1\r\n")
    assert wire.read() == [b":1\r\n"]


def test_a_command_goes_through_the_socket(client: Client, wire: Wire) -> None:
    """What the kernel does not take at once goes through the client, which waits."""
    wire.send(b"PING")
    assert client.server.recv(10) == b"PING"
    assert client.sent == []
    command = os.urandom(5_000_000)
    wire.send(command)
    [rest] = client.sent
    wire.send(b"more")  # the kernel has no room at all
    assert client.sent == [rest, b"more"]
    taken = len(command) - len(rest)
    assert 0 < taken < len(command)
    assert client.server.recv(taken, socket.MSG_WAITALL) + rest == command


def test_what_the_socket_refuses_the_client_meets(client: Client, wire: Wire) -> None:
    """Whose errors are those that are known."""
    client.server.close()
    wire.send(b"PING")
    assert client.sent == [b"PING"]


@pytest.mark.parametrize("kind", ["wrapped", "blocking", "none"])
def test_other_sockets_are_the_clients(kind: str) -> None:
    """One that is wrapped, as for TLS, one that blocks, and none at all; errors of looking are those of reading."""
    ours, theirs = socket.socketpair()
    own = {"wrapped": {"_sock": SimpleNamespace(own=ours)}, "blocking": {"_sock": ours}, "none": {}}[kind]
    looks: list[bool | Exception] = [False, True, OSError()]
    sent: list[bytes] = []

    def can_read(timeout: float) -> bool:
        assert timeout == 0
        look = looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look

    wire = Wire(
        SimpleNamespace(
            can_read=can_read,
            send_packed_command=lambda command, check_health: sent.extend(command),
            read_response=lambda: b"reply",
            disconnect=lambda: None,
            **own,
        )
    )
    wire.send(b"PING")
    assert sent == [b"PING"]
    assert [wire.has_arrived() for _ in range(3)] == [False, True, True]
    assert wire.read() == b"reply"
    wire.close()
    ours.close()
    theirs.close()


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork beside threads of other tests
def test_no_child_keeps_a_wire_open(client: Client, wire: Wire) -> None:
    """What is the client's is the client's to close."""
    before = len(os.listdir("/proc/self/fd"))
    child = os.fork()
    if child == 0:
        os._exit(before - len(os.listdir("/proc/self/fd")))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    client.server.send(b":1\r\n")
    assert wire.has_arrived()
    assert wire.read() == 1


def test_a_closed_wire_keeps_nothing_open(client: Client, wire: Wire) -> None:
    """The other side hears of the end; closing twice is closing once."""
    wire.close()
    wire.close()
    assert client.server.recv(1) == b""

"""A TCP proxy between a queue and its server that can lose replies, hold requests back, freeze, cut and refuse.

It forwards bytes and knows nothing of Redis but where to look for a word in a request: a fault is armed with a
word such as "EVALSHA" or a claim's name, and strikes the first request that holds it.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

_CHUNK = 65_536


class Proxy:
    """Verbs: start, stop; lose_reply, hold_request, deliver; freeze, thaw; cut; refuse, accept.  Thread safe.

    One thread of its own does all; faults are taken up in the order in which they were armed.  Every reply comes
    `delay_seconds` later than it would.
    """

    def __init__(self, port: int, delay_seconds: float = 0.0) -> None:
        # fixed after construction
        self._delay_seconds = delay_seconds
        self._upstream = ("127.0.0.1", port)
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._waker, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._pause = threading.Event()  # never set
        self._lock = threading.Lock()
        # guarded by _lock
        self._orders: list[Callable[[], None]] = []
        self._stopping = False
        # the proxy's thread only, or read as a hint
        self._pairs: set[_Pair] = set()
        self._faults: list[tuple[str, bytes]] = []
        self._is_frozen = False
        self._refuses = False
        self.struck: list[str] = []
        self.held: list[tuple[socket.socket, bytes]] = []

    @property
    def url(self) -> str:
        """Where a queue finds the server, through this proxy."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._take_connection)
        self._selector.register(self._woken, selectors.EVENT_READ, self._obey)
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopping = True
        self._waker.send(b"x")
        self._thread.join()
        self._cut()
        for connection, _ in self.held:
            connection.close()
        for each in (self._listener, self._waker, self._woken):
            each.close()
        self._selector.close()

    # -- what a test asks for ----------------------------------------------------------------------------------

    def lose_reply(self, word: str) -> None:
        """Forward the next request with this word, and cut the connection in place of its reply."""
        self._order(lambda: self._faults.append(("lose reply", word.encode())))

    def keep_reply(self, word: str) -> None:
        """Forward the next request with this word; its reply never comes, though the connection stays open."""
        self._order(lambda: self._faults.append(("keep reply", word.encode())))

    def hold_request(self, word: str) -> None:
        """Keep the next request with this word back until `deliver`, whatever becomes of its sender."""
        self._order(lambda: self._faults.append(("hold request", word.encode())))

    def deliver(self) -> None:
        """Let the server have what was held back, over the connections it was sent on; return when it has answered."""
        self._order(self._do_nothing)
        while self.held:
            connection, data = self.held.pop(0)
            connection.setblocking(True)
            connection.settimeout(10)
            connection.sendall(data)
            connection.recv(_CHUNK)
            connection.close()

    def freeze(self) -> None:
        """Forward nothing more, either way; connections stay open and new ones are taken."""
        self._order(lambda: setattr(self, "_is_frozen", True))

    def thaw(self) -> None:
        """Forward again, first what has gathered meanwhile."""
        self._order(self._thaw)

    def cut(self) -> None:
        """Cut all connections."""
        self._order(self._cut)

    def refuse(self) -> None:
        """Cut all connections and every new one."""

        def refuse() -> None:
            self._refuses = True
            self._cut()

        self._order(refuse)

    def accept(self) -> None:
        """Take connections again."""
        self._order(lambda: setattr(self, "_refuses", False))

    def _do_nothing(self) -> None:
        """What is ordered when only the order of things matters."""

    def _order(self, order: Callable[[], None]) -> None:
        """Have the proxy's thread do this, and wait until it has."""
        done = threading.Event()

        def obey() -> None:
            order()
            done.set()

        with self._lock:
            self._orders.append(obey)
        self._waker.send(b"x")
        assert done.wait(20), "the proxy hangs"

    # -- the proxy's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if self._is_watched(key.fileobj):  # what came before it may have ended it
                    key.data()

    def _is_watched(self, connection: Any) -> bool:
        return connection.fileno() >= 0 and connection.fileno() in self._selector.get_map()

    def _obey(self) -> None:
        self._woken.recv(_CHUNK)
        with self._lock:
            orders, self._orders = self._orders, []
        for order in orders:
            order()

    def _take_connection(self) -> None:
        client, _ = self._listener.accept()
        if self._refuses:
            client.close()
            return
        try:
            server = socket.create_connection(self._upstream, timeout=5)
        except OSError:
            client.close()
            return
        pair = _Pair(client, server)
        self._pairs.add(pair)
        self._selector.register(client, selectors.EVENT_READ, lambda: self._request(pair))
        self._selector.register(server, selectors.EVENT_READ, lambda: self._reply(pair))

    def _request(self, pair: _Pair) -> None:
        data = self._read(pair.client)
        if self._is_frozen:
            pair.requests += data
            self._end_if_over(pair, data)
        elif data:
            self._forward_request(pair, data)
        else:
            self._end(pair)

    def _forward_request(self, pair: _Pair, data: bytes) -> None:
        fault = next((each for each in self._faults if each[1] in data), None)
        if fault is not None:
            self._faults.remove(fault)
            self.struck.append(fault[0])
            pair.fault = fault[0]
            if pair.fault == "hold request":
                self._selector.unregister(pair.server)
                self.held.append((pair.server, data))
                pair.server = None
                return
        if pair.server is not None:
            self._send(pair, pair.server, data)

    def _reply(self, pair: _Pair) -> None:
        assert pair.server is not None
        data = self._read(pair.server)
        if self._is_frozen:
            pair.replies += data
            self._end_if_over(pair, data)
        elif not data or pair.fault == "lose reply":
            self._end(pair)
        elif pair.fault != "keep reply":
            self._pause.wait(self._delay_seconds)
            self._send(pair, pair.client, data)

    def _read(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(_CHUNK)
        except OSError:
            return b""

    def _send(self, pair: _Pair, connection: socket.socket, data: bytes) -> None:
        try:
            connection.sendall(data)
        except OSError:
            self._end(pair)

    def _thaw(self) -> None:
        self._is_frozen = False
        for pair in list(self._pairs):
            requests, replies, pair.requests, pair.replies = pair.requests, pair.replies, b"", b""
            if requests:
                self._forward_request(pair, requests)
            if replies:
                self._send(pair, pair.client, replies)
            if pair.is_over:
                self._end(pair)

    def _end_if_over(self, pair: _Pair, data: bytes) -> None:
        """A connection that ends while all is frozen ends when it thaws, for its request is on its way."""
        if not data:
            pair.is_over = True
            for each in pair.ends():
                if self._is_watched(each):
                    self._selector.unregister(each)

    def _cut(self) -> None:
        for pair in list(self._pairs):
            self._end(pair)

    def _end(self, pair: _Pair) -> None:
        self._pairs.discard(pair)
        for each in pair.ends():
            if self._is_watched(each):
                self._selector.unregister(each)
            each.close()


class _Pair:
    """A connection from a client and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = server
        self.fault: str | None = None
        self.requests = self.replies = b""  # what has gathered while frozen
        self.is_over = False

    def ends(self) -> list[socket.socket]:
        """Return the sockets that this proxy still owns."""
        return [each for each in (self.client, self.server) if each is not None]


def cut_when_held(proxy: Proxy, wait_until: Callable[..., None]) -> threading.Thread:
    """Cut all connections as soon as the proxy holds a request."""

    def cut() -> None:
        wait_until(lambda: proxy.held)
        proxy.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    return thread

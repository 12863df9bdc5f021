"""Servers in other arrangements than one alone: behind TLS, watched by a sentinel, in a cluster."""

from __future__ import annotations

import selectors
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from eventy_sync.redis.server import RedisServer, find_server

SERVICE = "shop"
HIGHEST_PORT = 55_535  # a node's bus is 10 000 ports higher


class SentinelServer(RedisServer):
    """A sentinel that watches one primary, and makes a replica the primary soon after that is gone."""

    def __init__(self, primary: RedisServer, *directives: str, **config: str) -> None:
        super().__init__(**config)
        self._directives = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 300",
            f"sentinel failover-timeout {SERVICE} 2000",
            *directives,
        ]

    @property
    def service_url(self) -> str:
        """Return where the service is."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}"

    def _arguments(self) -> list[str]:
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", f"logfile {self.directory / 'log'}"]
        lines += [f"{name} {self._options[name]}" for name in ("requirepass",) if name in self._options]
        configuration = self.directory / "sentinel.conf"
        configuration.write_text("\n".join([*lines, *self._directives, ""]))
        return [find_server(), str(configuration), "--sentinel"]


class ClusterNode(RedisServer):
    """A node of a cluster."""

    def __init__(self) -> None:
        super().__init__(**{"cluster-enabled": "yes", "cluster-node-timeout": "2000"})
        self.port = _free_low_port()

    @property
    def cluster_url(self) -> str:
        """Return where the cluster is."""
        return f"redis+cluster://127.0.0.1:{self.port}"

    @property
    def id(self) -> str:
        """Return the node's name for itself."""
        return str(self.command("CLUSTER", "MYID").decode())

    def take_all_slots(self) -> None:
        """Have all slots."""
        self.command("CLUSTER", "ADDSLOTS", *range(16384))

    @property
    def is_ready(self) -> bool:
        """Whether it answers for all slots."""
        return b"cluster_state:ok" in self.command("CLUSTER", "INFO")

    def knows(self, other: ClusterNode) -> bool:
        """Whether it has shaken hands with another node."""
        lines = self.command("CLUSTER", "NODES").decode().splitlines()
        return any(line.startswith(other.id) and "handshake" not in line for line in lines)


class SlotMove:
    """The slot of a key on its way from one node to another, step by step."""

    def __init__(self, key: str, source: ClusterNode, target: ClusterNode) -> None:
        self._slot, self._source, self._target = key_slot(key.encode()), source, target

    def begin(self) -> None:
        """Tell both nodes."""
        self._target.command("CLUSTER", "SETSLOT", self._slot, "IMPORTING", self._source.id)
        self._source.command("CLUSTER", "SETSLOT", self._slot, "MIGRATING", self._target.id)

    def move(self, *keys: str) -> None:
        """Move these keys."""
        self._source.command("MIGRATE", "127.0.0.1", self._target.port, "", 0, 5000, "KEYS", *keys)

    def finish(self) -> None:
        """Move what is left and make the target the slot's owner."""
        if keys := self._source.command("CLUSTER", "GETKEYSINSLOT", self._slot, 10_000):
            self.move(*keys)
        for node in (self._target, self._source):
            node.command("CLUSTER", "SETSLOT", self._slot, "NODE", self._target.id)


def _free_low_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= HIGHEST_PORT:
            return port


def make_certificate(directory: Path, host: str = "localhost") -> tuple[Path, Path]:
    """Make a certificate that signs itself; return it and its key."""
    certificate, key = directory / f"{host}.pem", directory / f"{host}.key"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request, *subject, *files], check=True, capture_output=True)
    return certificate, key


class TlsProxy:
    """Takes TLS off what comes and hands it to a server.  Verbs: enter, exit."""

    def __init__(self, certificate: tuple[Path, Path], target_port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*map(str, certificate))
        self._target_port = target_port
        self._listener = socket.create_server(("localhost", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, name="tls-proxy")]
        self._wake_reader, self._wake_writer = socket.socketpair()

    def __enter__(self) -> TlsProxy:
        self._threads[0].start()
        return self

    def __exit__(self, *details: object) -> None:
        self._wake_writer.close()  # readable for everybody who waits
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._wake_reader.close()

    def _accept(self) -> None:
        while self._wait([self._listener]):
            accepted, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(accepted,), name="tls-proxy-connection")
            self._threads.append(thread)
            thread.start()

    def _wait(self, sockets: Iterable[socket.socket]) -> list[Any]:
        """Return which of these can be read, nothing when the proxy ends."""
        with selectors.DefaultSelector() as selector:
            for each in (*sockets, self._wake_reader):
                selector.register(each, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select()]
        return [] if self._wake_reader in ready else ready

    def _serve(self, accepted: socket.socket) -> None:
        accepted.settimeout(5.0)
        try:
            with (
                self._context.wrap_socket(accepted, server_side=True) as outside,
                socket.create_connection(("127.0.0.1", self._target_port)) as inside,
            ):
                while ready := self._wait([outside, inside]):
                    for each in ready:
                        data = each.recv(65536)
                        while outside.pending() and each is outside:
                            data += each.recv(65536)
                        if not data:
                            return
                        (inside if each is outside else outside).sendall(data)
        except OSError:
            accepted.close()  # the client did not like the certificate, or has gone

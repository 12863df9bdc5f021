"""Commands for whoever looks after a queue: ``health``, ``workers``, ``resync``, ``forget-root``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from eventy_sync.cli.options import echo_json, json_option
from eventy_sync.cli.queue_choice import NOT_JOINED, QueueChoice, queue_options, say_the_mode_once
from eventy_sync.delivery.failures import printable
from eventy_sync.errors import EventyError
from eventy_sync.event_queue import EventQueue
from eventy_sync.storage.log import EventLog, StoredRecord

UNHEALTHY = 1
_PROGRESS_SECONDS = 0.2
_READ_AT_ONCE = 1000


@click.command(epilog="Example: eventy-sync health --root-dir orders || mail -s 'look at orders' ops@example.org")
@queue_options
@json_option
def health(choice: QueueChoice, as_json: bool) -> None:
    """Say whether a queue can be published to: exit code 0, or 1 and the reason.  For monitoring and probes.

    Healthy is a queue that Redis coordinates while it is connected, and, without a URL, a queue of files alone.
    """
    say_the_mode_once()
    try:
        with choice.existing_queue() as queue:
            found = queue.health()
    except EventyError as exc:
        found = {"mode": None, "reason": str(exc)}
    if choice.redis_url and found["mode"] == "file":
        found["reason"] = f"the directory {NOT_JOINED}"
    if awaited := found.get("awaited_roots"):
        found["reason"] = (
            f"Redis has lost something, and publishing waits for {awaited} other root(s) to say how far their log "
            "goes; start a worker there, or forget what is gone for good: eventy-sync forget-root"
        )
    is_healthy = found["mode"] in ("file", "connected") and found["reason"] is None
    found.pop("worker_id", None)  # of this command, which is gone by now
    if as_json:
        echo_json({"healthy": is_healthy, **found})
    else:
        click.echo(_sentence(is_healthy, found))
    click.get_current_context().exit(0 if is_healthy else UNHEALTHY)


def _sentence(is_healthy: bool, found: dict[str, Any]) -> str:
    where = f" to {found['address']}" if "address" in found and is_healthy else ""
    tail = f", the last event is {found['tail']}" if "tail" in found else ""
    reason = "" if is_healthy else f": {found['reason']}"
    mode = found["mode"] or "cannot be opened"
    return f"{'healthy' if is_healthy else 'unhealthy'}: {mode}{where}{tail}{reason}"


@click.command(epilog="Example: eventy-sync workers --root-dir orders --redis-url redis://localhost:6379")
@queue_options
@json_option
def workers(choice: QueueChoice, as_json: bool) -> None:
    """Print the processes that have the queue open, on all hosts.

    One that was not heard of for a minute is called silent: it was killed, is cut off, or only publishes now and then.
    """
    say_the_mode_once()
    with choice.existing_redis_queue() as queue:
        mine = str(queue.get_worker_id())
        found = [each for each in queue.workers() if each.worker_id != mine]
    for each in found:
        if as_json:
            echo_json(each)
        else:
            silent = "  silent" if each.is_silent else ""
            line = f"{each.worker_id}  {each.host or '-'}  pid {each.pid}  root {each.root_id}"
            click.echo(printable(f"{line}  {ago(each.seen_at)}{silent}"))
    if not found and not as_json:
        click.echo("nobody else has the queue open")


@click.command("forget-root", epilog="Example: eventy-sync forget-root --root-dir orders ROOT_ID; info lists the roots")
@click.argument("root_id")
@queue_options
@click.option("--yes", "-y", is_flag=True, show_envvar=True, help="Do not ask.")
def forget_root(root_id: str, choice: QueueChoice, yes: bool) -> None:
    """Take another root, a copy of the queue on another host, for gone for good.

    Nobody waits for it any more when Redis has lost something, and a root that is alone goes on without Redis.
    Events that only the forgotten root had are lost.  Works without Redis, too: for this root, which tells Redis later.
    """
    say_the_mode_once()
    with choice.existing_redis_queue() as queue:
        known = {each.root_id: each for each in queue.roots()}
        if root_id not in known:
            listed = ", ".join(f"{each.root_id} on {each.host or '-'}" for each in known.values())
            raise click.ClickException(
                f"no other root {root_id!r} is known; " + (f"known: {listed}" if listed else "none is")
            )
        root = known[root_id]
        if not yes:
            state = "has it open" if root.is_open else "had it closed"
            line = f"{root_id} on {root.host or '-'}: tail {root.tail}, seen {ago(root.seen_at)}, and {state} then"
            click.echo(printable(line))
            click.confirm("Forget it?  If it is not gone for good, what it publishes meanwhile is lost", abort=True)
        queue.forget_root(root_id)
        found = queue.health()
    click.echo(f"forgotten: {root_id}")
    if found["mode"] != "connected":
        click.echo(
            f"Redis is not told yet, it is {found['mode']} ({found['reason']}); this root tells it when it joins"
        )


@click.command(epilog="Example: eventy-sync resync --root-dir orders --redis-url redis://localhost:6379")
@queue_options
def resync(choice: QueueChoice) -> None:
    """Get what other roots have published, now; a new directory gets the whole queue from another root.

    Recent events come from Redis, older ones from a worker of another root; what nobody has is reported as lost.
    """
    say_the_mode_once()
    before = _tail(choice.root_dir)
    with _progress(choice.root_dir), choice.redis_queue(resync=True) as queue:
        found = queue.health()
        name, oldest = queue.name, queue.stats()["oldest"]
    if found["mode"] != "connected":
        raise click.ClickException(f"not caught up: {found['mode']}: {found['reason']}")
    tail, first_id = found["tail"], max(before + 1, oldest)
    if tail < first_id:
        click.echo(f"nothing was missing: the last event of {name!r} is {tail}")
        return
    came = _count(choice.root_dir, first_id)
    lost = tail - first_id + 1 - came
    click.echo(
        f"{came} events came, the last of {name!r} is {tail}" + (f"; {lost} are lost: no root had them" if lost else "")
    )


def _tail(root_dir: Path) -> int:
    if not (root_dir / "events").is_dir():
        return 0
    log = EventLog(root_dir)
    try:
        return log.tail()
    finally:
        log.close()


def _count(root_dir: Path, first_id: int) -> int:
    """Return how many events there are from this one on; lost ones do not count."""
    log = EventLog(root_dir)
    reader = log.reader(first_id)
    count = 0
    try:
        while items := reader.read(_READ_AT_ONCE):
            count += sum(isinstance(item, StoredRecord) for item in items)
        return count
    finally:
        reader.close()
        log.close()


@contextmanager
def _progress(root_dir: Path) -> Iterator[None]:
    """Show on a terminal how far the log has come, until the block ends."""
    done = threading.Event()

    def show() -> None:
        while not done.wait(_PROGRESS_SECONDS):
            click.echo(f"\rthe last event is {_tail(root_dir)} … ", nl=False, err=True)

    thread = threading.Thread(target=show, name="eventy-progress", daemon=True)
    if sys.stderr.isatty():
        thread.start()
    try:
        yield
    finally:
        done.set()
        if thread.ident is not None:
            thread.join()
            click.echo("\r\x1b[K", nl=False, err=True)


def known_roots(queue: EventQueue[Any]) -> list[Any]:
    """Return the other roots of a queue that Redis coordinates; none of another one."""
    roots = getattr(queue, "roots", list)
    return list(roots())


def echo_roots(roots: list[Any]) -> None:
    """Print a line for each root."""
    for each in roots:
        behind = f"{each.behind} behind" if each.behind > 0 else "level"
        state = "open" if each.is_open else "closed"
        line = f"other root   {each.root_id}  {each.host or '-'}  tail {each.tail}, {behind}"
        click.echo(printable(f"{line}  {state}, {ago(each.seen_at)}"))


def ago(at: datetime) -> str:
    """Return how long ago that was, as a person says it."""
    seconds = max(0.0, (datetime.now(timezone.utc) - at).total_seconds())
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"

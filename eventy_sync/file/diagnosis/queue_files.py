"""The files of a queue, read and not touched: is all of it whole, and is somebody behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from eventy_sync.errors import EventyError, QueueFormatError, StorageError
from eventy_sync.file.diagnosis.finding import ERROR, OK, WARNING, Finding, counted
from eventy_sync.file.identity import IDENTITY_FILE, STATE_FILE, read_identity
from eventy_sync.models import GroupInfo
from eventy_sync.storage.log import LogView, verify
from eventy_sync.storage.state import StateView

PART = "queue"
LATE_SECONDS = 300.0


def look_at_queue(root: Path) -> list[Finding]:
    """Read the files of the queue in this directory, if there is one."""
    try:
        read_identity(root)
    except QueueFormatError as exc:
        return [_no_queue(root, exc)]
    except StorageError as exc:
        return [Finding(PART, "identity", ERROR, str(exc))]
    if not (root / "events").is_dir():
        return [Finding(PART, "events", OK, "nothing was published yet"), *_look_at_state(root, None)]
    log = None
    try:
        log = LogView(root)
        return [*_look_at_log(log), *_look_at_state(root, log)]
    except StorageError as exc:
        return [Finding(PART, "events", ERROR, str(exc))]
    finally:
        if log is not None:
            log.close()


def _no_queue(root: Path, exc: QueueFormatError) -> Finding:
    if (root / IDENTITY_FILE).exists():
        return Finding(PART, "identity", ERROR, str(exc))
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        names = []
    except OSError as error:
        return Finding(PART, "identity", ERROR, f"{str(root)!r} cannot be listed: {error.strerror}")
    if names:
        return Finding(PART, "identity", ERROR, str(exc), "name the queue's own directory, or an empty one")
    return Finding(PART, "identity", OK, "there is no queue yet; opening one here makes it")


def _look_at_log(log: LogView) -> Iterator[Finding]:
    found = verify(log)
    for damage in found.damages:
        advice = "eventy-sync repair puts it aside and marks the events as lost; have the disk looked at"
        yield Finding(PART, "events", ERROR, str(damage), advice, is_damage=True)
    if not found.damages:
        text = (
            f"{counted(found.events, 'event')} in {counted(found.segments, 'segment')}, all whole; last id {log.tail()}"
        )
        yield Finding(PART, "events", OK, text)
    if found.torn_bytes:
        left = counted(found.torn_bytes, "byte")
        text = f"{left} at the end, left by a writer that died; the next publish puts them aside"
        yield Finding(PART, "events", OK, text)
    if found.gaps:
        text = f"{counted(found.gaps, 'event')} lost for good and marked so; readers pass them by"
        yield Finding(PART, "gaps", OK, text)
    else:
        yield Finding(PART, "gaps", OK, "no gaps")


def _look_at_state(root: Path, log: LogView | None) -> Iterator[Finding]:
    if not (root / STATE_FILE).exists():
        yield Finding(PART, "groups", OK, "nothing was subscribed, claimed or handled yet")
        return
    store = StateView(root / STATE_FILE)
    try:
        damage = store.damage()
        if damage is not None:
            yield _damaged(f"{STATE_FILE}: {damage}")
            return
        groups = store.groups.info(log.tail() if log is not None else 0)
        for group in groups:
            yield from _look_at_group(group, log)
        if not groups:
            yield Finding(PART, "groups", OK, "no groups")
    except QueueFormatError as exc:
        yield Finding(PART, "state", WARNING, str(exc))
    except StorageError as exc:
        yield _damaged(str(exc)) if "damaged" in str(exc) else Finding(PART, "state", ERROR, str(exc))
    finally:
        store.close()


def _damaged(text: str) -> Finding:
    advice = f"close the queue everywhere and move {STATE_FILE} away: results and claims are lost, events are not"
    return Finding(PART, "state", ERROR, text, advice, is_damage=True)


def _look_at_group(group: GroupInfo, log: LogView | None) -> Iterator[Finding]:
    name, late = group.name, _late_seconds(group, log)
    text = f"group {name}: lag {group.lag}, leased {group.leased}, waiting {group.waiting}"
    if group.paused:
        advice = f"eventy-sync resume {name} lets it go on"
        yield Finding(PART, "groups", WARNING, f"{text}; it is paused", advice)
    elif late > LATE_SECONDS:
        advice = f"are workers running that subscribe with group={name!r}?  More of them, or faster handlers, catch up"
        text = f"{text}; the next event has waited for {late / 60:.0f} min"
        yield Finding(PART, "groups", WARNING, text, advice)
    else:
        yield Finding(PART, "groups", OK, text)
    if group.dead:
        advice = f"eventy-sync dead {name} says why; once that is mended: eventy-sync requeue {name} --all"
        yield Finding(
            PART, "dead letters", WARNING, f"group {name} has given up {counted(group.dead, 'event')}", advice
        )


def _late_seconds(group: GroupInfo, log: LogView | None) -> float:
    """Return how long the next event that was never handed out has been there, 0 if there is none."""
    if log is None or not log.oldest() <= group.next_id <= log.tail():
        return 0.0
    try:
        record = log.get(group.next_id)
    except EventyError:
        return 0.0  # lost, or dropped meanwhile
    return time.time() - max(record.at, record.due or 0) / 1e6

"""Claims among many processes and two roots: one holder at a time, whatever is killed, frozen or forgotten."""

from __future__ import annotations

import itertools
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import ClaimLostError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Queue, Spawn, Wait, move_wall_clock, publish_when_possible

CLAIMS = int(os.environ.get("EVENTY_TEST_CLAIMS", "100"))
RACERS = int(os.environ.get("EVENTY_TEST_RACERS", "32"))

RACER = """
    import sys
    from eventy_sync.redis import RedisFileEventQueue

    root, url, claims = sys.argv[1:4]
    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url) as queue:
        queue.count_claims()
        print("ready", flush=True)
        sys.stdin.readline()
        won = [(n, queue.get_claim(f"claim {n}")) for n in range(int(claims)) if queue.create_claim(f"claim {n}")]
        assert all(claim.worker_id == queue.worker_id for _, claim in won)
        print("won", *[f"{n}:{claim.token}" for n, claim in won], flush=True)
        sys.stdin.readline()
"""


def start_together(processes: list[Any]) -> None:
    """Let processes go on that wait at their first line, all at once."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def test_many_processes_on_two_roots_race_and_each_claim_has_one_winner(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn
) -> None:
    """No claim is granted twice, none is left over, no token is given out twice."""
    racers = [spawn_python(RACER, tmp_path / "ab"[n % 2], server.url, CLAIMS) for n in range(RACERS)]
    start_together(racers)
    lines = [racer.stdout.readline() for racer in racers]  # type: ignore[union-attr]
    ended = [racer.communicate()[1] for racer, line in zip(racers, lines, strict=True) if not line]
    assert ended == []  # with why: its claims may be nobody's
    won = [line.split()[1:] for line in lines]
    pairs = [tuple(map(int, each.split(":"))) for mine in won for each in mine]
    assert sorted(claim for claim, _ in pairs) == list(range(CLAIMS))
    assert len({token for _, token in pairs}) == CLAIMS
    for racer in racers:
        _, errors = racer.communicate("\n", timeout=60)
        assert (racer.returncode, errors) == (0, "")


HAMMER = """
    import sys, time
    from eventy_sync.redis import RedisFileEventQueue

    root, url, rounds = sys.argv[1:4]
    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url) as queue:
        queue.count_claims()
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(int(rounds)):
            with queue.claim("x", ttl_seconds=30) as claim:
                if claim.acquired:
                    begun = time.monotonic_ns()
                    queue.get_claim("x")
                    print(claim.token, begun, time.monotonic_ns(), flush=True)
"""


def test_processes_on_two_roots_never_hold_a_claim_at_the_same_time(
    tmp_path: Path, server: RedisServer, spawn_python: Spawn
) -> None:
    """Taken and given back over and over: the times of holding do not overlap, and tokens grow with them."""
    hammers = [spawn_python(HAMMER, tmp_path / "ab"[n % 2], server.url, 150) for n in range(6)]
    start_together(hammers)
    held: list[tuple[int, int, int]] = []
    for hammer in hammers:
        output, errors = hammer.communicate(timeout=120)
        assert (hammer.returncode, errors) == (0, "")
        held += [tuple(map(int, line.split())) for line in output.splitlines()]  # type: ignore[misc]
    held.sort()
    assert len(held) > 20
    for (token, _, ended), (next_token, begun, _) in itertools.pairwise(held):
        assert token < next_token
        assert ended < begun


def test_a_claim_expires_neither_early_nor_never(make: Make, wait_until: Wait) -> None:
    """Held for its whole time, free a moment later, on the other root as well."""
    with make("a") as a, make("b") as b:
        asked_at = time.monotonic()
        assert a.create_claim("x", ttl_seconds=1.0)
        granted_at = time.monotonic()
        refused_at = [time.monotonic()]

        def is_free() -> bool:
            asked = time.monotonic()
            if b.create_claim("x"):
                return True
            refused_at.append(asked)
            return False

        wait_until(is_free)
        assert time.monotonic() - asked_at >= 0.99
        assert refused_at[-1] - granted_at < 2.0
        with pytest.raises(ClaimLostError):
            a.renew_claim("x")
        assert not a.release_claim("x")
        assert a.get_claim("x").worker_id == b.worker_id


HOLDER = """
    import sys
    from eventy_sync import ClaimLostError
    from eventy_sync.redis import RedisFileEventQueue

    root, url = sys.argv[1:3]
    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url) as queue:
        with queue.claim("x", {"by": "holder"}, ttl_seconds=0.6) as claim:
            print(claim.token, claim.lost, flush=True)
            sys.stdin.readline()
            print(claim.lost, flush=True)
            try:
                claim.renew()
                print("renewed", flush=True)
            except ClaimLostError:
                print("refused", flush=True)
        print(queue.release_claim("x"), flush=True)
"""


@pytest.mark.parametrize("successor", ["a", "b"])
def test_a_holder_frozen_past_its_time_finds_its_claim_lost(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn, wait_until: Wait, successor: str
) -> None:
    """Somebody of its own root, or of another, has it by then, with a larger token, and keeps it."""
    with make(successor) as queue:
        holder = spawn_python(HOLDER, tmp_path / "a", server.url)
        assert holder.stdout is not None
        token, lost = holder.stdout.readline().split()
        assert lost == "False"
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: queue.create_claim("x", {"by": "successor"}))
        finally:
            os.kill(holder.pid, signal.SIGCONT)
        output, errors = holder.communicate("\n", timeout=20)
        assert output.split() == ["True", "refused", "False"]
        assert [line for line in errors.splitlines() if "claim lost" not in line] == []
        assert queue.get_claim("x").token > int(token)
        assert queue.get_claim("x").data == {"by": "successor"}


def test_data_and_token_of_a_claim_are_seen_from_the_other_root(make: Make) -> None:
    """As they were given, also after a renewal, in get_claim and batch_get_claims."""
    data = {"why": "night", "text": 'quotes " and \\ and ünï', "list": [1, 2.5, None, True, []], "empty": {}}
    with make("a") as a, make("b") as b:
        assert a.create_claim("x", data)
        for _ in range(2):
            theirs = b.get_claim("x")
            assert theirs.data == a.get_claim("x").data == data
            assert (theirs.worker_id, theirs.token) == (a.worker_id, a.get_claim("x").token)
            assert b.batch_get_claims(["x", "y"])[1] is None
            a.renew_claim("x", ttl_seconds=100)


def test_nobody_else_renews_or_releases_a_claim(make: Make, wait_until: Wait) -> None:
    """Neither another worker of the root nor one of another root, nor the old holder of a claim granted anew."""
    with make("a") as holder, make("a") as neighbour, make("b") as stranger:
        assert holder.create_claim("x")
        for other in (neighbour, stranger):
            with pytest.raises(ClaimLostError):
                other.renew_claim("x")
            assert not other.release_claim("x")
        assert holder.renew_claim("x").token == stranger.get_claim("x").token
        with holder.claim("y", ttl_seconds=60) as old:
            assert holder.release_claim("y")
            assert stranger.create_claim("y")
            with pytest.raises(ClaimLostError):
                old.renew()
        assert neighbour.get_claim("y").worker_id == stranger.worker_id


def test_claims_whose_keys_were_evicted_are_not_held_twice(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Nobody else gets them while their time lasts, on either root; renewing puts them back."""
    with make("a") as holder, make("a") as neighbour, make("b") as stranger:
        publish_when_possible(holder, {"n": 0}, wait_until)
        names = [f"claim {number}" for number in range(20)]
        assert all(holder.create_claim(name) for name in names)
        assert holder.create_claim("short", ttl_seconds=0.3)
        server.command("DEL", *server.command("KEYS", "eventy:orders:claim:*"))
        assert not any(neighbour.create_claim(name) for name in names)
        assert not any(stranger.create_claim(name) for name in names)
        wait_until(lambda: stranger.create_claim("short"))
        assert stranger.batch_get_claims(names) == [None] * 20
        assert all(renews(holder, name) for name in names[:10])
        assert [claim.worker_id for claim in stranger.batch_get_claims(names[:10]) if claim] == [holder.worker_id] * 10
        assert all(holder.release_claim(name) for name in names)
        assert all(stranger.create_claim(name) for name in names)
        assert not renews(holder, names[0])


def test_who_is_late_does_not_free_the_evicted_claim_of_a_successor(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It ended, another root took it, its key was evicted, and then the first one gives it back."""
    with make("a") as late, make("b") as successor, make("c") as stranger:
        publish_when_possible(late, {"n": 0}, wait_until)
        with late.claim("x", ttl_seconds=60) as claim:
            let_end(server, "x")
            assert successor.create_claim("x", ttl_seconds=60)
            server.command("DEL", "eventy:orders:claim:x")
            with pytest.raises(ClaimLostError):
                claim.renew()
        assert not late.release_claim("x")
        assert not stranger.create_claim("x")
        assert successor.renew_claim("x").worker_id == stranger.get_claim("x").worker_id == successor.worker_id


def let_end(server: RedisServer, claim_id: str) -> None:
    """Let a claim's time be over on the server, whose clock is ahead, while its holder believes to have it."""
    server.command("DEL", f"eventy:orders:claim:{claim_id}")
    server.command("ZADD", "eventy:orders:claims", 1, claim_id)


def test_claims_of_all_roots_are_found(make: Make, wait_until: Wait) -> None:
    """By id, in pages, by worker and time; those that have ended are not."""
    with make("a") as a, make("b") as b:
        publish_when_possible(a, {"n": 0}, wait_until)
        names = sorted(f"claim {number}" for number in range(30))
        for name in names:
            assert (a if int(name[6:]) % 2 else b).create_claim(name, {"of": name})
        assert a.create_claim("brief", ttl_seconds=0.05)
        wait_until(lambda: b.batch_get_claims(["brief"]) == [None])
        found, page_id = [], None
        while True:
            page = b.search_claims(page_id, 7)
            found += page.items
            if (page_id := page.next_page_id) is None:
                break
        assert [claim.id for claim in found] == names
        assert [claim.data for claim in found] == [{"of": name} for name in names]
        assert a.count_claims() == 30
        assert a.count_claims(worker_id__eq=b.worker_id) == 15
        assert {claim.worker_id for claim in a.search_claims(worker_id__eq=b.worker_id).items} == {b.worker_id}
        assert b.search_claims(created_at__gte=found[0].created_at + timedelta(hours=1)).items == []


def test_a_holder_learns_at_once_that_another_has_its_claim(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """All traces of it were deleted, and another root took it: the message says so long before the next renewal."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)  # who delivers listens
        publish_when_possible(b, {"n": 0}, wait_until)
        with a.claim("report", ttl_seconds=60) as claim:
            assert claim.acquired
            server.command("DEL", "eventy:orders:claim:report", "eventy:orders:claims", "eventy:orders:claim_ids")
            assert b.create_claim("report")
            wait_until(lambda: claim.lost)
        assert b.get_claim("report").worker_id == b.worker_id


def renews(queue: Queue, name: str) -> bool:
    """Renew the claim, and say whether this worker holds it."""
    try:
        queue.renew_claim(name)
    except ClaimLostError:
        return False
    return True


@pytest.mark.parametrize("hours", [1, -1])
def test_a_wall_clock_that_was_moved_ends_no_claim_and_prolongs_none(
    make: Make, monkeypatch: pytest.MonkeyPatch, wait_until: Wait, hours: int
) -> None:
    """By an hour, either way: nobody gets a claim that is held, and it is free when its time is over."""
    with make("a") as a, make("a") as neighbour, make("b") as b:
        assert a.create_claim("long", ttl_seconds=60)
        assert a.create_claim("short", ttl_seconds=1.0)
        move_wall_clock(monkeypatch, hours * 3600)
        assert not any(queue.create_claim("long") for queue in (a, neighbour, b))
        assert renews(a, "long")
        assert not any(queue.create_claim("long") for queue in (a, neighbour, b))
        wait_until(lambda: neighbour.create_claim("short", ttl_seconds=0.5), 5)
        wait_until(lambda: b.create_claim("short"), 5)

"""Claims among real processes: races, handles, forks, and processes that are spawned."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import ClaimLostError, FileEventQueue, InvalidArgumentError

REPOSITORY = Path(__file__).resolve().parents[2]
Spawn = Callable[..., "subprocess.Popen[str]"]

RACER = """
    import sys
    from eventy_sync import FileEventQueue

    with FileEventQueue(sys.argv[1]) as queue:
        queue.count_claims()
        print("ready", flush=True)
        sys.stdin.readline()
        for round in range(60):
            with queue.claim(f"name-{round % 3}", ttl_seconds=60) as claim:
                if claim.acquired:
                    print(claim.token, queue.get_claim(f"name-{round % 3}").worker_id == queue.worker_id)
"""


def test_sixteen_processes_race_for_claims(root: Path, spawn_python: Spawn) -> None:
    """Nobody holds what another holds, and no token is given out twice."""
    racers = [spawn_python(RACER, root) for _ in range(16)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    tokens: list[int] = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    for racer in racers:
        output, errors = racer.communicate(timeout=120)
        assert errors == ""
        mine = [line.split() for line in output.splitlines()]
        assert all(is_mine == "True" for _, is_mine in mine)
        assert [int(token) for token, _ in mine] == sorted(int(token) for token, _ in mine)
        tokens += [int(token) for token, _ in mine]
    assert len(set(tokens)) == len(tokens) > 16
    with FileEventQueue(root) as queue:
        assert queue.count_claims() == 0


def test_a_handle_that_lost_its_claim_says_so(root: Path, wait_until: Callable[..., None]) -> None:
    """Before the next holder is told that it has it; renewing and keeping are refused."""
    with FileEventQueue(root) as queue, queue.claim("x", ttl_seconds=0.6) as claim:
        assert not claim.lost
        queue.release_claim("x")
        with FileEventQueue(root) as other:
            assert other.create_claim("x")
            wait_until(lambda: claim.lost)
            with pytest.raises(ClaimLostError):
                claim.renew()
            with pytest.raises(ClaimLostError):
                claim.keep(10)
    with FileEventQueue(root) as queue:
        assert queue.count_claims() == 0  # the other gave it back at its close, and the handle did not


def test_an_exception_inside_the_block_gives_the_claim_back(root: Path) -> None:
    """And goes on."""
    with FileEventQueue(root) as queue:
        with pytest.raises(ZeroDivisionError), queue.claim("x"):
            raise ZeroDivisionError
        assert queue.create_claim("x")


def test_a_handle_is_used_once_at_a_time(root: Path) -> None:
    """Entering it twice would make two of one claim."""
    with FileEventQueue(root) as queue, queue.claim("x") as claim, pytest.raises(InvalidArgumentError, match="another"):
        claim.__enter__()


def test_no_renewal_thread_stays_when_no_handle_is_open(root: Path, wait_until: Callable[..., None]) -> None:
    """It lives as long as there is something to renew."""

    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.endswith("-claims")]

    with FileEventQueue(root) as queue:
        with queue.claim("x"), queue.claim("y"):
            assert len(threads()) == 1
        wait_until(lambda: not threads())
        with queue.claim("x"):
            assert len(threads()) == 1


FORKED = """
    import os, sys
    from eventy_sync import FileEventQueue

    with FileEventQueue(sys.argv[1]) as queue:
        assert queue.create_claim("parents", ttl_seconds=60)
        token = queue.get_claim("parents").token
        if (pid := os.fork()) == 0:
            mine = queue.create_claim("childs")
            took = queue.create_claim("parents")
            gave = queue.release_claim("parents")
            queue.close()
            os._exit(10 * mine + took + gave)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), queue.get_claim("parents").token == token, queue.count_claims())
"""


def test_a_forked_child_has_none_of_its_parents_claims(root: Path, spawn_python: Spawn) -> None:
    """It can take others, and gives back its own only."""
    output, errors = spawn_python(FORKED, root).communicate(timeout=60)
    assert (output, errors) == ("10 True 1\n", "")


SPAWNING = """
import multiprocessing
import sys
from eventy_sync import FileEventQueue

def publish_and_claim(root, number):
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish({"number": number})
        with queue.claim(f"spawned-{number}") as claim:
            assert claim.acquired

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with FileEventQueue(sys.argv[1], payload_type=dict) as queue:
        processes = [context.Process(target=publish_and_claim, args=(sys.argv[1], number)) for number in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print(sorted(event.payload["number"] for event in queue.iter_events()), [each.exitcode for each in processes])
"""


def test_spawned_processes_use_the_same_root(root: Path, tmp_path: Path) -> None:
    """A root's path is all they need."""
    program = tmp_path / "spawning.py"
    program.write_text(SPAWNING)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(program), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.stdout, done.stderr) == ("[0, 1] [0, 0]\n", "")

"""The commands for groups, as a person who looks after a queue uses them."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import FileEventQueue, QueueEvent

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def refuse_odd(event: QueueEvent[dict[str, int]]) -> None:
    if event.payload["n"] % 2:
        raise ValueError(f"no {event.payload['n']}")


@pytest.fixture
def billed(root: Path) -> Path:
    """A root whose group "billing" has handled three events and given three up."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(refuse_odd, group="billing", max_attempts=2, backoff=0)
        queue.publish_many([{"n": number} for number in range(6)])
        assert queue.wait_until_idle(20)
    return root


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_groups_are_listed_with_their_numbers(run_cli: Run, billed: Path) -> None:
    """A line a group, as JSON too, and `info` has them."""
    line = "group billing  lag 0  leased 0  waiting 0  dead 3  next 7"
    assert lines(run_cli("groups", "-d", billed)) == [line]
    assert line in lines(run_cli("info", "-d", billed))
    found = json.loads(run_cli("groups", "-d", billed, "--json").stdout)
    assert (found["name"], found["dead"], found["paused"]) == ("billing", 3, False)
    assert json.loads(run_cli("info", "-d", billed, "--json").stdout)["groups"]["billing"]["dead"] == 3


def test_a_queue_without_groups_says_so(run_cli: Run, root: Path) -> None:
    """No empty output."""
    with FileEventQueue(root):
        pass
    assert lines(run_cli("groups", "-d", root)) == ["no groups: nobody has subscribed with group= yet"]


def test_dead_letters_are_printed_by_page_with_their_tracebacks(run_cli: Run, billed: Path) -> None:
    """The last line of each says why; the traceback is shown when asked for."""
    found = lines(run_cli("dead", "-d", billed, "billing"))
    assert [line.split()[1] for line in found] == ["2", "4", "6"]
    assert all("2 attempts" in line and "ValueError: no" in line for line in found)
    first = run_cli("dead", "-d", billed, "billing", "--limit", 1, "--json")
    letter, more = map(json.loads, first.stdout.splitlines())
    assert (letter["event_id"], letter["attempts"]) == (2, 2)
    rest = run_cli("dead", "-d", billed, "billing", "--page", more["next_page_id"], "-t")
    assert "Traceback" in rest.stdout
    assert "refuse_odd" in rest.stdout


def test_dead_letters_are_handed_out_again(run_cli: Run, billed: Path) -> None:
    """Some or all; what is no dead letter is said, and the others are requeued all the same."""
    assert lines(run_cli("requeue", "-d", billed, "billing", 2)) == ["requeued 1 dead letter of group billing"]
    done = run_cli("requeue", "-d", billed, "billing", 2, 4)
    assert done.returncode == 1
    assert done.stdout == "requeued 1 dead letter of group billing\n"
    assert done.stderr == "Error: 1 of these events are no dead letters of group billing\n"
    assert lines(run_cli("requeue", "-d", billed, "billing", "--all")) == ["requeued 1 dead letter of group billing"]
    with FileEventQueue(billed) as queue:
        assert queue.groups()[0].waiting == 3


def test_a_paused_group_hands_nothing_out_until_it_is_resumed(run_cli: Run, billed: Path) -> None:
    """From the command line, while a worker runs."""
    with FileEventQueue(billed, payload_type=dict) as queue:
        seen: list[int] = []
        queue.subscribe(lambda event: seen.append(event.id), group="billing")
        assert "paused" in lines(run_cli("pause", "-d", billed, "billing"))[0]
        assert lines(run_cli("groups", "-d", billed))[0].endswith("paused")
        event = queue.publish({"n": 8})
        assert not queue.wait_until_idle(0.3)
        assert lines(run_cli("resume", "-d", billed, "billing")) == ["group billing goes on"]
        assert queue.wait_until_idle(20)
        assert seen == [event.id]


@pytest.mark.parametrize("command", [["dead"], ["requeue", "--all"], ["pause"], ["resume"], ["remove-group"]])
def test_an_unknown_group_and_a_name_that_can_be_none_are_refused(
    run_cli: Run, billed: Path, command: list[str]
) -> None:
    """One line each."""
    unknown = run_cli(command[0], "-d", billed, "nobody", *command[1:])
    assert (unknown.returncode, unknown.stderr[:30]) == (1, "Error: there is no group 'nobo")
    odd = run_cli(command[0], "-d", billed, "a b", *command[1:])
    assert (odd.returncode, odd.stderr[:25]) == (1, "Error: a group's name is ")


def test_requeue_wants_to_know_which(run_cli: Run, billed: Path) -> None:
    """Events or --all, not both and not neither."""
    for arguments in ([], [2, "--all"]):
        assert run_cli("requeue", "-d", billed, "billing", *arguments).returncode == 2


def test_a_group_is_removed_when_it_is_confirmed(run_cli: Run, billed: Path) -> None:
    """Not otherwise; what it is about to lose is shown, and its results stay."""
    asked = run_cli("remove-group", "-d", billed, "billing", input="n\n")
    assert (asked.returncode, "dead 3" in asked.stdout) == (1, True)
    assert "dead 3" in lines(run_cli("groups", "-d", billed))[0]
    removed = "group billing is removed; who subscribes with this name again makes a new one"
    assert lines(run_cli("remove-group", "-d", billed, "billing", "--yes")) == [removed]
    assert lines(run_cli("groups", "-d", billed)) == ["no groups: nobody has subscribed with group= yet"]
    with FileEventQueue(billed) as queue:
        assert queue.count_results(group__eq="billing") == 9


def test_a_group_in_use_is_not_removed(run_cli: Run, billed: Path, wait_until: Callable[..., None]) -> None:
    """While a worker of another process has an event in hand; the error says what to do."""
    opened = threading.Event()
    with FileEventQueue(billed, payload_type=dict) as queue:
        queue.subscribe(lambda event: opened.wait(60) and None, group="billing")
        queue.publish({"n": 8})
        wait_until(lambda: queue.groups()[0].leased == 1)
        refused = run_cli("remove-group", "-d", billed, "billing", "--yes")
        opened.set()
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: the group 'billing' was not removed: 1 event is in the hands of workers")

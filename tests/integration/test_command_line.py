"""Every command, as a person or a program uses it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from eventy_sync import EventResult, FileEventQueue
from eventy_sync.identifiers import new_id

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
COMMANDS = ["demo", "publish", "tail", "worker", "info", "events", "results", "claims", "verify", "repair", "gc"]
COMMANDS += ["groups", "dead", "requeue", "pause", "resume", "health", "workers", "resync", "forget-root"]


@pytest.fixture
def filled(root: Path) -> Path:
    """A root of thirty events, results and a claim."""
    with FileEventQueue(root, payload_type=dict, segment_bytes=1024) as queue:
        queue.subscribe(lambda event: f"did {event.payload['n']}")
        for number in range(30):
            queue.publish({"n": number})
        assert queue.wait_until_idle(20)
    return root


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_help_has_an_example_and_names_the_variables(run_cli: Run, command: str) -> None:
    """Each command's help shows how it is called, and that options can come from the environment."""
    for flag in ("-h", "--help"):
        text = run_cli(*filter(None, [command]), flag).stdout
        assert "Example:" in text
        assert f"eventy-sync {command}".strip() in text
    if command not in ("", "worker"):
        assert "EVENTY_" in text


def test_the_exit_codes_are_in_the_help(run_cli: Run) -> None:
    """All of them."""
    text = " ".join(run_cli("-h").stdout.split())
    assert "0 done, 1 refused or failed, 2 wrong usage, 3 damage found, 130 interrupted" in text
    assert run_cli("--version").stdout.startswith("eventy-sync, version ")


def test_one_payload_is_published(run_cli: Run, root: Path) -> None:
    """The queue is made, and the id is said; the first options may come from the environment."""
    assert lines(run_cli("publish", "-d", root, '{"a": "é"}')) == ["published event 1"]
    assert lines(run_cli("publish", "[2]", EVENTY_ROOT_DIR=str(root))) == ["published event 2"]
    done = run_cli("publish", "--json", "3", EVENTY_ROOT_DIR=str(root), EVENTY_PUBLISH_DURABILITY="fsync")
    assert json.loads(done.stdout) == {"count": 1, "first_id": 3, "last_id": 3}
    with FileEventQueue(root) as queue:
        assert [event.payload for event in queue.iter_events()] == [{"a": "é"}, [2], 3]


def test_a_payload_is_published_once_for_its_key(run_cli: Run, root: Path) -> None:
    """A repeat names the event that is there, and publishes nothing."""
    publish = ("publish", "-d", root, "--key", "order-7")
    for payload in "12":
        assert lines(run_cli(*publish, payload, "--key-window", 3600)) == ["event 1 has this key"]
    assert json.loads(run_cli(*publish, "3", "--json").stdout) == {"count": 1, "first_id": 1, "last_id": 1}
    (shown,) = lines(run_cli("tail", "-d", root, "--json"))
    assert (json.loads(shown)["key"], json.loads(shown)["payload"]) == ("order-7", 1)


@pytest.mark.parametrize("at", ["2040-01-31T08:00:00+01:00", "2040-01-31T07:00:00Z"])
def test_a_payload_is_published_for_later(run_cli: Run, root: Path, at: str) -> None:
    """After so many seconds, or at a time with its zone."""
    assert lines(run_cli("publish", "-d", root, "1", "--delay", 3600)) == ["published event 1"]
    assert lines(run_cli("publish", "-d", root, "2", "--at", at)) == ["published event 2"]
    with FileEventQueue(root, payload_type=int) as queue:
        first, second = queue.batch_get_events([1, 2])
    assert first is not None
    assert first.deliver_at is not None
    assert timedelta(minutes=59) < first.deliver_at - first.created_at <= timedelta(hours=1)
    assert second is not None
    assert second.deliver_at == datetime(2040, 1, 31, 7, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("1", "--at", "tomorrow"), 2, "'tomorrow' is no time"),
        (("1", "--at", "2040-01-31T08:00:00"), 1, "aware datetime"),
        (("1", "--delay", "-1"), 1, "delay_seconds is a number of seconds from 0"),
        (("1", "--delay", "1", "--at", "2040-01-31T08:00:00Z"), 1, "not both"),
        (("1", "--key", ""), 1, "a key has 1 to 500 characters"),
        (("1", "--key-window", "5"), 1, "give key="),
        (("-", "--key", "a"), 2, "are for one event: give PAYLOAD"),
        (("--delay", "1"), 2, "are for one event: give PAYLOAD"),
    ],
)
def test_a_key_or_a_time_that_cannot_be_publishes_nothing(
    run_cli: Run, root: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """The exit code says whether the command was used wrongly."""
    done = run_cli("publish", "-d", root, *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    with FileEventQueue(root, payload_type=int) as queue:
        assert queue.count_events() == 0


def test_lines_of_stdin_are_published(run_cli: Run, root: Path) -> None:
    """Blank ones are passed over; 2,500 are more than one batch."""
    stdin = "\n".join(f'{{"n": {number}}}' for number in range(2500)) + "\n\n  \n"
    assert lines(run_cli("publish", "-d", root, stdin=stdin)) == ["published 2500 events, the last is 2500"]
    assert lines(run_cli("publish", "-d", root, "-", stdin="1")) == ["published event 2501"]
    assert lines(run_cli("publish", "-d", root, stdin="")) == ["nothing to publish: stdin was empty"]
    assert json.loads(run_cli("publish", "-d", root, "--json", stdin="").stdout)["count"] == 0


@pytest.mark.parametrize("bad", ["{oops}", "\ud800".encode("utf-16-le", "surrogatepass"), b'"\xff"', "NaN", "[" * 9999])
def test_a_bad_line_is_named_and_what_came_before_is_published(run_cli: Run, root: Path, bad: str | bytes) -> None:
    """One line says which, why, and how many are safe."""
    stdin = b"1\n2\n\n" + (bad if isinstance(bad, bytes) else bad.encode()) + b"\n5\n"
    done = run_cli("publish", "-d", root, stdin=stdin)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: line 4 of stdin is not JSON")
    assert "(2 events before it are published)" in done.stderr
    assert lines(run_cli("tail", "-d", root, "--json"))[-1].startswith('{"id":2,')


def test_a_bad_argument_is_refused_before_a_queue_is_made(run_cli: Run, root: Path) -> None:
    """As it is with NaN, which is no JSON either."""
    done = run_cli("publish", "-d", root, "{oops")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: PAYLOAD is not JSON: ")
    assert run_cli("publish", "-d", root, "1", "--serializer", "yaml").returncode == 1
    assert run_cli("publish", "1").returncode == 2


def test_tail_shows_the_last_events(run_cli: Run, filled: Path) -> None:
    """Ten of them, or all from one on; as JSON with all there is."""
    shown = lines(run_cli("tail", "-d", filled))
    assert (len(shown), shown[0][:4], shown[-1][-8:]) == (10, "21  ", '{"n":29}')
    assert len(lines(run_cli("tail", "-d", filled, "--from", 5))) == 26
    assert lines(run_cli("tail", "-d", filled, "--from", 100)) == []
    (last,) = lines(run_cli("tail", "-d", filled, "--from", 30, "--json"))
    assert json.loads(last).keys() == {"id", "payload", "created_at"}
    with FileEventQueue(filled) as queue:
        queue.publish({"t": "\x1b[31m\x9b31m\u202e"})
    (shown,) = lines(run_cli("tail", "-d", filled, "--from", 31))
    assert shown.isprintable()


def test_tail_follows_until_it_is_interrupted(start_cli: Start, filled: Path) -> None:
    """What comes in is shown; Ctrl-C is the way to end it, and no failure."""
    tail = start_cli("tail", "-d", filled, "--follow", "--json", "--from", 30)
    assert tail.stdout is not None
    assert json.loads(tail.stdout.readline())["id"] == 30
    with FileEventQueue(filled) as queue:
        queue.publish({"n": "new"})
    assert json.loads(tail.stdout.readline())["payload"] == {"n": "new"}
    tail.send_signal(signal.SIGINT)
    assert tail.communicate(timeout=20) == ("", "")
    assert tail.returncode == 0


def test_info_says_what_is_there(run_cli: Run, filled: Path) -> None:
    """For a person and for a program."""
    text = run_cli("info", "-d", filled).stdout
    assert "events           30\n" in text
    told = json.loads(run_cli("info", "-d", filled, "--json").stdout)
    assert (told["events"], told["tail"], told["results"], told["mode"]) == (30, 30, 30, "file")
    assert told["segments"] > 1


def walk(run_cli: Run, *arguments: object) -> list[dict[str, object]]:
    """Return the items of all pages."""
    items: list[dict[str, object]] = []
    page: list[object] = []
    while True:
        printed = [json.loads(line) for line in lines(run_cli(*arguments, "--json", "--limit", 12, *page))]
        if "next_page_id" not in printed[-1]:
            return items + printed
        page = ["--page", printed.pop()["next_page_id"]]
        items += printed


@pytest.mark.parametrize("command", ["events", "results"])
def test_pages_go_on_to_the_end(run_cli: Run, filled: Path, command: str) -> None:
    """Each page names the next; nothing comes twice."""
    key = "id" if command == "events" else "event_id"
    assert [item[key] for item in walk(run_cli, command, "-d", filled)] == list(range(1, 31))
    done = run_cli(command, "-d", filled, "--limit", 5)
    assert (len(done.stdout.splitlines()), done.stderr.startswith("more: --page ")) == (5, True)


def test_filters_of_the_lists(run_cli: Run, filled: Path) -> None:
    """Events by time, results by event."""
    assert lines(run_cli("events", "-d", filled, "--until", "2001-01-01")) == []
    assert len(lines(run_cli("events", "-d", filled, "--since", "2001-01-01T00:00:00", "--limit", 100))) == 30
    (only,) = lines(run_cli("results", "-d", filled, "--event", 7))
    assert only.startswith("event 7  ok  ")
    assert only.endswith("did 6")
    assert run_cli("events", "-d", filled, "--since", "yesterday").returncode == 2
    assert run_cli("events", "-d", filled, "--page", "nonsense").returncode == 1


def test_results_are_shown_by_what_came_of_them_and_by_group(run_cli: Run, filled: Path) -> None:
    """Failures alone, successes alone, one group's."""
    with FileEventQueue(filled, payload_type=dict) as queue:
        now = datetime.now(timezone.utc)
        failed = EventResult(new_id(), 7, queue.worker_id, False, "ValueError", now, group="billing")
        queue._opened().store.results.add_many([failed])
    for option in (("--failed",), ("--group", "billing")):
        (line,) = lines(run_cli("results", "-d", filled, *option))
        assert line.startswith("event 7  FAILED")
    assert len(lines(run_cli("results", "-d", filled, "--succeeded", "--limit", 100))) == 30
    assert lines(run_cli("results", "-d", filled, "--succeeded", "--group", "billing")) == []


def test_claims_that_are_held_are_shown(run_cli: Run, filled: Path) -> None:
    """Whoever holds them, with no raw control characters."""
    with FileEventQueue(filled) as queue:
        queue.create_claim("a\u202eb", {"k": 1})
        assert "'a\\u202eb'  worker " in run_cli("claims", "-d", filled).stdout
        (claim,) = lines(run_cli("claims", "-d", filled, "--json"))
    assert json.loads(claim)["data"] == {"k": 1}
    assert lines(run_cli("claims", "-d", filled)) == []


def test_damage_is_found_and_repaired(run_cli: Run, filled: Path) -> None:
    """verify: exit code 3 and where; repair; then all is well but for what is lost."""
    assert "30 events in" in lines(run_cli("verify", "-d", filled))[-1]
    segment = sorted((filled / "events").glob("*.log"))[1]
    data = bytearray(segment.read_bytes())
    data[30] ^= 0xFF
    segment.write_bytes(data)
    found = run_cli("verify", "-d", filled)
    assert found.returncode == 3
    assert f"{segment.name}: corrupt record at byte 0" in found.stdout
    told = json.loads(run_cli("verify", "-d", filled, "--json").stdout)
    assert told["events"] == 29
    assert [each["position"] for each in told["damages"]] == [0]
    assert "repaired" in run_cli("repair", "-d", filled).stdout
    assert lines(run_cli("verify", "-d", filled))
    assert segment.with_name(f"{segment.name}.1.broken").exists()


def test_gc_drops_what_may_go(run_cli: Run, filled: Path) -> None:
    """--dry-run says the same and drops nothing."""
    before = sorted((filled / "events").iterdir())
    said = lines(run_cli("gc", "-d", filled, "--max-events", 20, "--dry-run"))
    assert said[0].startswith("would drop events 1 to ")
    assert sorted((filled / "events").iterdir()) == before
    done = lines(run_cli("gc", "-d", filled, "--max-events", 20))
    assert [line.replace("dropped", "would drop") for line in done] == said
    told = json.loads(run_cli("info", "-d", filled, "--json").stdout)
    assert told["events"] <= 20
    assert told["results"] <= 20
    expired = run_cli("tail", "-d", filled, "--from", 1)
    assert expired.returncode == 1
    assert "retention has dropped it; the oldest kept is" in expired.stderr
    assert json.loads(run_cli("gc", "-d", filled, "--max-age", "7d", "--json").stdout) == {
        "dry_run": False,
        "dropped": [],
    }
    assert run_cli("gc", "-d", filled, "--max-age", "a week").returncode == 2


def test_gc_drops_what_a_group_has_not_finished_only_by_force(run_cli: Run, filled: Path) -> None:
    """It says what keeps it; --dry-run and --force go together."""
    with FileEventQueue(filled, payload_type=dict) as queue:
        queue._opened().coordinator.leases.begin("billing", 1)  # as a worker did that has gone
    kept = run_cli("gc", "-d", filled, "--max-events", 20)
    assert (kept.returncode, kept.stdout.startswith("dropped no events: ")) == (0, True)
    assert "a group has not finished it (--force)" in kept.stdout
    said = lines(run_cli("gc", "-d", filled, "--max-events", 20, "--force", "--dry-run"))
    assert said[0].startswith("would drop events 1 to ")
    assert lines(run_cli("gc", "-d", filled, "--max-events", 20, "--force"))[0].startswith("dropped events 1 to ")


@pytest.mark.parametrize("command", ["tail", "info", "events", "results", "claims", "verify", "repair", "gc"])
def test_looking_makes_no_queue(run_cli: Run, tmp_path: Path, command: str) -> None:
    """A directory that is none, is missing, or is a file: exit code 1, one line, nothing made."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    for name in ("empty", "missing", "file"):
        done = run_cli(command, "-d", tmp_path / name)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"Error: '{tmp_path / name}' is not a queue" if name != "file" else "Error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_reader_that_goes_away_is_no_failure(filled: Path, start_cli: Start) -> None:
    """As with `| head -1`: no traceback."""
    with FileEventQueue(filled) as queue:
        queue.publish_many([{"text": "x" * 1000}] * 500)
    tail = start_cli("tail", "-d", filled, "--from", 1)
    assert tail.stdout is not None
    assert tail.stderr is not None
    tail.stdout.readline()
    tail.stdout.close()
    assert "Traceback" not in tail.stderr.read()
    assert tail.wait(20) in (0, 1)

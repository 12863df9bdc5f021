"""``manage.py check``, ``eventy_worker``, ``eventy_info`` and ``eventy_tail``, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.web_projects import check_two_processes

Wait = Callable[..., None]


def migrated(project: Any) -> Any:
    """Return the project with its tables."""
    done = project.manage("migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return project


def test_good_settings_pass_the_checks(project: Any) -> None:
    """Nothing to complain about, deployment's checks of ours included."""
    done = project.manage("check", "--tag", "eventy_sync", "--fail-level", "WARNING")
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (0 silenced).\n")


def test_wrong_settings_stop_a_command_with_one_clear_error(project: Any) -> None:
    """The key, what was meant, and no traceback."""
    done = project.manage("eventy_info", TEST_QUEUE='{"ROOTDIR": "x"}')
    assert done.returncode == 1
    assert "(eventy_sync.E002) EVENTY_SYNC['default'] has an unknown key 'ROOTDIR'." in done.stderr
    assert "Did you mean 'ROOT_DIR'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_django_the_import_says_what_to_install(project: Any) -> None:
    """And the library itself does not need it."""
    blocked = "import sys; sys.modules['django'] = None; import eventy_sync; import eventy_sync.contrib.django"
    done = project.start("-c", blocked)
    assert done.process.wait(30) == 1
    assert 'ImportError: eventy_sync.contrib.django needs Django: pip install "eventy-sync[django]"' in done.errors


def test_a_look_makes_no_queue(project: Any) -> None:
    """A queue that nobody has published to is said to be none."""
    for command in ("eventy_info", "eventy_tail"):
        done = project.manage(command)
        assert done.returncode == 1
        assert "is not a queue" in done.stderr
        assert "Traceback" not in done.stderr
    assert not project.root.exists()


def test_info_and_tail_print_what_the_command_line_prints(project: Any) -> None:
    """Of the queue in the settings."""
    project.publish(*range(1, 13))
    info = json.loads(project.manage("eventy_info", "--json").stdout)
    assert (info["name"], info["tail"]) == ("orders", 12)
    assert "events           12\n" in project.manage("eventy_info").stdout
    lines = project.manage("eventy_tail").stdout.splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith('{"id":12,"total":1.0}')
    assert len(project.manage("eventy_tail", "--from", 12, "--json").stdout.splitlines()) == 1
    assert "from 1 on" in project.manage("eventy_tail", "--from", 0).stderr


def test_tail_follows(project: Any, wait_until: Wait) -> None:
    """Events are printed as they come, until Ctrl-C."""
    project.publish(1)
    tail = project.start("manage.py", "eventy_tail", "--follow")
    wait_until(lambda: '"id":1,' in tail.output)
    project.publish(2)
    wait_until(lambda: '"id":2,' in tail.output)
    tail.process.send_signal(signal.SIGINT)
    assert tail.process.wait(20) == 0
    assert "Traceback" not in tail.errors


def test_a_burst_handles_what_is_there_with_fresh_connections(project: Any) -> None:
    """Handlers are found in subscribers.py, and the database's connection is not kept from event to event."""
    project.publish(1, 2, 3)
    done = migrated(project).manage("eventy_worker", "--burst")
    assert (done.returncode, done.stdout) == (0, "billed 1 fresh\nbilled 2 fresh\nbilled 3 fresh\n")
    assert "Traceback" not in done.stderr


def test_several_processes_share_the_work(project: Any, wait_until: Wait) -> None:
    """Each event is handled by one of them; one that is killed is replaced; SIGTERM ends all."""
    worker = migrated(project).start("manage.py", "eventy_worker", "--processes", 2, "--threads", 2)
    check_two_processes(project, worker, "'default'", wait_until)


def test_a_worker_without_manage_py_starts_itself_again(project: Any) -> None:
    """As ``python -m django``, with the settings of the environment."""
    project.publish(1, 2)
    arguments = ("-m", "django", "eventy_worker", "--burst", "--processes", 2)
    worker = migrated(project).start(*arguments, DJANGO_SETTINGS_MODULE="settings")
    assert worker.process.wait(30) == 0, worker.errors
    assert worker.output.count("billed") == 2


def test_a_handler_publishes_to_the_queue_that_the_worker_has_open(project: Any) -> None:
    """The queue is not opened a second time, and what the handler publishes is handled."""
    project.write(
        "shop/subscribers.py",
        """
        from eventy_sync.contrib.django import get_queue, subscriber
        from shop.events import Order


        @subscriber(from_index=1)
        def follow(event):
            print("handled", event.payload.id, get_queue().get_worker_id(), flush=True)
            if event.payload.id < 3:
                get_queue().publish(Order(event.payload.id + 1, 1.0))
        """,
    )
    project.publish(1)
    done = project.manage("eventy_worker", "--burst")
    worker_id = done.stderr.split()[1]
    assert done.stdout.splitlines() == [f"handled {n} {worker_id}" for n in (1, 2, 3)]


def test_a_worker_without_handlers_says_so(project: Any) -> None:
    """It is most likely a file in the wrong place."""
    project.write("shop/subscribers.py", "")
    done = project.manage("eventy_worker", "--burst")
    assert done.returncode == 0
    assert "no app has a subscribers.py with a @subscriber for the queue 'default'" in done.stderr


def test_a_worker_starts_anew_when_a_file_changes(project: Any, wait_until: Wait) -> None:
    """With DEBUG; what is published meanwhile is not lost."""
    worker = migrated(project).start("manage.py", "eventy_worker", TEST_DEBUG="1")
    wait_until(lambda: "runs the queue 'default'" in worker.errors)
    project.publish(1)
    wait_until(lambda: "billed 1 " in worker.output)
    changed = (project.directory / "shop" / "subscribers.py").read_text().replace('"billed"', '"charged"')
    project.publish(2)
    saved_at = 0.0

    def has_started_anew() -> bool:
        """Save the file now and then: the reloader takes a file for new only after a first look at it."""
        nonlocal saved_at
        if time.monotonic() - saved_at > 4:
            saved_at = time.monotonic()
            project.write("shop/subscribers.py", changed)
        return bool(worker.errors.count("runs the queue 'default'") > 1)

    wait_until(has_started_anew)
    wait_until(lambda: "ed 2 " in worker.output)
    project.publish(3)
    wait_until(lambda: "charged 3 " in worker.output)
    os.killpg(worker.process.pid, signal.SIGINT)  # the terminal tells both of its processes
    assert worker.process.wait(20) == 0
    assert "Traceback" not in worker.errors


def test_a_worker_does_not_start_anew_when_told_so(project: Any, wait_until: Wait) -> None:
    """One process, which SIGTERM ends well."""
    worker = migrated(project).start("manage.py", "eventy_worker", "--noreload", TEST_DEBUG="1")
    wait_until(lambda: "Ctrl-C stops it" in worker.errors)
    project.publish(1)
    wait_until(lambda: "billed 1 " in worker.output)
    assert worker.stop() == 0
    assert worker.errors.endswith("worker stopped\n")


def test_a_worker_refuses_wrong_numbers(project: Any) -> None:
    """In one line."""
    for option in ("--processes", "--threads"):
        done = project.manage("eventy_worker", option, 0)
        assert done.returncode == 1
        assert f"{option} is a whole number from 1" in done.stderr
        assert "Traceback" not in done.stderr

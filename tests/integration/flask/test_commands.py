"""``flask eventy worker``, ``info`` and ``tail``, as a user runs them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

from eventy_sync import FileEventQueue
from tests.web_projects import Order, check_two_processes

Wait = Callable[..., None]


def test_without_flask_the_import_says_what_to_install(project: Any) -> None:
    """And the library itself does not need it."""
    done = project.run("-c", "import sys; sys.modules['flask'] = None; import eventy_sync.contrib.flask")
    assert done.returncode == 1
    assert 'ImportError: eventy_sync.contrib.flask needs Flask: pip install "eventy-sync[flask]"' in done.stderr


def test_wrong_settings_end_with_the_error(project: Any) -> None:
    """Whatever the command, the setting is named in the end."""
    done = project.flask("eventy", "info", **project.queue_settings(ROOTDIR="x"))
    assert done.returncode == 1
    assert done.stderr.strip().endswith("EVENTY_ROOTDIR is no setting of a queue.  Did you mean 'EVENTY_ROOT_DIR'?")


def test_a_look_makes_no_queue(project: Any) -> None:
    """A queue that nobody has published to is said to be none, in one line."""
    for command in ("info", "tail"):
        done = project.flask("eventy", command)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "is not a queue" in done.stderr
    assert not project.root.exists()


def test_a_look_makes_no_root_join(project: Any, shared_server: Any) -> None:
    """A root that has not joined others is looked at as the files it is, URL or not."""
    project.publish(1)
    settings = project.queue_settings(REDIS_URL=shared_server.url)
    assert json.loads(project.flask("eventy", "info", "--json", **settings).stdout)["mode"] == "file"


def test_info_and_tail_print_what_the_command_line_prints(project: Any) -> None:
    """Of the queue in the config."""
    project.publish(*range(1, 13))
    info = json.loads(project.flask("eventy", "info", "--json").stdout)
    assert (info["name"], info["tail"]) == ("orders", 12)
    assert "events           12\n" in project.flask("eventy", "info").stdout
    lines = project.flask("eventy", "tail").stdout.splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith('{"id":12,"total":1.0}')
    assert len(project.flask("eventy", "tail", "--from", 12, "--json").stdout.splitlines()) == 1


def test_tail_follows(project: Any, wait_until: Wait) -> None:
    """Events are printed as they come, until Ctrl-C."""
    project.publish(1)
    tail = project.start("-m", "flask", "--app", "shop", "eventy", "tail", "--follow")
    wait_until(lambda: '"id":1,' in tail.output)
    project.publish(2)
    wait_until(lambda: '"id":2,' in tail.output)
    tail.process.send_signal(signal.SIGINT)
    assert tail.process.wait(20) == 0
    assert "Traceback" not in tail.errors


def test_a_burst_handles_what_is_there(project: Any) -> None:
    """In the app's context."""
    project.publish(1, 2)
    done = project.flask("eventy", "worker", "--burst")
    assert (done.returncode, done.stdout) == (0, "billed 1 in shop\nbilled 2 in shop\n")
    assert done.stderr.endswith("worker stopped\n")


def test_several_processes_share_the_work(project: Any, wait_until: Wait) -> None:
    """Each event is handled by one of them; one that is killed is replaced; SIGTERM ends all."""
    worker = project.start(*project.worker, "--processes", 2, "--threads", 2)
    check_two_processes(project, worker, "of shop", wait_until)


def test_a_handler_publishes_to_the_queue_that_the_worker_has_open(project: Any) -> None:
    """The queue is not opened a second time, and what the handler publishes is handled."""
    text = (project.directory / "shop.py").read_text()
    handler = "if event.payload.id < 3: eventy.queue.publish(Order(event.payload.id + 1, 1.0))"
    text = text.replace('print("billed", event.payload.id, "in", current_app.name, flush=True)', handler)
    project.write("shop.py", text)
    project.publish(1)
    done = project.flask("eventy", "worker", "--burst")
    assert done.returncode == 0, done.stderr
    with FileEventQueue(project.root, payload_type=Order) as queue:
        results = queue.search_results(success__eq=True).items
        assert queue.stats()["tail"] == 3
    assert {str(each.worker_id) for each in results} == {done.stderr.split()[1]}


def test_a_worker_without_handlers_says_so(project: Any) -> None:
    """It is most likely a module that the app does not import."""
    decorator = '@eventy.subscriber(group="billing", from_index=1, max_attempts=1)'
    project.write("shop.py", (project.directory / "shop.py").read_text().replace(decorator, ""))
    done = project.flask("eventy", "worker", "--burst")
    assert done.returncode == 0
    assert "nothing that the app 'shop' imports has a @subscriber" in done.stderr


def test_a_worker_refuses_wrong_numbers(project: Any) -> None:
    """As wrong usage."""
    for option in ("--processes", "--threads"):
        done = project.flask("eventy", "worker", option, 0)
        assert done.returncode == 2
        assert option in done.stderr

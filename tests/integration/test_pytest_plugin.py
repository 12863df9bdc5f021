"""The pytest plugin, as pytest finds it by its entry point: in runs of its own."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ORDERS = """
from dataclasses import dataclass
from eventy_sync.testing import deliver_all
import pytest

@dataclass
class Order:
    id: int
"""


def run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    pytester.makepyfile(ORDERS + source)
    return pytester.runpytest_inprocess("--strict-markers", "-p", "no:cacheprovider", "-Werror")


def test_the_fixture_is_there_without_an_import(pytester: pytest.Pytester) -> None:
    """A queue of its own for each test, with the marker's fields, any payload without, and nothing left of it."""
    source = """
pytestmark = pytest.mark.eventy_queue(payload_type=Order)
roots = set()

@pytest.mark.parametrize("number", [1, 2])
def test_orders(eventy_queue, number):
    roots.add(eventy_queue.root_dir)
    seen = []
    eventy_queue.subscribe(lambda event: seen.append(event.payload))
    eventy_queue.publish(Order(number))
    deliver_all(eventy_queue)
    assert seen == [Order(number)]

@pytest.mark.eventy_queue(payload_type=int, name="numbers")
def test_the_nearest_marker_counts(eventy_queue):
    assert (eventy_queue.payload_type, eventy_queue.name) == (int, "numbers")

def test_nothing_is_left():
    assert len(roots) == 2
    assert not any(root.exists() for root in roots)
"""
    pytester.makepyfile(test_without_a_marker="def test_any(eventy_queue):\n    eventy_queue.publish({'id': 7})\n")
    run(pytester, source).assert_outcomes(passed=5)


def test_what_the_document_shows_passes(pytester: pytest.Pytester) -> None:
    """All its code as one file of tests, up to the chapter on Django."""
    document = (Path(__file__).resolve().parents[2] / "docs" / "testing.rst").read_text("utf-8")
    code = re.findall(r"^.. code:: python\n\n((?:   .*\n|\n)+)", document.partition("\nDjango\n")[0], re.MULTILINE)
    run(pytester, textwrap.dedent("".join(code))).assert_outcomes(passed=1)


def test_a_handlers_error_fails_the_test(pytester: pytest.Pytester) -> None:
    """With the handler's own line in the report."""
    source = """
def bill(event):
    raise LookupError("no customer")

def test_bill(eventy_queue):
    eventy_queue.subscribe(bill, group="billing")
    eventy_queue.publish(7)
    deliver_all(eventy_queue)
"""
    result = run(pytester, source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*raise LookupError(*", "E *LookupError: no customer"])


def test_a_wrong_marker_says_what_is_wrong(pytester: pytest.Pytester) -> None:
    """In one line, without a traceback through the plugin."""
    markers = ["payload_typ=Order", "root_dir='orders'", "Order, 'orders'"]
    reasons = ["no field 'payload_typ'", "leave root_dir out", "takes names only, as in payload_type=Order"]
    source = "@pytest.mark.eventy_queue({})\ndef test_{}(eventy_queue):\n    pass\n"
    result = run(pytester, "\n".join(source.format(marker, number) for number, marker in enumerate(markers)))
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines([f"*@pytest.mark.eventy_queue*{reason}*" for reason in reasons])
    result.stdout.no_fnmatch_line("*eventy_sync_pytest.py*")


def test_a_run_without_queues_does_not_import_the_package(pytester: pytest.Pytester) -> None:
    """A plugin is imported by every run of pytest: it may cost next to nothing."""
    pytester.makepyfile("import sys\n\ndef test_it():\n    assert 'eventy_sync' not in sys.modules\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*eventy_queue*")


def test_the_fixture_and_the_marker_are_described(pytester: pytest.Pytester) -> None:
    """By `pytest --fixtures` and `pytest --markers`."""
    pytester.runpytest_inprocess("--fixtures").stdout.fnmatch_lines(["eventy_queue -- *", "*An open queue in*"])
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.eventy_queue(payload_type*"])

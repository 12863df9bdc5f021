"""What the documents show is what happens: their code runs, and prints what they say; so do the examples."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docutils.core
import docutils.nodes
import pytest
from docutils.parsers.rst import Directive, directives, roles

import eventy_sync
from eventy_sync.redis.server import RedisServer

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.rst", *sorted((REPOSITORY / "docs").glob("*.rst"))]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
NOT_RUN = ("pip install", "scripts/")
DIRECTIVES_OF_SPHINX = ("toctree", "click", "currentmodule", "automodule", "autoclass", "autoexception", "autofunction")


class MadeBySphinx(Directive):
    """What Sphinx fills in, and `scripts/docs` checks: there is nothing to run in it."""

    has_content, optional_arguments = True, 1
    option_spec = dict.fromkeys(("caption", "maxdepth", "glob", "members", "inherited-members", "prog", "nested"), str)

    def run(self) -> list[docutils.nodes.Node]:
        return []


for name in DIRECTIVES_OF_SPHINX:
    directives.register_directive(name, MadeBySphinx)
roles.register_generic_role("doc", docutils.nodes.emphasis)


def blocks(document: Path) -> Iterator[tuple[str, str]]:
    """Yield language ("python", "console" or "") and text of each literal block, "file:" and a name for what is a file.

    A block is a file of the reader's project if it has the file's name; what is there already stays before it.
    """
    settings = {"report_level": 2, "halt_level": 2, "syntax_highlight": "none"}
    text = document.read_text("utf-8")
    tree = docutils.core.publish_doctree(text, source_path=str(document), settings_overrides=settings)
    for node in tree.findall(docutils.nodes.literal_block):
        languages = [name for name in node["classes"] if name != "code"]
        files = [f"file:{name}" for name in node["names"]]
        yield [*files, *languages, ""][0], node.astext()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, with `eventy-sync`, `flask` and `python` on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in (("eventy-sync", "-m eventy_sync "), ("flask", "-m flask "), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block and what it says is printed."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.strip()


def matches(printed: str, shown: str) -> bool:
    """Return whether the output is what is shown, where … stands for anything in a line."""
    return re.fullmatch(re.escape(shown.strip()).replace("…", ".*"), printed.strip()) is not None


def run_command(command: str, shown: str) -> None:
    if command.startswith(NOT_RUN):
        return
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    assert not shown or matches(done.stdout, shown), f"{command} printed {done.stdout}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
@pytest.mark.usefixtures("workplace")
def test_a_document_can_be_pasted(
    document: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: RedisServer
) -> None:
    """Each block runs after the ones before it, and a block after "It prints" is what is printed.

    The server is where one stands on a developer's machine, but for its port.
    """
    module = types.ModuleType("document")
    monkeypatch.setitem(sys.modules, "document", module)
    expects_output, follows_code = re.compile(r"^It prints::$", re.MULTILINE), False
    announced = len(expects_output.findall(document.read_text("utf-8")))
    checked = 0
    printed = ""
    for language, block in blocks(document):
        text = block.replace("redis://localhost:6379", server.url)
        if language == "python":
            exec(compile(text, document.name, "exec"), module.__dict__)
            printed = capsys.readouterr().out
        elif language.startswith("file:"):
            with Path(language.removeprefix("file:")).open("a", encoding="utf-8") as file:
                file.write(f"\n\n{text}\n")
        elif language == "console":
            for command, shown in commands(text):
                run_command(command, shown)
        elif follows_code and checked < announced:
            assert matches(printed, text)
            checked += 1
        follows_code = language == "python"
    assert checked == announced


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example: Path, workplace: Path) -> None:
    """Each example ends well, prints what it says, and leaves nothing behind."""
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    _, announces, shown = (ast.get_docstring(ast.parse(example.read_text("utf-8"))) or "").partition("It prints:\n")
    assert not announces or done.stdout == f"{textwrap.dedent(shown)}\n"
    assert not list(workplace.iterdir())


def test_the_first_script_of_the_readme_runs_in_a_file(workplace: Path) -> None:
    """The first script runs as a file of its own, as a newcomer would try it."""
    first = next(text for language, text in blocks(DOCUMENTS[0]) if language == "python")
    (workplace / "first.py").write_text(first)
    done = subprocess.run([sys.executable, "first.py"], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[0] == "event 1: order 7 costs 12.5"
    assert (done.returncode, done.stderr) == (0, "")


BUSY = """
    import sys, time
    from eventy_sync import FileEventQueue

    with FileEventQueue(sys.argv[1], payload_type=dict, segment_bytes=2048, durability="os") as queue:
        queue.subscribe(lambda event: None, group="billing", from_index=1, concurrency=2)
        while True:
            queue.publish_many([{"text": "x" * length} for length in range(0, 500, 50)])
            time.sleep(0.002)  # busy, but not so that the disk fills
"""


def test_a_backup_can_be_made_while_others_work(
    workplace: Path, spawn_python: Callable[..., subprocess.Popen[str]], wait_until: Callable[..., None]
) -> None:
    """The backup has no damage, what was published before it, and no group that is ahead of its log."""
    source = next(text for _, text in blocks(REPOSITORY / "docs" / "operations.rst") if "def back_up" in text)
    definitions, _, _ = source.partition("\n\nback_up(")
    module: dict[str, Any] = {}
    exec(compile(definitions, "operations.rst", "exec"), module)
    busy = spawn_python(BUSY, workplace / "orders")
    with eventy_sync.FileEventQueue(workplace / "orders") as queue:
        for number in range(10):
            published = queue.count_events() + 100
            wait_until(lambda published=published: queue.count_events() >= published)
            module["back_up"](workplace / "orders", workplace / f"backup-{number}")
            with eventy_sync.FileEventQueue(workplace / f"backup-{number}") as copy:
                found = copy.verify()
                assert not found.damages
                assert found.events >= published
                assert all(group.next_id <= found.events + 1 for group in copy.groups())
                assert copy.publish({}).id == found.events + 1
    assert busy.poll() is None


def test_the_changelog_begins_with_this_version() -> None:
    """The newest entry is the version of the package."""
    titles = re.findall(r"^(\S+)\n-+$", (REPOSITORY / "CHANGELOG.rst").read_text("utf-8"), flags=re.MULTILINE)
    assert titles[0] == eventy_sync.__version__


@pytest.mark.parametrize(
    "document", sorted(REPOSITORY.glob("*.rst")) + sorted(REPOSITORY.glob("docs/**/*.rst")), ids=lambda path: path.name
)
def test_a_document_is_well_formed(document: Path) -> None:
    """docutils finds nothing to complain about, and relative files that are named exist."""
    list(blocks(document))
    for name in re.findall(r"``((?:docs|examples|scripts)/[\w./-]+)``", document.read_text("utf-8")):
        assert (REPOSITORY / name).exists(), name


def test_the_reference_has_all_public_names() -> None:
    """Each public name has an entry in the reference, the errors by their module."""
    reference = (REPOSITORY / "docs" / "api.rst").read_text("utf-8")
    entries = set(re.findall(r"^\.\. auto\w+:: (\S+)$", reference, flags=re.MULTILINE))
    names = {*eventy_sync.__all__, "RedisFileEventQueue", "RedisQueueManager"} - {"__version__"}
    assert names - entries == {name for name in names if hasattr(eventy_sync.errors, name)}

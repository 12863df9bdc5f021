"""Type checkers see what a user writes as he means it: samples that they must take, and others that they must not."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from eventy_sync import FileEventQueue, RedisFileEventQueue
from eventy_sync.file.fields import QueueFields
from eventy_sync.redis.queue import RedisQueueFields

SAMPLES = Path(__file__).parent / "samples"
REPOSITORY = Path(__file__).resolve().parents[2]

Lines = set[tuple[str, int]]


def expected() -> Lines:
    """The lines that are marked as wrong, by file."""
    return {
        (sample.name, number)
        for sample in SAMPLES.glob("*.py")
        for number, line in enumerate(sample.read_text("utf-8").splitlines(), 1)
        if line.endswith("# wrong")
    }


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the library as a wheel would install it: types count only where py.typed is packaged."""
    place = tmp_path_factory.mktemp("python")
    source = place / "source"
    shutil.copytree(REPOSITORY / "eventy_sync", source / "eventy_sync", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.rst", "eventy_sync_pytest.py"):
        shutil.copy(REPOSITORY / name, source)
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(place / "library")]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    venv.create(place / "venv", symlinks=True)
    (site,) = (place / "venv" / "lib").glob("python*/site-packages")
    (site / "library.pth").write_text(f"{place / 'library'}\n{sysconfig.get_path('purelib')}\n")
    return place / "venv" / "bin" / "python"


def run(*arguments: object) -> str:
    """Run a type checker as a user's project would, away from this repository."""
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=SAMPLES).stdout


def test_mypy_agrees(python: Path, tmp_path: Path) -> None:
    """In strict mode."""
    printed = run(
        "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", f"--python-executable={python}", SAMPLES
    )
    found = {(Path(name).name, int(line)) for name, line in re.findall(r"^(\S+\.py):(\d+): error:", printed, re.M)}
    assert found == expected(), printed


def test_pyright_agrees(python: Path) -> None:
    """In its standard mode."""
    printed = run("pyright", "--outputjson", "--pythonpath", python, *SAMPLES.glob("*.py"))
    reports = json.loads(printed)["generalDiagnostics"]
    found = {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in reports}
    assert found == expected(), printed


@pytest.mark.parametrize(
    ("queue_class", "described"), [(FileEventQueue, QueueFields), (RedisFileEventQueue, RedisQueueFields)]
)
def test_type_checkers_know_all_fields(queue_class: Any, described: type) -> None:
    """Each field that can be given is described, and no other."""
    fields = {each.name for each in dataclasses.fields(queue_class)}
    assert fields - {"root_dir", "payload_type"} == set(get_type_hints(described))

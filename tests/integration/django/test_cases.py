"""Django's own test cases, in `cases`, pass in a project: pages, settings, transactions, delivery at once.

They run in one process of ``manage.py test``, because Django's settings are one thing in a process.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).with_name("cases")
MODULES = sorted(path.stem for path in CASES.glob("*.py") if path.stem != "__init__")


def names() -> list[str]:
    """Return the names of all test methods."""
    trees = [ast.parse((CASES / f"{each}.py").read_text("utf-8")) for each in MODULES]
    found = [node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [name for name in found if name.startswith("test_")]


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory, make_project: Any) -> dict[str, str]:
    """What each case has failed with, nothing if it has passed."""
    directory = tmp_path_factory.mktemp("cases")
    labels = [f"cases.{each}" for each in MODULES]
    done = make_project(directory).manage("test", *labels, TEST_OUTCOMES=str(directory / "outcomes.json"))
    assert (directory / "outcomes.json").exists(), done.stderr
    found: dict[str, str] = json.loads((directory / "outcomes.json").read_text())
    assert "all" not in found, found["all"]
    return found


@pytest.mark.parametrize("name", names())
def test_the_case_passes(outcomes: dict[str, str], name: str) -> None:
    """It ran, and nothing failed."""
    assert outcomes.get(name, "it was not run") == ""


def test_no_two_cases_have_one_name() -> None:
    """A second one would hide the first."""
    assert len(names()) == len(set(names())) > 20

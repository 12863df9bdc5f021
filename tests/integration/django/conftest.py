"""The Django project of a test."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"django_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_project() -> Any:
    """Make a project in a directory."""
    return _load("project").Project


@pytest.fixture
def project(tmp_path: Path, make_project: Any) -> Iterator[Any]:
    """A minimal project; what it has started is killed at the end."""
    directory = tmp_path / "site"
    directory.mkdir()
    made = make_project(directory)
    yield made
    made.end()

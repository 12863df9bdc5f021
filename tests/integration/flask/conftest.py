"""The Flask app of a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.flask.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A minimal app; what it has started is killed at the end."""
    directory = tmp_path / "site"
    directory.mkdir()
    made = Project(directory)
    yield made
    made.end()

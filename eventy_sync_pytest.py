"""The pytest plugin of eventy_sync: the fixture `eventy_queue`.

It stands outside of the package, and imports it when a test asks for a queue: every run of pytest in an environment
imports its plugins, and importing the package takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eventy_sync import FileEventQueue

MARKER = "eventy_queue"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", f"{MARKER}(payload_type=Any, **fields): the fields of the queue that the fixture eventy_queue makes"
    )


@pytest.fixture
def eventy_queue(request: pytest.FixtureRequest) -> Iterator[FileEventQueue[Any]]:
    """An open queue in a temporary directory, for `eventy_sync.testing.deliver_all`; see docs/testing.rst.

    Its fields are those of ``@pytest.mark.eventy_queue(payload_type=Order)``.
    """
    from eventy_sync import InvalidArgumentError
    from eventy_sync.testing import temporary_queue

    marker = request.node.get_closest_marker(MARKER)
    if marker is not None and marker.args:
        pytest.fail(f"@pytest.mark.{MARKER} takes names only, as in payload_type=Order", pytrace=False)
    try:
        made = temporary_queue(**({} if marker is None else marker.kwargs))
    except InvalidArgumentError as exc:
        pytest.fail(f"@pytest.mark.{MARKER}: {exc}", pytrace=False)
    with made as queue:
        yield queue

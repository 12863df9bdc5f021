"""Page ids are opaque, bound to their list, and refused when they are not ours."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from eventy_sync import InvalidArgumentError
from eventy_sync.paging import check_limit, check_time, decode_page_id, encode_page_id


@pytest.mark.parametrize("key", [1, 10**18, "name", "é'\"\\", ""])
def test_a_page_id_brings_its_key_back(key: Any) -> None:
    """Whatever the key holds; the id itself can go into a URL."""
    page_id = encode_page_id("events", key)
    assert decode_page_id("events", page_id) == key
    assert all(each.isalnum() or each in "-_=" for each in page_id)


def test_a_page_id_of_another_list_is_refused() -> None:
    """The error names the list."""
    with pytest.raises(InvalidArgumentError, match="results"):
        decode_page_id("results", encode_page_id("events", 1))


@pytest.mark.parametrize(
    "page_id", ["", "x", "!!!!", "a" * 5000, "\x00", "é", "bnVsbA", "W10", "WzFd", 7, b"x", None, ["a"]]
)
def test_what_is_no_page_id_is_refused(page_id: Any) -> None:
    """One clear error, whatever it is."""
    with pytest.raises(InvalidArgumentError, match="page_id"):
        decode_page_id("events", page_id)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "10", None, 10**9])
def test_a_bad_limit_is_refused(limit: Any) -> None:
    """A limit is a whole number within bounds."""
    with pytest.raises(InvalidArgumentError, match="limit"):
        check_limit(limit)


def test_a_time_must_say_its_zone() -> None:
    """A naive time could mean any hour."""
    aware = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert check_time(aware) == aware
    assert check_time(None) is None
    for wrong in (datetime(2026, 1, 1), "2026-01-01", 5):
        with pytest.raises(InvalidArgumentError, match="time"):
            check_time(wrong)  # type: ignore[arg-type]


class NoOffset(tzinfo):
    """A zone that does not know where it is: times in it are naive, as Python sees it."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None


def test_a_zone_without_an_offset_is_no_zone() -> None:
    """Such a time cannot be compared with any other."""
    with pytest.raises(InvalidArgumentError, match="time"):
        check_time(datetime(2026, 1, 1, tzinfo=NoOffset()))

"""How failures are written down."""

from __future__ import annotations

from eventy_sync.delivery.failures import MAX_DETAILS_CHARACTERS, describe, printable


class Unspeakable(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError


def described(error: BaseException) -> str:
    try:
        raise error
    except BaseException as exc:
        return describe(exc)


def test_a_failure_tells_what_and_where() -> None:
    """The type, the text and the place."""
    text = described(ZeroDivisionError("by nought"))
    assert text.endswith("ZeroDivisionError: by nought\n")
    assert __file__ in text


def test_a_failure_that_cannot_be_shown_is_still_written_down() -> None:
    """Its type is there."""
    assert "Unspeakable" in described(Unspeakable())


def test_a_long_failure_keeps_its_end() -> None:
    """Where the error is."""
    text = described(ValueError("x" * 100_000 + "the end"))
    assert len(text) == MAX_DETAILS_CHARACTERS
    assert text.endswith("the end\n")


def test_nothing_unprintable_is_kept() -> None:
    """Escaped, so that a log or a terminal cannot be told lies."""
    assert printable("a\x1b[2Jb\x00\x9b\u202e\ud800é\n\t") == "a\\x1b[2Jb\\x00\\x9b\\u202e\\ud800é\n\t"

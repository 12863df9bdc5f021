"""A line at the foot of a terminal that is drawn again and again, and output that takes its place.

The bar has no line end: who writes to the terminal meanwhile, in this process or another, clears the line
first (`lines_above_bar`), and the bar is drawn anew below what was written.  No lock is needed: each is one write.
"""

from __future__ import annotations

import io
import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

CLEAR_LINE = "\r\x1b[K"
DRAW_SECONDS = 0.25
_USUAL_COLUMNS = 80


class Bar:
    """The bar on stderr.  For one thread."""

    def __init__(self) -> None:
        self._fd = sys.stderr.fileno()
        self._encoding = sys.stderr.encoding

    def draw(self, text: str) -> None:
        """Show this in place of what was shown, cut off at the terminal's width."""
        self._write(CLEAR_LINE + text[: self._columns() - 1])

    def clear(self) -> None:
        """Leave an empty line."""
        self._write(CLEAR_LINE)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._fd).columns or _USUAL_COLUMNS  # some terminals say nothing
        except OSError:
            return _USUAL_COLUMNS

    def _write(self, text: str) -> None:
        waiting = select.poll()
        waiting.register(self._fd, select.POLLOUT)
        if waiting.poll(0):  # a terminal that is held by Ctrl-S must not hold whoever draws
            try:
                os.write(self._fd, text.encode(self._encoding, "replace"))
            except OSError:
                pass  # the terminal is gone: nobody to show it to


def bar_is_possible(is_verbose: bool) -> bool:
    """Return whether stderr is a terminal that can clear a line, and not one full of log lines."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not is_verbose


class _AboveBar(io.TextIOWrapper):
    """A terminal's text stream that clears the line before it begins one, in the same write as its text."""

    def __init__(self, stream: TextIO) -> None:
        raw = io.FileIO(stream.fileno(), "wb", closefd=False)
        super().__init__(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True)
        self._begins_line = True
        self._pending = ""  # what is written of a line so far: `print` writes it piece by piece

    def write(self, text: str) -> int:
        self._pending += text
        if "\n" in text:
            self._write_pending()
        return len(text)

    def flush(self) -> None:
        self._write_pending()
        super().flush()

    def _write_pending(self) -> None:
        text, self._pending = self._pending, ""
        if text:
            super().write(CLEAR_LINE + text if self._begins_line else text)
            self._begins_line = text.endswith("\n")


@contextmanager
def lines_above_bar() -> Iterator[None]:
    """Have what is printed and logged in this process clear the bar first, where it goes to a terminal."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_AboveBar(each) if each.isatty() else each for each in before)
    _redirect_logging(before[1], sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        _redirect_logging(sys.stderr, before[1])
        sys.stdout, sys.stderr = before


def _redirect_logging(stream: TextIO, to: TextIO) -> None:
    handler: Any
    for handler in logging.getLogger().handlers:
        if getattr(handler, "stream", None) is stream:
            handler.setStream(to)

"""Lines that take the bar's place."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from eventy_sync.cli.bar import CLEAR_LINE, lines_above_bar


def test_a_line_and_what_clears_the_bar_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though `print` writes piece by piece: another process may write to the terminal in between."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with lines_above_bar():
            os.set_blocking(ours, False)
            sys.stdout.write("printed")
            assert screen.read(1000) is None
            print("", 1, "and", 2)
            assert screen.read(1000) == f"{CLEAR_LINE}printed 1 and 2\r\n".encode()
            print("began", end="")
            sys.stdout.flush()
            assert screen.read(1000) == f"{CLEAR_LINE}began".encode()
            print(" and ended")
            assert screen.read(1000) == b" and ended\r\n"
            print("left", end="")
        assert screen.read(1000) == f"{CLEAR_LINE}left".encode()

"""How a handler's exception is written down."""

from __future__ import annotations

import traceback

MAX_DETAILS_CHARACTERS = 4096


def describe(exc: BaseException) -> str:
    """Return an exception and the end of its traceback, as much as is kept of it."""
    text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))  # copes with a failing __str__
    return printable(text)[-MAX_DETAILS_CHARACTERS:]


def printable(text: str) -> str:
    """Return the text with control characters and lone surrogates escaped, line breaks and tabs apart."""
    return "".join(
        each if each in "\n\t" or (each.isprintable() and not 0xD800 <= ord(each) < 0xE000) else ascii(each)[1:-1]
        for each in text
    )

"""Errors: one tree, each survives pickling, each says what it says."""

from __future__ import annotations

import copy
import pickle

import pytest

from eventy_sync import errors

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.EventyError)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling_with_its_text(cls: type[errors.EventyError]) -> None:
    """As it must to cross processes."""
    arguments = ("x.log", 7, "torn", 1, 2) if cls is errors.CorruptRecordError else ("what was wrong",)
    error = cls(*arguments)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.args) == (cls, str(error), error.args)
    assert not str(error).startswith(("'", '"'))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_drawn_tree_names_every_error(cls: type[errors.EventyError]) -> None:
    """The picture in the module's docstring is complete, and each class says what it is for."""
    assert cls.__name__ in (errors.__doc__ or "")
    assert cls.__doc__


def test_errors_are_also_what_python_would_raise() -> None:
    """KeyError for what is not there, ValueError for what is wrong."""
    assert issubclass(errors.EventNotFoundError, KeyError)
    assert issubclass(errors.InvalidPayloadError, ValueError)
    assert issubclass(errors.InvalidArgumentError, ValueError)


def test_a_corrupt_record_says_where_and_what_was_lost() -> None:
    """In its text and in its fields, also after a copy."""
    error = copy.copy(errors.CorruptRecordError("1.log", 70, "the checksum does not match the text", 3, 5))
    assert str(error) == "1.log: corrupt record at byte 70 (events 3 to 5): the checksum does not match the text"
    assert (error.segment, error.position, error.first_id, error.last_id) == ("1.log", 70, 3, 5)
    assert "(event 3)" in str(errors.CorruptRecordError("1.log", 70, "torn", 3, 3))

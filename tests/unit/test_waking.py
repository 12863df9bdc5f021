"""Hints and bells: nobody misses being woken."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import Union

import pytest

from eventy_sync.waking import Bell, Hint, KernelHint

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="hints of the kernel are Linux's")
each_kind = pytest.mark.parametrize("kind", [Hint, pytest.param(KernelHint, marks=on_linux)])
Kind = Union[type[Hint], type[KernelHint]]


@each_kind
def test_a_hint_waits_for_the_one_who_waits(kind: Kind) -> None:
    """Given before, it is there; given twice, it is there once."""
    hint = kind()
    assert not hint.wait(0.01)
    hint.give()
    hint.give()
    assert hint.wait(None)
    assert not hint.wait(0.0)
    waiter = threading.Thread(target=hint.wait, args=(20.0,))
    waiter.start()
    hint.give()
    waiter.join(20)
    assert not waiter.is_alive()


@each_kind
def test_many_may_give_a_hint_at_once(kind: Kind) -> None:
    """Eight threads, thousands of times, and none of them fails."""
    hint = kind()
    givers = [threading.Thread(target=lambda: [hint.give() for _ in range(5000)]) for _ in range(8)]
    for giver in givers:
        giver.start()
    while any(giver.is_alive() for giver in givers):
        hint.wait(0.01)
    for giver in givers:
        giver.join()
    hint.wait(0.0)


@on_linux
def test_a_hint_of_the_kernel_has_a_descriptor_as_long_as_it_is_needed() -> None:
    """And no child of a fork keeps it open, whatever became of the threads that referred to it."""
    hint = KernelHint()
    fd = hint.fileno()
    assert os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventfd]"
    child = os.fork()
    if child == 0:
        os._exit(os.path.lexists(f"/proc/self/fd/{fd}"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    hint.give()
    assert hint.wait(20.0)
    del hint
    gc.collect()
    assert not os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_bell_wakes_all_and_each_looks_for_itself() -> None:
    """Who waits for something else goes on waiting."""
    bell = Bell()
    level = 0
    answers: dict[int, bool] = {}

    def wait_for_level(wanted: int) -> None:
        answers[wanted] = bell.wait_for(lambda: level >= wanted, 20.0)

    waiters = [threading.Thread(target=wait_for_level, args=(wanted,)) for wanted in range(1, 6)]
    for waiter in waiters:
        waiter.start()
    for wanted, waiter in enumerate(waiters, 1):
        level = wanted
        bell.ring()
        waiter.join(20)
        assert not waiter.is_alive()
    assert answers == dict.fromkeys(range(1, 6), True)


def test_a_bell_that_does_not_ring_is_waited_for_no_longer_than_asked() -> None:
    """And what is true already is not waited for at all."""
    bell = Bell()
    assert not bell.wait_for(lambda: False, 0.01)
    assert not bell.wait_for(lambda: False, 0)
    assert bell.wait_for(lambda: True, 0)
    assert bell.wait_for(lambda: True, None)

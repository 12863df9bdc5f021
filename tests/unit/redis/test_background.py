"""A thread that is there only while there is something to do."""

from __future__ import annotations

import threading

from eventy_sync.redis.background import Background

DEADLINE_SECONDS = 20.0


class Job:
    """Counts how often it is done, and says in which thread; can be held up in the middle."""

    def __init__(self) -> None:
        self.count = 0
        self.threads: list[threading.Thread] = []
        self.may_go_on = threading.Event()
        self.has_begun = threading.Semaphore(0)

    def __call__(self) -> None:
        self.count += 1
        self.threads.append(threading.current_thread())
        self.has_begun.release()
        assert self.may_go_on.wait(DEADLINE_SECONDS)

    def wait_for_beginning(self) -> None:
        assert self.has_begun.acquire(timeout=DEADLINE_SECONDS)


def test_a_job_is_done_once_in_a_thread_of_its_name() -> None:
    """The thread ends with it; the next job has another one."""
    background, job = Background("eventy-recovery"), Job()
    job.may_go_on.set()
    for _ in range(2):
        background.start(job)
        job.wait_for_beginning()
        job.threads[-1].join(DEADLINE_SECONDS)
    assert job.count == 2
    assert [each.name for each in job.threads] == ["eventy-recovery"] * 2
    assert job.threads[0] is not job.threads[1]
    assert not any(each.is_alive() for each in job.threads)
    assert all(each.daemon for each in job.threads)


def test_a_job_that_is_wanted_again_while_it_is_done_is_done_once_more() -> None:
    """By the same thread, and once, however often it was wanted."""
    background, job = Background("x"), Job()
    background.start(job)
    job.wait_for_beginning()
    for _ in range(5):
        background.start(job)
    job.may_go_on.set()
    job.wait_for_beginning()
    job.threads[0].join(DEADLINE_SECONDS)
    assert job.count == 2
    assert job.threads[0] is job.threads[1]


def test_a_job_can_want_itself_again() -> None:
    """It finds that something new has come up as it ends."""
    background, count = Background("x"), [0]
    done = threading.Event()

    def job() -> None:
        count[0] += 1
        if count[0] < 3:
            background.start(job)
        else:
            done.set()

    background.start(job)
    assert done.wait(DEADLINE_SECONDS)
    background.end(DEADLINE_SECONDS)
    assert count == [3]


def test_a_job_can_end_its_own_thread() -> None:
    """Without waiting for itself; what it wanted meanwhile is not begun."""
    background, count = Background("x"), [0]
    done = threading.Event()
    threads: list[threading.Thread] = []

    def job() -> None:
        count[0] += 1
        threads.append(threading.current_thread())
        background.start(job)
        background.end(DEADLINE_SECONDS)
        done.set()

    background.start(job)
    assert done.wait(DEADLINE_SECONDS)
    threads[0].join(DEADLINE_SECONDS)
    assert not threads[0].is_alive()
    assert count == [1]


def test_ending_waits_for_the_job_that_is_done_and_begins_no_other() -> None:
    """Neither what was wanted before nor what is wanted after."""
    background, job = Background("x"), Job()
    background.start(job)
    job.wait_for_beginning()
    background.start(job)
    background.end(0.0)  # gives up waiting
    assert job.threads[0].is_alive()
    job.may_go_on.set()
    background.end(DEADLINE_SECONDS)
    assert not job.threads[0].is_alive()
    background.start(job)
    background.end(DEADLINE_SECONDS)
    assert job.count == 1


def test_ending_what_never_began_is_no_harm() -> None:
    """Nothing is begun afterwards."""
    background, job = Background("x"), Job()
    background.end(DEADLINE_SECONDS)
    background.start(job)
    assert job.count == 0
    assert threading.active_count() == len(threading.enumerate())
    assert "x" not in [each.name for each in threading.enumerate()]

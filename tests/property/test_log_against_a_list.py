"""The log against a plain list: whatever is done in whatever order, both tell the same.

The list holds what was acknowledged and not taken away since: (id, payload, time).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventy_sync import EventExpiredError, EventNotFoundError, Retention
from eventy_sync.storage.log import EventLog, LogReader, StoredRecord, fields, verify

EXAMPLES = int(os.environ.get("EVENTY_TEST_EXAMPLES", "300"))
SEGMENT_BYTES = 1024

bodies = st.binary(min_size=0, max_size=300).map(lambda data: b'"%b"' % data.hex().encode())
shares = st.floats(0, 1)


class LogMachine(RuleBasedStateMachine):
    """One log, at times written to through another object on the same directory, as another process would."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="eventy-property-"))
        self.now = 1_700_000_000_000_000
        self.log = self.open()
        self.model: list[tuple[int, bytes, int]] = []
        self.tail = 0
        self.followed: list[int] = []
        self.follower: LogReader = self.log.reader(1)
        self.drops = False

    def open(self, retention: Retention | None = None) -> EventLog:
        return EventLog(
            self.root, durability="os", segment_bytes=SEGMENT_BYTES, retention=retention, clock=lambda: self.now
        )

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.follower.close()
            self.log.close()
            shutil.rmtree(self.root)

    def acknowledge(self, some: list[bytes], first_id: int, at: int) -> None:
        assert first_id == self.tail + 1
        for number, body in enumerate(some):
            self.model.append((first_id + number, body, at))
        self.tail += len(some)

    @rule(some=st.lists(bodies, min_size=1, max_size=8), elsewhere=st.booleans())
    def append(self, some: list[bytes], elsewhere: bool) -> None:
        log = self.open() if elsewhere else self.log
        self.acknowledge(some, *log.append([fields(body, "json") for body in some]))
        if elsewhere:
            log.close()

    @rule(seconds=st.floats(-7200, 7200))
    def set_clock(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)

    @rule()
    def reopen(self) -> None:
        self.follower.close()
        self.log.close()
        self.log = self.open()
        self.follower = self.log.reader(self.follower.next_id)

    @rule()
    def rotate(self) -> None:
        with self.log.exclusive():
            pass

    @rule(share=shares)
    def die_while_appending(self, share: float) -> None:
        """Half a record is left at the end, as by a writer that was killed."""
        line = b'0123abcd {"id":%d,"at":1,"payload":"never acknowledged"}\n' % (self.tail + 1)
        segments = sorted(self.log.directory.glob("*.log"))
        if segments and not segments[-1].read_bytes().endswith(b"\n\n"):
            with segments[-1].open("ab") as segment:
                segment.write(line[: 1 + int(share * (len(line) - 2))])

    @rule(keep=st.integers(1, 40))
    def retain(self, keep: int) -> None:
        log = self.open(Retention(max_events=keep))
        log.drop_expired()
        log.close()
        self.drops = True
        self.forget_before(self.log_oldest())

    @rule()
    def drop_all(self) -> None:
        self.log.drop_all()
        self.drops = True
        self.model.clear()

    def log_oldest(self) -> int:
        log = self.open()
        try:
            return log.oldest()
        finally:
            log.close()

    def forget_before(self, oldest: int) -> None:
        self.model = [each for each in self.model if each[0] >= oldest]

    @rule(share=shares, pieces=st.integers(1, 9))
    def read_from_anywhere(self, share: float, pieces: int) -> None:
        start = max(1, int(share * (self.tail + 2)))
        reader = self.log.reader(start)
        found = []
        while items := reader.read(pieces):
            assert len(items) <= pieces
            found += [(item.id, item.body, item.at) for item in items if isinstance(item, StoredRecord)]
        reader.close()
        assert found == [each for each in self.model if each[0] >= start]

    @rule(share=shares)
    def get_one(self, share: float) -> None:
        wanted = int(share * (self.tail + 2))
        known = {event_id: (body, at) for event_id, body, at in self.model}
        if wanted in known:
            record = self.log.get(wanted)
            assert (record.body, record.at) == known[wanted]
        else:
            with pytest.raises(EventNotFoundError) as raised:
                self.log.get(wanted)
            assert isinstance(raised.value, EventExpiredError) == (0 < wanted <= self.tail)

    @rule(low=shares, high=shares, start=shares)
    def search_by_time(self, low: float, high: float, start: float) -> None:
        times = sorted(at for _, _, at in self.model) or [0]
        earliest, latest = times[int(low * (len(times) - 1))], times[int(high * (len(times) - 1))]
        from_id = max(1, int(start * self.tail))
        found = [
            event_id
            for first, last in self.log.time_ranges(from_id, earliest, latest)
            for event_id in range(first, last + 1)
        ]
        assert found == [each for each, _, at in self.model if earliest <= at <= latest and each >= from_id]

    @rule()
    def follow(self) -> None:
        """A reader that is open all along sees every event once, in order, unless it was dropped before."""
        while items := self.follower.read(7):
            self.followed += [item.id for item in items if isinstance(item, StoredRecord)]
        if not self.drops:
            assert self.followed == list(range(1, self.tail + 1))
        assert self.followed == sorted(set(self.followed))
        if self.model:
            assert self.followed[-1] == self.tail

    @invariant()
    def the_end_is_known(self) -> None:
        if hasattr(self, "log"):
            assert self.log.tail() == self.tail

    @rule()
    def nothing_is_damaged(self) -> None:
        assert verify(self.log).damages == []


LogMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLogAgainstAList = LogMachine.TestCase

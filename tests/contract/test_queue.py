"""What every queue does: the contract, as a user would put it to the test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import eventy_sync
from eventy_sync import (
    ClaimLostError,
    ClaimNotFoundError,
    EventNotFoundError,
    EventyError,
    FileEventQueue,
    InvalidArgumentError,
    InvalidPayloadError,
    NonceSubscriber,
    QueueClosedError,
    QueueEvent,
    QueueFormatError,
    ResultNotFoundError,
    RetryEvent,
    SkipEvent,
    StorageError,
    Subscriber,
    SubscriptionNotFoundError,
    WorkerMatchSubscriber,
)

Wait = Callable[..., None]
HANDLED: list[tuple[str, int]] = []


@dataclass
class Order:
    """A payload."""

    id: int
    total: float


@dataclass
class Recorder(Subscriber[Any]):
    """A stored subscriber that says what it saw."""

    label: str

    def on_event(self, event: QueueEvent[Any], event_queue: Any) -> str:
        HANDLED.append((self.label, event.id))
        return self.label


@pytest.fixture(autouse=True)
def forget() -> None:
    """Start with nothing handled."""
    HANDLED.clear()


@pytest.fixture
def queue(root: Path) -> Iterator[FileEventQueue[Any]]:
    """An open queue of dicts."""
    with FileEventQueue(root, payload_type=dict) as queue:
        yield queue


def test_a_published_event_comes_back_as_it_was(root: Path) -> None:
    """Dataclass payloads are read as dataclasses, with id and an aware time."""
    with FileEventQueue(root, payload_type=Order) as queue:
        event = queue.publish(Order(7, 12.5))
        assert event == queue.get_event(1)
        assert event.created_at.tzinfo == timezone.utc
    with FileEventQueue(root, payload_type=Order) as queue:
        assert list(queue.iter_events()) == [event]


def test_publish_many_is_all_or_nothing(queue: FileEventQueue[Any]) -> None:
    """One bad payload refuses the whole batch."""
    with pytest.raises(InvalidPayloadError):
        queue.publish_many([{"a": 1}, "no dict"])
    assert queue.count_events() == 0
    assert [event.id for event in queue.publish_many({"n": n} for n in range(3))] == [1, 2, 3]
    assert queue.publish_many([]) == []


@pytest.mark.parametrize("serializer", ["json", "msgpack", "pickle"])
def test_serializers_keep_payloads(root: Path, serializer: str) -> None:
    """Each serializer brings back what it was given."""
    payload = {"text": "straße\n", "n": [1, 2.5, None, True]}
    with FileEventQueue(root, payload_type=dict, event_serializer=serializer) as queue:
        queue.publish(payload)
        assert queue.get_event(1).payload == payload


def test_a_pickle_is_never_opened_by_a_queue_of_another_serializer(root: Path) -> None:
    """What a record says cannot make the library run code."""
    with FileEventQueue(root, payload_type=dict, event_serializer="pickle") as queue:
        queue.publish({})
    with FileEventQueue(root, payload_type=dict) as queue, pytest.raises(InvalidPayloadError, match="pickle"):
        queue.get_event(1)


@pytest.mark.parametrize(
    "payload",
    [[1], None, {"x": float("nan")}, {"x": "\ud800"}, {"x": "y" * 17_000_000}, {"x": object()}],
    ids=["type", "none", "nan", "utf-8", "large", "object"],
)
def test_a_bad_payload_is_refused_and_nothing_is_written(queue: FileEventQueue[Any], payload: Any) -> None:
    """One clear error, no event."""
    with pytest.raises(InvalidPayloadError, match="payload"):
        queue.publish(payload)
    assert queue.count_events() == 0


def test_a_payload_that_is_too_deep_is_refused(queue: FileEventQueue[Any]) -> None:
    """Nested too deeply, or containing itself."""
    deep: Any = {}
    for _ in range(150):
        deep = {"x": deep}
    loop: dict[str, Any] = {}
    loop["x"] = loop
    for payload in (deep, loop):
        with pytest.raises(InvalidPayloadError, match="levels deep"):
            queue.publish(payload)


def test_pages_of_events_walk_the_whole_log_once(queue: FileEventQueue[Any]) -> None:
    """Following next_page_id shows each event once."""
    queue.publish_many([{"n": n} for n in range(25)])
    seen, page_id = [], None
    while True:
        page = queue.search_events(page_id, limit=10)
        seen += [event.id for event in page.items]
        page_id = page.next_page_id
        if page_id is None:
            break
    assert seen == list(range(1, 26))


def test_events_are_found_by_time(queue: FileEventQueue[Any]) -> None:
    """Filters by time count and page."""
    first = queue.publish({})
    last = queue.publish({})
    assert queue.count_events(created_at__gte=first.created_at) == 2
    assert queue.count_events(created_at__gte=last.created_at + timedelta(seconds=1)) == 0
    assert [each.id for each in queue.search_events(created_at__lte=last.created_at).items] == [1, 2]
    with pytest.raises(InvalidArgumentError, match="aware"):
        queue.count_events(created_at__gte=datetime(2026, 1, 1))


@pytest.mark.parametrize("page_id", ["", "x", "WyJyZXN1bHRzIiwxXQ", "é", 5])
def test_a_foreign_page_id_is_refused(queue: FileEventQueue[Any], page_id: Any) -> None:
    """A page id of another list, or garbage, is one clear error."""
    with pytest.raises(InvalidArgumentError, match="page_id"):
        queue.search_events(page_id)


def test_a_batch_has_none_for_what_is_not_there(queue: FileEventQueue[Any]) -> None:
    """Batches keep the order of the ids."""
    queue.publish({})
    assert [event and event.id for event in queue.batch_get_events([2, 1])] == [None, 1]
    assert queue.batch_get_results([uuid4()]) == [None]
    assert queue.batch_get_claims(["nobody's"]) == [None]
    assert queue.batch_get_subscriptions([uuid4()]) == [None]


def test_what_is_not_there_raises_the_fitting_error(queue: FileEventQueue[Any]) -> None:
    """Each kind of thing has its own error, all of them KeyErrors."""
    for ask, error in (
        (lambda: queue.get_event(1), EventNotFoundError),
        (lambda: queue.get_result(uuid4()), ResultNotFoundError),
        (lambda: queue.get_claim("x"), ClaimNotFoundError),
        (lambda: queue.get_subscriber(uuid4()), SubscriptionNotFoundError),
        (lambda: queue.wait_for_result(1, timeout=0), ResultNotFoundError),
    ):
        with pytest.raises(error) as caught:
            ask()
        assert isinstance(caught.value, KeyError)
        assert not str(caught.value).startswith("'")


def test_a_closed_queue_says_how_to_use_it(root: Path) -> None:
    """Before `with` and after close every call raises QueueClosedError."""
    queue = FileEventQueue(root, payload_type=dict)
    for _ in range(2):
        for call in (lambda: queue.publish({}), queue.count_events, queue.health, lambda: queue.create_claim("a")):
            with pytest.raises(QueueClosedError, match="with queue"):
                call()
        with queue:
            queue.publish({})
        queue.close()
        queue.close()


def test_subscribers_see_every_event_from_now_on_in_order(queue: FileEventQueue[Any]) -> None:
    """A callable gets each event published after it subscribed, and leaves a result for each."""
    queue.publish({})
    seen: list[int] = []
    queue.subscribe(lambda event: seen.append(event.id))
    queue.publish_many([{}] * 300)
    assert queue.wait_until_idle(20)
    assert seen == list(range(2, 302))
    assert queue.count_results() == 300
    assert queue.wait_for_result(2, timeout=5).success


def test_from_index_brings_events_of_the_past(queue: FileEventQueue[Any]) -> None:
    """A subscriber may start at any event that is kept."""
    queue.publish_many([{}] * 5)
    seen: list[int] = []
    queue.subscribe(lambda event: seen.append(event.id), from_index=3)
    assert queue.wait_until_idle(20)
    assert seen == [3, 4, 5]
    for wrong in (0, -1, "1", True):
        with pytest.raises(InvalidArgumentError):
            queue.subscribe(print, from_index=wrong)  # type: ignore[arg-type]


def test_a_failing_handler_leaves_a_failed_result_and_delivery_goes_on(queue: FileEventQueue[Any]) -> None:
    """Exceptions, sys.exit() and exceptions that cannot be shown are results."""

    class Nasty(Exception):
        def __str__(self) -> str:
            raise ValueError

    errors = [ValueError("boom\x07"), SystemExit(3), Nasty()]

    def handler(event: QueueEvent[Any]) -> str:
        if event.id <= len(errors):
            raise errors[event.id - 1]
        return "fine"

    queue.subscribe(handler)
    queue.publish_many([{}] * 4)
    assert queue.wait_until_idle(20)
    results = queue.search_results().items
    assert [result.success for result in results] == [False, False, False, True]
    assert "ValueError: boom\\x07" in str(results[0].details)
    assert results[3].details == "fine"
    assert queue.search_results(success__eq=False).items == results[:3]
    assert queue.search_results(success__eq=True).items == results[3:]
    assert (queue.count_results(success__eq=False), queue.count_results(success__eq=True)) == (3, 1)
    assert queue.count_results(group__eq="billing") == len(queue.search_results(group__eq="billing").items) == 0


def test_skip_leaves_no_result_and_retry_runs_again(queue: FileEventQueue[Any]) -> None:
    """SkipEvent and RetryEvent steer from inside a handler."""
    runs: list[int] = []

    def handler(event: QueueEvent[Any]) -> None:
        runs.append(event.id)
        if event.id == 1:
            raise SkipEvent
        if runs.count(2) < 3:
            raise RetryEvent(delay_seconds=0.01)

    queue.subscribe(handler)
    queue.publish_many([{}] * 2)
    assert queue.wait_until_idle(20)
    assert runs == [1, 2, 2, 2]
    assert [(each.event_id, each.attempt) for each in queue.search_results().items] == [(2, 3)]


def test_decorated_handlers_run_whenever_the_queue_is_open(root: Path) -> None:
    """The decorator works before and inside `with`, with and without arguments."""
    queue = FileEventQueue(root, payload_type=dict)
    seen: list[str] = []

    @queue.subscriber
    def first(event: QueueEvent[Any]) -> None:
        seen.append(f"first {event.id}")

    with queue:

        @queue.subscriber(from_index=1)
        def second(event: QueueEvent[Any]) -> None:
            seen.append(f"second {event.id}")

        queue.publish({})
        assert queue.wait_until_idle(20)
    assert sorted(seen) == ["first 1", "second 1"]
    with queue:
        assert queue.wait_until_idle(20)
    assert sorted(seen) == ["first 1", "second 1", "second 1"]


def test_stored_subscribers_are_listed_and_run_elsewhere(root: Path, wait_until: Wait) -> None:
    """Another worker starts and stops a stored subscriber by itself."""
    with FileEventQueue(root, dict) as here, FileEventQueue(root, dict) as there:
        there.request_resync()
        subscription = here.subscribe(Recorder("all"))
        assert subscription.stored
        assert there.get_subscriber(subscription.id) == Recorder("all")
        assert [each.id for each in there.search_subscriptions().items] == [subscription.id]
        here.publish({})
        wait_until(lambda: HANDLED.count(("all", 1)) == 2)
        assert there.unsubscribe(subscription.id)
        wait_until(lambda: here.count_subscriptions() == 0)
        assert not here.unsubscribe(subscription.id)


def test_an_equal_subscriber_is_found_when_asked_for(queue: FileEventQueue[Any]) -> None:
    """check_subscriber_unique returns the subscription that exists."""
    first = queue.subscribe(Recorder("a"))
    assert queue.subscribe(Recorder("a"), check_subscriber_unique=True).id == first.id
    assert queue.subscribe(Recorder("b"), check_subscriber_unique=True).id != first.id
    assert queue.subscribe(print).id == queue.subscribe(print, check_subscriber_unique=True).id


def test_local_subscriptions_are_listed_too(queue: FileEventQueue[Any]) -> None:
    """Lists show this process's own subscriptions beside the stored ones."""
    made = [queue.subscribe(each).id for each in (print, Recorder("x"), repr)]
    assert queue.count_subscriptions() == 3
    seen, page_id = [], None
    while True:
        page = queue.search_subscriptions(page_id, limit=2)
        seen += [each.id for each in page.items]
        if (page_id := page.next_page_id) is None:
            break
    assert seen == made


def test_a_nonce_subscriber_runs_each_event_in_one_worker(root: Path) -> None:
    """Two workers, one run for each event."""
    with FileEventQueue(root, dict) as one, FileEventQueue(root, dict) as two:
        for queue in (one, two):
            queue.subscribe(NonceSubscriber(Recorder("nonce")), check_subscriber_unique=True)
        one.publish_many([{}] * 20)
        assert one.wait_until_idle(20)
        assert two.wait_until_idle(20)
        assert sorted(HANDLED) == [("nonce", number) for number in range(1, 21)]


def test_a_worker_match_subscriber_runs_in_its_worker_only(queue: FileEventQueue[Any]) -> None:
    """Another worker's subscriber is skipped here."""
    queue.subscribe(WorkerMatchSubscriber(Recorder("mine"), queue.get_worker_id()))
    queue.subscribe(WorkerMatchSubscriber(Recorder("other"), uuid4()))
    queue.publish({})
    assert queue.wait_until_idle(20)
    assert HANDLED == [("mine", 1)]


def test_what_is_no_subscriber_is_refused(queue: FileEventQueue[Any]) -> None:
    """A class, or something that cannot be called, is one clear error."""
    for wrong in (None, 5, Recorder):
        with pytest.raises(InvalidArgumentError):
            queue.subscribe(wrong)


def test_one_holder_at_a_time(root: Path) -> None:
    """A claim is refused to all others, and to its holder; only the holder renews and releases it."""
    with FileEventQueue(root, dict) as one, FileEventQueue(root, dict) as two:
        assert one.create_claim("report", {"why": "night"})
        assert not one.create_claim("report")
        assert not two.create_claim("report")
        assert two.get_claim("report").data == {"why": "night"}
        assert two.get_claim("report").worker_id == one.get_worker_id()
        with pytest.raises(ClaimLostError):
            two.renew_claim("report")
        assert not two.release_claim("report")
        assert one.renew_claim("report", ttl_seconds=1000).expires_at > one.get_claim("report").created_at
        assert one.release_claim("report")
        assert two.create_claim("report")
        assert two.get_claim("report").token > 1


def test_an_expired_claim_is_free(root: Path, wait_until: Wait) -> None:
    """When its time is over another worker gets it, with a larger token, and the old holder has lost it."""
    with FileEventQueue(root, dict) as one, FileEventQueue(root, dict) as two:
        assert one.create_claim("x", ttl_seconds=0.05)
        token = one.get_claim("x").token
        wait_until(lambda: two.create_claim("x"))
        assert two.get_claim("x").token > token
        with pytest.raises(ClaimLostError):
            one.renew_claim("x")
        assert not one.release_claim("x")


def test_a_claim_block_renews_until_its_end(root: Path, wait_until: Wait) -> None:
    """Inside the block the claim outlives its time; after it, it is free."""
    with FileEventQueue(root, dict) as one, FileEventQueue(root, dict) as two:
        with one.claim("x", ttl_seconds=0.3) as claim:
            granted = one.get_claim("x").expires_at
            assert claim.acquired
            assert claim.token == one.get_claim("x").token
            wait_until(lambda: one.get_claim("x").expires_at > granted + timedelta(seconds=0.25))
            assert not claim.lost
            with two.claim("x") as other:
                assert (other.acquired, other.lost, other.token) == (False, True, None)
        assert two.create_claim("x")


def test_claims_are_given_back_at_close(root: Path) -> None:
    """A worker that ends leaves no claim behind."""
    with FileEventQueue(root, dict) as one:
        one.create_claim("x")
    with FileEventQueue(root, dict) as two:
        assert two.count_claims() == 0
        assert two.search_claims().items == []


@pytest.mark.parametrize("claim_id", ["", "a\0b", "x" * 5000, "\ud800", "line\nbreak", 5, None])
def test_a_bad_claim_id_is_refused(queue: FileEventQueue[Any], claim_id: Any) -> None:
    """One clear error for what cannot be a claim id."""
    with pytest.raises(InvalidArgumentError, match="claim id"):
        queue.create_claim(claim_id)


def test_a_claim_id_never_becomes_a_file_name(queue: FileEventQueue[Any], root: Path) -> None:
    """Dots and slashes are letters like others."""
    before = sorted(path for path in root.parent.rglob("*") if "state.db" not in path.name)
    assert queue.create_claim("../../etc/passwd")
    assert sorted(path for path in root.parent.rglob("*") if "state.db" not in path.name) == before


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_bad_claim_time_is_refused(queue: FileEventQueue[Any], ttl: Any) -> None:
    """A claim lasts a positive, finite number of seconds."""
    with pytest.raises(InvalidArgumentError, match="seconds"):
        queue.create_claim("x", ttl_seconds=ttl)


def test_iter_events_follows_what_is_published_later(queue: FileEventQueue[Any]) -> None:
    """With follow the iteration goes on, and ends after the timeout."""
    queue.publish({"n": 1})
    publisher = threading.Timer(0.05, lambda: queue.publish({"n": 2}))
    publisher.start()
    assert [event.id for event in queue.iter_events(follow=True, timeout=0.5)] == [1, 2]
    publisher.join()


def test_close_from_a_handler_ends_everything(root: Path, wait_until: Wait) -> None:
    """A handler may close its own queue; its result is kept."""
    queue = FileEventQueue(root, payload_type=dict)
    queue.open()
    done = threading.Event()

    def handler(event: QueueEvent[Any]) -> None:
        queue.close()
        done.set()

    queue.subscribe(handler)
    queue.publish({})
    assert done.wait(20)
    with pytest.raises(QueueClosedError):
        queue.publish({})
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("eventy-")])
    with FileEventQueue(root, payload_type=dict) as again:
        assert again.count_results() == 1


def test_nested_blocks_close_with_the_last(root: Path) -> None:
    """Request handlers may each use `with queue:` on one queue, in many threads at once."""
    queue = FileEventQueue(root, payload_type=dict)

    def request() -> None:
        for _ in range(20):
            with queue:
                queue.publish({})

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with queue:
        assert queue.count_events() == 160
        with queue:
            pass
        assert queue.count_events() == 160


def test_a_block_that_begins_while_the_last_one_ends_has_an_open_queue(
    root: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """The thread that ends the last block closes what that one used, and not what the next one uses."""
    queue = FileEventQueue(root, payload_type=dict)
    queue.open()
    closing, may_close = threading.Event(), threading.Event()
    close = queue.close

    def close_late() -> None:
        closing.set()
        assert may_close.wait(20)
        close()

    monkeypatch.setattr(queue, "close", close_late)
    thread = threading.Thread(target=lambda: queue.__enter__().__exit__(None, None, None))
    thread.start()
    wait_until(lambda: closing.is_set() or not thread.is_alive())
    with queue:
        may_close.set()
        thread.join()
        assert queue.publish({}).id == 1


def test_who_publishes_while_the_queue_is_closed_is_told_so(root: Path) -> None:
    """Either the event is there, or the error says that the queue is closed."""
    for _ in range(10):
        queue = FileEventQueue(root, payload_type=dict, durability="os")
        queue.open()
        published: list[int] = []
        failures: list[BaseException] = []
        begun = threading.Event()

        def publish(queue: Any, published: list[int], failures: list[BaseException], begun: threading.Event) -> None:
            try:
                while True:
                    published.append(queue.publish({}).id)
                    begun.set()
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=publish, args=(queue, published, failures, begun)) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert begun.wait(20)
        queue.close()
        for thread in threads:
            thread.join()
        assert [type(failure) for failure in failures] == [QueueClosedError] * 3
        with queue:
            assert queue.batch_get_events(published).count(None) == 0


def test_reset_forgets_all_but_the_ids(queue: FileEventQueue[Any]) -> None:
    """After reset the queue is empty; ids and tokens go on."""
    queue.publish_many([{}] * 3)
    queue.create_claim("x")
    token = queue.get_claim("x").token
    queue.reset()
    assert (queue.count_events(), queue.count_claims(), queue.count_results()) == (0, 0, 0)
    assert queue.publish({}).id == 4
    assert queue.create_claim("x")
    assert queue.get_claim("x").token > token


def test_health_and_stats_name_what_matters(queue: FileEventQueue[Any]) -> None:
    """The documented keys are there."""
    queue.publish({})
    health = queue.health()
    assert {"mode", "reason", "tail", "worker_id", "root_id", "gaps", "corrupt_records"} <= set(health)
    assert (health["mode"] in ("file", "connected"), health["tail"]) == (True, 1)
    assert queue.stats()["events"] == 1


def test_a_damaged_record_is_reported_once_and_delivery_goes_on(root: Path) -> None:
    """A failed result, a count in health, and the next event."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish_many([{"n": n} for n in range(3)])
    path = root / "events" / "00000000000000000001.log"
    path.write_bytes(path.read_bytes().replace(b'{"n":1}', b'{"n":9}'))
    with FileEventQueue(root, payload_type=dict) as queue:
        seen: list[int] = []
        queue.subscribe(lambda event: seen.append(event.id), from_index=1)
        assert queue.wait_until_idle(20)
        assert seen == [1, 3]
        assert queue.health()["corrupt_records"] == 1
        assert [(each.event_id, each.success) for each in queue.search_results().items] == [
            (1, True),
            (2, False),
            (3, True),
        ]


def _make_file(root: Path) -> None:
    root.touch()


def _make_foreign(root: Path) -> None:
    root.mkdir()
    (root / "holiday.jpg").touch()


def _make_later(root: Path) -> None:
    root.mkdir()
    (root / "queue.json").write_text('{"format": 2, "something": "new"}')


def _make_garbage(root: Path) -> None:
    root.mkdir()
    (root / "queue.json").write_bytes(b"\xff\xfe")


def _make_fifo(root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / ".lock")


def _make_symlink(root: Path) -> None:
    root.mkdir()
    (root / ".lock").symlink_to(root.parent / "elsewhere")


@pytest.mark.parametrize("make", [_make_file, _make_foreign, _make_later, _make_garbage, _make_fifo, _make_symlink])
def test_a_root_that_is_no_queue_is_refused(root: Path, make: Callable[[Path], None]) -> None:
    """One clear error, nothing changed, nothing hangs."""
    make(root)
    with pytest.raises((QueueFormatError, StorageError), match=r"orders"):
        FileEventQueue(root, payload_type=dict).open()
    assert not (root.parent / "elsewhere").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"durability": "fast"},
        {"segment_bytes": 5},
        {"event_serializer": "yaml"},
        {"worker_id": "me"},
        {"name": "a\nb"},
        {"retention": 5},
        {"payload_type": threading.Lock},
    ],
)
def test_a_bad_field_is_refused_at_once(root: Path, fields: dict[str, Any]) -> None:
    """Wrong settings show when the queue is made, not at the first publish."""
    with pytest.raises(InvalidArgumentError):
        FileEventQueue(root, **fields)
    assert not root.exists()


def test_public_names_are_these() -> None:
    """The names that users import; each is documented."""
    assert sorted(eventy_sync.__all__) == eventy_sync.__all__
    for name in eventy_sync.__all__:
        assert hasattr(eventy_sync, name)
        if not name.startswith("__"):
            assert getattr(eventy_sync, name).__doc__, name
    missing = [
        name
        for name in dir(FileEventQueue)
        if not name.startswith("_")
        and callable(getattr(FileEventQueue, name))
        and not (
            getattr(FileEventQueue, name).__doc__
            or getattr(getattr(eventy_sync.EventQueue, name, None), "__doc__", None)
        )
    ]
    assert not missing
    assert issubclass(eventy_sync.StorageError, EventyError)

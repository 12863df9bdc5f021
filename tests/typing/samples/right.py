"""What a type checker must take: no line of this file may be reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

from eventy_sync import (
    EventQueue,
    FileEventQueue,
    NonceSubscriber,
    QueueEvent,
    RedisFileEventQueue,
    Subscriber,
)
from eventy_sync.testing import deliver_all, temporary_queue


@dataclass
class Order:
    id: int


@dataclass
class Refund:
    id: int


@dataclass
class Bill(Subscriber[Order]):
    def on_event(self, event: QueueEvent[Order], event_queue: EventQueue[Order]) -> str:
        return f"order {event.payload.id}, event {event_queue.get_event(event.id).payload.id}"


# a queue's type is that of its payloads where that is a class, else the one that is written
assert_type(FileEventQueue("orders", payload_type=Order), FileEventQueue[Order])
assert_type(FileEventQueue("orders", dict[str, int], durability="fsync"), FileEventQueue[dict[str, int]])
assert_type(RedisFileEventQueue("orders", payload_type=Order, redis_db=1), RedisFileEventQueue[Order])
assert_type(FileEventQueue("orders"), FileEventQueue[Any])
both = FileEventQueue[Order | Refund]("orders", payload_type=Order | Refund)
assert_type(both, FileEventQueue[Order | Refund])
queue = FileEventQueue("orders", payload_type=Order)


# decorated functions are what they were
@queue.subscriber
def handle(event: QueueEvent[Order]) -> int:
    return event.payload.id


@queue.subscriber(group="billing", max_attempts=3)
def bill(event: QueueEvent[Order]) -> str:
    return str(event.payload.id)


assert_type(handle, Callable[[QueueEvent[Order]], int])
assert_type(bill, Callable[[QueueEvent[Order]], str])
assert_type(queue.subscriber(Bill(), from_index=1), Bill)
assert_type(queue.subscriber(group="billing")(Bill()), Bill)


def audit(event: QueueEvent[Order | Refund]) -> None:
    """A handler of more than the queue has."""


def orders_only(orders: EventQueue[Order]) -> None:
    orders.publish(Order(1))


# payloads keep their type on every way
with queue as opened:
    assert_type(opened, FileEventQueue[Order])
    orders_only(opened)
    assert_type(opened.publish(Order(7)), QueueEvent[Order])
    assert_type(opened.publish_many([Order(8), Order(9)]), list[QueueEvent[Order]])
    assert_type(opened.get_event(1).payload, Order)
    assert_type(opened.batch_get_events([1, 2]), list[QueueEvent[Order] | None])
    assert_type(opened.search_events(limit=10).items, list[QueueEvent[Order]])
    for event in opened.iter_events(follow=True, timeout=1.0):
        assert_type(event, QueueEvent[Order])
    for dead in opened.dead_letters("billing").items:
        assert_type(opened.get_event(dead.event_id).payload, Order)
    opened.subscribe(handle)
    opened.subscribe(audit)
    opened.subscribe(lambda event: event.payload.id, group="billing")
    opened.subscribe(Bill())
    opened.subscribe(NonceSubscriber(Bill()), check_subscriber_unique=True)
    assert_type(handle(opened.get_event(1)), int)

with both:
    both.publish(Refund(1))

with temporary_queue(payload_type=Order, name="orders") as temporary:
    assert_type(temporary, FileEventQueue[Order])
    assert_type(deliver_all(temporary), int)

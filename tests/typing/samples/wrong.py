"""What a type checker must refuse: each line that ends in "# wrong", and no other."""

from __future__ import annotations

from dataclasses import dataclass

from eventy_sync import EventQueue, FileEventQueue, NonceSubscriber, QueueEvent, RedisFileEventQueue, Subscriber
from eventy_sync.testing import deliver_all, temporary_queue


@dataclass
class Order:
    id: int


@dataclass
class Refund:
    id: int


@dataclass
class PayBack(Subscriber[Refund]):
    def on_event(self, event: QueueEvent[Refund], event_queue: EventQueue[Refund]) -> None:
        print(event.payload.total)  # wrong


@dataclass
class Misread(Subscriber[Refund]):
    def on_event(self, event: QueueEvent[Order], event_queue: EventQueue[Refund]) -> None: ...  # wrong


def pay_back(event: QueueEvent[Refund]) -> None: ...


def refunds_only(refunds: EventQueue[Refund]) -> None: ...


queue = FileEventQueue("orders", payload_type=Order)
FileEventQueue[Order]("orders", payload_type=Refund, durability="always")  # wrong
FileEventQueue("orders", payload_type=Order, redis_db=1)  # wrong
RedisFileEventQueue("orders", payload_type=Order, redis_db="one")  # wrong
queue.subscriber(pay_back)  # wrong
queue.subscriber(group="billing")(pay_back)  # wrong

with queue as opened:
    opened.publish(Refund(7))  # wrong
    opened.publish_many([Order(1), Refund(7)])  # wrong
    print(opened.publish(Order(1)).payload.total)  # wrong
    opened.get_event("1")  # wrong
    opened.get_event(1).payload = Order(2)  # wrong
    print(opened.search_events().items[0].total)  # wrong
    refund: Refund = next(opened.iter_events()).payload  # wrong
    opened.subscribe(pay_back)  # wrong
    opened.subscribe(PayBack())  # wrong
    opened.subscribe(NonceSubscriber(PayBack()))  # wrong
    opened.subscribe(lambda event: event.payload.total)  # wrong
    opened.subscribe("no handler")  # wrong
    refunds_only(opened)  # wrong

with temporary_queue(payload_type=Order) as temporary:
    temporary.publish(Refund(7))  # wrong
    deliver_all("orders")  # wrong

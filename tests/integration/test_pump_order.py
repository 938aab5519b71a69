"""What the pump does to the order of a queue, and to what is not its own any more, when things go wrong."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from connectorlib.amqp import Broker
from connectorlib.errors import reject
from connectorlib.messages import Dead, Delivery, Outcome
from connectorlib.pipeline.lane import handed_out
from tests.integration.consuming import come_back
from tests.integration.pumping import LOCKED, Target, bodies, dead, lose_connection, pumping
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


def test_order_is_kept_when_the_broker_goes_during_a_pause(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    target = Target()
    with pumping(queue, target) as pump:
        queue.publish("", "q", bodies(300))
        assert eventually(lambda: len(target.written) == 300)
        target.up = False
        queue.publish("", "q", bodies(300, 300))
        assert eventually(lambda: "PAUSED" in caplog.text)
        assert eventually(lambda: pump._consumer.held == 200)
        lose_connection(queue, pump)
        target.up = True
        assert eventually(lambda: len(target.written) == 600)
    assert target.written == bodies(600)


def test_messages_that_came_back_often_are_taken_one_by_one_and_in_order(queue: Vhost) -> None:
    queue.publish("", "q", bodies(100))
    with Broker(queue.broker_settings(), name="dying", publishing=False) as broker:
        consumer = broker.consumer("q", 200)
        for _ in range(3):
            come_back(queue, consumer, 100)
    queue.publish("", "q", bodies(200, 100))
    target = Target()
    with pumping(queue, target) as pump:
        assert eventually(lambda: len(target.written) == 300)
        assert eventually(lambda: pump._consumer.prefetch == 200)
    assert target.written == bodies(300)
    assert set(target.batches[:100]) == {1}
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_among_messages_that_came_back_often_one_that_fails_is_blamed_after_another_has_passed(queue: Vhost) -> None:
    queue.publish("", "q", bodies(20))
    with Broker(queue.broker_settings(), name="dying", publishing=False) as broker:
        consumer = broker.consumer("q", 200)
        for _ in range(3):
            come_back(queue, consumer, 20)
    target = Target(lambda body: LOCKED if body == b"7" else None)
    with pumping(queue, target, alone=True) as pump:
        assert eventually(lambda: len(target.written) == 19)
        assert eventually(lambda: pump.counts["dead"] == 1)
    assert set(target.batches) == {1}
    assert [body for body, _ in dead(queue)] == [b"7"]


def test_what_never_passes_is_soon_taken_a_few_at_a_time_until_it_does(queue: Vhost) -> None:
    """Each time it is taken counts against the delivery limit of all that are held."""
    broken = threading.Event()
    broken.set()
    target = Target(lambda body: LOCKED if broken.is_set() else None)
    with pumping(queue, target, hold_seconds=0.3) as pump:
        queue.publish("", "q", bodies(150))

        def nudged(holds: Callable[[], bool]) -> bool:
            pump._wait.nudge.set()  # instead of waiting longer each time
            return holds()

        assert eventually(lambda: nudged(lambda: pump._consumer.prefetch == 11), timeout=30)
        assert eventually(lambda: queue.depth("q") == 139)
        broken.clear()
        assert eventually(lambda: nudged(lambda: len(target.written) == 150), timeout=30)
        assert eventually(lambda: pump._consumer.prefetch == 200)
    assert sorted(target.written, key=int) == bodies(150)
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_never_passes_is_taken_as_before_where_giving_back_counts_no_delivery(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    """So it does from RabbitMQ 4.3 on."""
    broken = threading.Event()
    broken.set()
    counts: Counter[bytes] = Counter()

    class Counting(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            counts.update({delivery.body: handed_out(delivery) - counts[delivery.body] for delivery in deliveries})
            return super().handle(deliveries, valid)

    target = Counting(lambda body: LOCKED if broken.is_set() else None)
    queue.publish("", "q", bodies(400))
    with pumping(queue, target, hold_seconds=0.2, alone=True) as pump:

        def came_back_often() -> bool:
            pump._wait.nudge.set()  # instead of waiting longer each time
            return caplog.text.count("requeued") >= 4

        assert eventually(came_back_often, timeout=30)
        counted, prefetch = pump._consumer.counted, pump._consumer.prefetch
        broken.clear()
        assert eventually(lambda: len(target.written) == 400, timeout=30)
        assert eventually(lambda: pump._consumer.prefetch == 200)
    if counted:
        assert prefetch <= 11
    else:
        assert prefetch == 200
        assert max(counts.values()) <= 1  # of what was in hand before the prefetch was used up
        assert target.written == bodies(400)
    assert sorted(target.written, key=int) == bodies(400)
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_is_not_ours_any_more_is_not_dead_lettered(queue: Vhost) -> None:
    class Late(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            if deliveries[0].redelivered:
                return super().handle(deliveries, valid)
            lose_connection(queue, pump)
            return [Dead(reject("22001", "too long").failure)] * len(deliveries)

    target = Late()
    with pumping(queue, target) as pump:
        queue.publish("", "q", bodies(3))
        assert eventually(lambda: target.written == bodies(3))
        assert pump.counts["dead"] == 0
    assert queue.depth("q") == queue.depth("dead-letter") == 0

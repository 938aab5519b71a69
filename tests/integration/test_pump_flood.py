"""Lanes of one target in a flood: one of them probes at a time, and when its message passes all go on."""

from dataclasses import replace

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline.flood import Brake
from connectorlib.pipeline.pump import Pump
from tests.integration.pumping import PLACE, Target, dead, lose_connection, pumping
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

pytestmark = pytest.mark.usefixtures("quick_probes")
LANES, LIMIT = 4, 12
REFUSED = Failure(Kind.REJECT, "23502", "null in column x", PLACE)


def by_key(delivery: Delivery) -> list[int]:
    """The key is the number in front of a body; each lane has five."""
    delivery.key = delivery.body[:2]
    return [int(delivery.key) % LANES]


def messages(count: int) -> list[bytes]:
    return [b"%02d-%d" % (number % 20, number) for number in range(count)]


class World:
    """Lanes to one target that refuses everything for a while."""

    def __init__(self) -> None:
        brake = Brake(LIMIT)
        self.changed = True
        self.lanes = [Target(lambda body: self.verdict(body), brake) for _ in range(LANES)]

    def verdict(self, body: bytes) -> Failure | None:
        return REFUSED if self.changed else None

    @property
    def written(self) -> int:
        return sum(len(lane.written) for lane in self.lanes)


def attempts(pump: Pump) -> set[int]:
    """Return which attempt the lanes wait for: all for the same, one after each message that was dead-lettered."""
    return {worker.lane.pause.attempt for worker in pump.workers if worker.lane.pause}


def test_a_probe_costs_one_message_and_not_one_of_each_lane(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    queue.publish("", "q", messages(150))
    with pumping(queue, *world.lanes, route=by_key, ordered=True, same_target=True) as pump:
        assert eventually(lambda: all(worker.lane.paused and worker.lane.flooded for worker in pump.workers))
        before = LIMIT - 1
        assert eventually(lambda: pump.counts["dead"] >= before + 3)
        assert eventually(lambda: attempts(pump) == {1 + pump.counts["dead"] - before})
        world.changed = False
        pump._wait.nudge.set()
        pump.wake()
        assert eventually(lambda: pump.counts["done"] + pump.counts["dead"] == 150)
        assert not any(worker.lane.pause for worker in pump.workers)
    letters = dead(queue)
    assert world.written == 150 - len(letters)
    assert len({body[:2] for body, _ in letters[LIMIT - 1 :]}) == len(letters) - LIMIT + 1, "each of another key"
    assert caplog.text.count("PAUSED") == 1
    assert caplog.text.count("RESUMED") == 1


def test_after_a_lost_connection_too_a_probe_costs_one_message(queue: Vhost) -> None:
    world = World()
    queue.publish("", "q", messages(150))
    with pumping(queue, *world.lanes, route=by_key, ordered=True, same_target=True) as pump:
        assert eventually(lambda: all(worker.lane.paused and worker.lane.flooded for worker in pump.workers))
        lose_connection(queue, pump)
        before = pump.counts["dead"]
        assert eventually(lambda: pump.counts["dead"] >= before + 2, 30)
        assert eventually(lambda: attempts(pump) == {1 + pump.counts["dead"] - (LIMIT - 1)})


def test_a_message_that_passes_in_one_lane_frees_the_others(queue: Vhost) -> None:
    world = World()
    with pumping(queue, *world.lanes, route=by_key, ordered=True, same_target=True) as pump:
        queue.publish("", "q", [body for body in messages(150) if body[:2] != b"19"])
        assert eventually(lambda: sum(worker.lane.flooded for worker in pump.workers) >= 2)
        world.changed = False
        queue.publish("", "q", [b"19-1"])
        assert eventually(lambda: pump.counts["done"] + pump.counts["dead"] == 144)
    assert queue.depth("q") == 0


def test_what_waits_while_no_lane_holds_any_is_given_back_too(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(body: bytes) -> Failure:
        target.up = target.calls < 3  # after the message that is lost to the flood no probe is answered any more
        return REFUSED

    target = Target(refuse, Brake(1))
    with pumping(queue, target) as pump:
        (worker,) = pump.workers
        queue.publish("", "q", b"1")
        assert eventually(lambda: pump.counts["dead"] == 1 and worker.lane.paused)
        queue.publish("", "q", b"2")
        assert eventually(lambda: pump._consumer.held == 1)
        assert worker.lane.in_hand == 0
        worker.rules = replace(worker.rules, hold_seconds=0.1)
        assert eventually(lambda: "requeued" in caplog.text)
        assert eventually(lambda: queue.depth("q") == 1)

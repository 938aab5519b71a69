"""How the pump holds what waits for a paused part of the far side, and how it waits at the start."""

import time
from collections.abc import Callable, Sequence

import pytest

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery, Outcome, Wait
from tests.integration.pumping import DOWN, FarSide, bodies, pumping
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


class TwoSides(FarSide):
    """One far side for bodies that are numbers, and another, that may be paused, for the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.other_paused = True

    def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        waits = [self.other_paused and not delivery.body.isdigit() for delivery in deliveries]
        others = [delivery for delivery, waiting in zip(deliveries, waits, strict=True) if not waiting]
        outcomes = iter(super().handle(others, valid))
        return [Wait(DOWN, time.monotonic() + 0.05) if waiting else next(outcomes) for waiting in waits]

    def probe(self) -> None:
        if self.calls and self.other_paused:
            raise Failed(DOWN)


def test_what_waits_for_a_paused_part_is_held_while_others_pass(queue: Vhost) -> None:
    queue.publish("", "q", [b"a", *bodies(150), b"b", *bodies(150, 150)])
    far_side = TwoSides()
    with pumping(queue, far_side):
        assert eventually(lambda: len(far_side.written) == 300)
        assert far_side.written == bodies(300)
        far_side.other_paused = False
        assert eventually(lambda: len(far_side.written) == 302)
    assert far_side.written[300:] == [b"a", b"b"]
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_more_than_half_the_prefetch_waiting_for_a_paused_part_pauses_all(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    queue.publish("", "q", [b"a"] * 120)  # the prefetch is 200
    far_side = TwoSides()
    with pumping(queue, far_side):
        assert eventually(lambda: "PAUSED" in caplog.text)
        queue.publish("", "q", bodies(10))
        far_side.other_paused = False
        assert eventually(lambda: len(far_side.written) == 130)
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_waits_too_long_for_a_paused_part_is_given_back(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    queue.publish("", "q", [b"a", b"1"])
    far_side = TwoSides()
    with pumping(queue, far_side, hold_seconds=0.5):
        assert eventually(lambda: "given back" in caplog.text)
        assert eventually(lambda: queue.depth("q") == 1)
        far_side.other_paused = False
        assert eventually(lambda: far_side.written == [b"1", b"a"], timeout=30)


def test_while_the_far_side_does_not_answer_at_the_start_messages_have_a_queue_to_wait_in(vhost: Vhost) -> None:
    far_side = FarSide()
    far_side.up = False
    with pumping(vhost, far_side) as pump:
        assert eventually(lambda: vhost.exists("q"))
        vhost.publish("", "q", bodies(3))
        assert pump.counts["consumed"] == 0
        far_side.up = True
        assert eventually(lambda: far_side.written == bodies(3), timeout=20)


def test_a_log_in_that_is_not_to_be_tried_again_is_told_so(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(FarSide):
        def probe(self) -> None:
            raise Failed(Failure(Kind.REFUSED, "invalid_grant", "authentication failure", "salesforce"))

    with pumping(queue, Refusing(), retry_refused=False):
        assert eventually(lambda: "PAUSED" in caplog.text)
    assert "next_try=never" in caplog.text

"""How the pump holds what waits for a paused part of the far side, and how it waits at the start."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import LATER, Delivery, Outcome, Wait
from tests.integration.pumping import DOWN, LOCKED, NO_TABLE, STRANGE, FarSide, Verdict, bodies, pumping
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


def test_what_waits_too_long_behind_slow_work_is_given_back_and_fewer_are_taken(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(FarSide):
        def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
            taken.append((deliveries[0].redelivered, pump._consumer.prefetch))
            if not self.calls:
                eventually(lambda: time.monotonic() > deliveries[-1].received + 1.6)
            return super().handle(deliveries, valid)

    far_side = Slow()
    taken: list[tuple[bool, int]] = []
    with pumping(queue, far_side, hold_seconds=1.5) as pump:
        queue.publish("", "q", bodies(600))  # the prefetch is 200, a batch 100
        assert eventually(lambda: len(far_side.written) == 600)
    assert far_side.written == bodies(600)
    assert taken[:2] == [(False, 200), (True, 50)]  # half of the 100 that were done in that time
    assert [prefetch for _, prefetch in taken[2:4]] == [50, 50]
    assert caplog.text.count("given back") == 1
    assert queue.depth("q") == queue.depth("dead-letter") == 0


class Part(FarSide):
    """One of several far sides. Bodies of an unheld one are tried again a moment later."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.pauses: list[Failure] = []

    def hold(self, failure: Failure) -> Wait:
        self.pauses.append(failure)
        return Wait(failure, time.monotonic() + 0.3)


class TwoParts(FarSide):
    """A part for bodies that are numbers, which is well, and one for the rest."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.well, self.other = Part(lambda body: None), Part(verdict)

    def part_of(self, delivery: Delivery) -> Part:
        return self.well if delivery.body.isdigit() else self.other

    def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        found: dict[int, Outcome] = {}
        for part in (self.well, self.other):
            its = [at for at, delivery in enumerate(deliveries) if self.part_of(delivery) is part]
            outcomes = part.handle([deliveries[at] for at in its], valid) if its else []
            found.update(zip(its, outcomes, strict=True))
        return [found[at] for at in range(len(deliveries))]

    def probe(self) -> None:
        raise Failed(DOWN)  # whoever asks all of them hears of a third, which is down


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_what_fails_for_every_message_of_one_part_pauses_that_part_only(
    queue: Vhost, failure: Failure, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True
    far_side = TwoParts(lambda body: failure if broken else None)
    far_side.probe = lambda: None  # type: ignore[method-assign]
    with pumping(queue, far_side, part_of=far_side.part_of):
        queue.publish("", "q", [b"a%d" % n for n in range(20)])
        assert eventually(lambda: far_side.other.pauses)
        del far_side.probe
        queue.publish("", "q", bodies(300))
        assert eventually(lambda: far_side.well.written == bodies(300))
        broken = False
        assert eventually(lambda: len(far_side.other.written) == 20)
    assert "PAUSED" not in caplog.text
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_is_held_comes_again_when_it_is_due_or_somebody_wants_it_tried(queue: Vhost) -> None:
    class Patient(TwoSides):
        asked = 0

        def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
            self.asked += sum(not delivery.body.isdigit() for delivery in deliveries)
            outcomes = super().handle(deliveries, valid)
            return [Wait(DOWN, time.monotonic() + 1000) if isinstance(o, Wait) else o for o in outcomes]

    far_side = Patient()
    with pumping(queue, far_side) as pump:
        for n in range(5):
            queue.publish("", "q", [b"a", *bodies(1, n)])
            assert eventually(partial(lambda count: len(far_side.written) == count, n + 1))
        assert far_side.asked == 5
        far_side.other_paused = False
        pump.nudge()
        assert eventually(lambda: far_side.written[5:] == [b"a"] * 5)


def test_a_part_that_does_not_answer_is_paused_for_that_and_no_message_is_blamed(queue: Vhost) -> None:
    far_side = TwoParts(lambda body: STRANGE)
    far_side.probe = lambda: None  # type: ignore[method-assign]
    far_side.other.up = True
    with pumping(queue, far_side, part_of=far_side.part_of):
        far_side.other.probe = TwoParts.probe.__get__(far_side)  # type: ignore[method-assign]
        queue.publish("", "q", [b"a", b"1"])
        assert eventually(lambda: len(far_side.other.pauses) > 1)
        assert set(far_side.other.pauses) == {DOWN}
        assert far_side.well.written == [b"1"]
    assert queue.depth("dead-letter") == 0


def test_what_passes_in_one_part_proves_nothing_against_messages_of_another(queue: Vhost) -> None:
    """The places have the same names; only the other message of the part is the proof."""
    far_side = TwoParts(lambda body: LOCKED if body == b"a" else None)
    far_side.probe = lambda: None  # type: ignore[method-assign]
    with pumping(queue, far_side, part_of=far_side.part_of):
        queue.publish("", "q", [b"a", *bodies(50)])
        assert eventually(lambda: len(far_side.other.pauses) > 1)
        queue.publish("", "q", bodies(50, 50))
        assert eventually(lambda: len(far_side.well.written) == 100)
        assert queue.depth("dead-letter") == 0
        # Proof is what passes while it is a suspect, not while it is held.
        assert eventually(lambda: queue.publish("", "q", b"b") and queue.depth("dead-letter") == 1, every=0.1)
    assert set(far_side.other.written) == {b"b"}


def test_what_is_put_off_comes_again_in_its_order_before_anything_new(queue: Vhost) -> None:
    class Small(FarSide):
        def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
            now, later = deliveries[:7], deliveries[7:]
            return [*super().handle(now, valid), *[LATER] * len(later)]

    far_side = Small(lambda body: LOCKED if body == b"3" and far_side.calls < 4 else None)
    queue.publish("", "q", bodies(250))
    with pumping(queue, far_side) as pump:
        assert eventually(lambda: len(far_side.written) == 250)
        assert pump.counts["consumed"] == pump.counts["done"] == 250
    assert far_side.written == bodies(250)
    assert far_side.batches.count(1) < 10, "those put off are not tried one by one for the sake of those before them"
    assert queue.depth("q") == queue.depth("dead-letter") == 0


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


def test_a_nudge_ends_every_wait_of_a_pause_in_which_all_was_given_back(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    far_side = FarSide(lambda body: NO_TABLE)
    with pumping(queue, far_side, hold_seconds=0.3) as pump:
        queue.publish("", "q", bodies(20))
        assert eventually(lambda: "given back" in caplog.text, every=0.001)
        pump._pausing._hold_seconds = 1000
        assert eventually(lambda: not pump._consumer.active, every=0.001)
        pump._pausing._nudge.set()
        assert eventually(lambda: pump._consumer.active)


class Bug(FarSide):
    """Its probe has a bug for as long as it is `broken`."""

    broken = False

    def probe(self) -> None:
        if self.broken:
            raise KeyError("oops")
        super().probe()


@pytest.mark.parametrize("when", ["at the start", "in a pause"])
def test_a_bug_in_the_probe_is_told_and_counts_as_no_answer(
    queue: Vhost, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    far_side = Bug()
    far_side.broken = when == "at the start"
    with pumping(queue, far_side):
        if when == "in a pause":
            queue.publish("", "q", bodies(3))
            assert eventually(lambda: far_side.written == bodies(3))
            far_side.up, far_side.broken = False, True
        queue.publish("", "q", bodies(3, 3))
        assert eventually(lambda: "Traceback" in caplog.text)
        far_side.up, far_side.broken = True, False
        assert eventually(lambda: far_side.written[-3:] == bodies(3, 3))
    assert "KeyError: 'oops'" in caplog.text
    assert "RESUMED" in caplog.text


def test_a_bug_in_the_probe_is_blamed_on_no_message(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    far_side = Bug(lambda body: STRANGE if far_side.broken else None)
    with pumping(queue, far_side):
        queue.publish("", "q", bodies(1))
        assert eventually(lambda: far_side.written == bodies(1))
        far_side.broken = True
        queue.publish("", "q", bodies(1, 1))
        assert eventually(lambda: "PAUSED" in caplog.text)
        far_side.broken = False
        assert eventually(lambda: far_side.written == bodies(2))
    assert queue.depth("dead-letter") == 0

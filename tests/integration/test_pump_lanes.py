"""Lanes: what a paused one costs the others, what is held and requeued, and how a flow waits at the start."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from threading import Barrier, BrokenBarrierError, Event

import pytest

from connectorlib.errors import NEVER, Failed, Failure, Kind
from connectorlib.messages import LATER, Delivery, Outcome
from connectorlib.pipeline import blame
from connectorlib.pipeline.blame import probe_delay
from connectorlib.values.backoff import Backoff
from tests.integration.pumping import DOWN, LOCKED, NO_TABLE, STRANGE, Target, bodies, dead, pumping
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


def by_kind(delivery: Delivery) -> Sequence[int]:
    """The first lane gets the bodies that are numbers."""
    return [int(not delivery.body.isdigit())]


def by_letter(delivery: Delivery) -> Sequence[int]:
    """Two lanes; the first character of a body is its key."""
    delivery.key = delivery.body[:1]
    return [delivery.body[0] % 2]


def down() -> Target:
    target = Target()
    target.up = False
    return target


def test_what_waits_for_a_paused_lane_is_held_while_others_pass(queue: Vhost) -> None:
    queue.publish("", "q", [b"a", *bodies(150), b"b", *bodies(150, 150)])
    numbers, letters = Target(), down()
    with pumping(queue, numbers, letters, route=by_kind):
        assert eventually(lambda: numbers.written == bodies(300))
        assert letters.written == []
        letters.up = True
        assert eventually(lambda: letters.written == [b"a", b"b"])
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_messages_are_gathered_only_while_a_lane_works(queue: Vhost, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, waits = Event(), Event(), list[float]()

    def verdict(body: bytes) -> None:
        begun.set()
        go_on.wait(30)

    numbers, letters = Target(verdict), Target()
    with pumping(queue, numbers, letters, route=by_kind, wait_s=0.0) as pump:
        take = pump._consumer.take

        def noted(size: int, wait_s: float, idle_s: float) -> list[Delivery]:
            waits.append(wait_s)
            return take(size, wait_s, idle_s)

        monkeypatch.setattr(pump._consumer, "take", noted)
        queue.publish("", "q", [b"a"])
        assert eventually(lambda: letters.written == [b"a"])
        assert eventually(lambda: waits[-1] == 0)
        queue.publish("", "q", [b"1"])
        assert begun.wait(30)
        assert eventually(lambda: waits[-1] > 0)
        queue.publish("", "q", [b"b"])
        assert eventually(lambda: letters.written == [b"a", b"b"])
        go_on.set()
        assert eventually(lambda: numbers.written == [b"1"])


def test_more_than_half_the_prefetch_waiting_for_a_paused_lane_pauses_all(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    queue.publish("", "q", [b"a"] * 120)  # the prefetch is 200
    numbers, letters = Target(), down()
    with pumping(queue, numbers, letters, route=by_kind):
        assert eventually(lambda: "PAUSED flow=test " in caplog.text)
        queue.publish("", "q", bodies(10))
        letters.up = True
        assert eventually(lambda: len(letters.written) == 120)
        assert eventually(lambda: numbers.written == bodies(10))
        assert eventually(lambda: caplog.text.count("RESUMED") == 2)  # the lane, and the flow
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_waits_for_the_lanes_of_one_target_counts_together(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    queue.publish("", "q", [b"a", b"b"] * 60)  # the prefetch is 200
    numbers, letters = Target(), [down(), down()]

    def route(delivery: Delivery) -> Sequence[int]:
        return [0] if delivery.body.isdigit() else [1 + delivery.body[0] % 2]

    with pumping(queue, numbers, *letters, route=route, names=["letters", "letters"]):
        assert eventually(lambda: "PAUSED flow=test " in caplog.text)
        queue.publish("", "q", bodies(10))
        for target in letters:
            target.up = True
        assert eventually(lambda: sum(len(target.written) for target in letters) == 120)
        assert eventually(lambda: numbers.written == bodies(10))
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_waits_too_long_for_a_paused_lane_is_requeued(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    queue.publish("", "q", [b"a", b"1"])
    numbers, letters = Target(), down()
    with pumping(queue, numbers, letters, route=by_kind, hold_seconds=0.5):
        assert eventually(lambda: "requeued" in caplog.text)
        assert eventually(lambda: queue.depth("q") == 1)
        letters.up = True
        assert eventually(lambda: (numbers.written, letters.written) == ([b"1"], [b"a"]), timeout=30)


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_what_fails_for_every_message_of_one_lane_pauses_that_lane_only(
    queue: Vhost, failure: Failure, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True
    numbers, letters = Target(), Target(lambda body: failure if broken else None)
    with pumping(queue, numbers, letters, route=by_kind):
        queue.publish("", "q", [b"a%d" % n for n in range(20)])
        assert eventually(lambda: "PAUSED flow=target-1" in caplog.text)
        queue.publish("", "q", bodies(300))
        assert eventually(lambda: numbers.written == bodies(300))
        broken = False
        assert eventually(lambda: len(letters.written) == 20)
    assert "PAUSED flow=test" not in caplog.text
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_is_held_is_tried_when_somebody_asks_for_it(queue: Vhost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blame, "REFUSED_PROBES", Backoff(600.0, 600.0))  # which nobody here waits for
    refused = Failure(Kind.REFUSED, "invalid_grant", "authentication failure", "salesforce")

    class Refusing(Target):
        def probe(self) -> None:
            if not self.up:
                raise Failed(refused)

    letters = Refusing()
    letters.up = False
    numbers = Target()
    with pumping(queue, numbers, letters, route=by_kind) as pump:
        queue.publish("", "q", [b"a", *bodies(5), b"b"])
        assert eventually(lambda: numbers.written == bodies(5))
        letters.up = True
        pump._wait.nudge.set()
        pump.wake()
        assert eventually(lambda: letters.written == [b"a", b"b"])


def test_a_lane_whose_target_does_not_answer_is_paused_for_that_and_no_message_is_blamed(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    class Silent(Target):
        def probe(self) -> None:
            if self.calls:
                raise Failed(DOWN)

    numbers, letters = Target(), Silent(lambda body: STRANGE)
    with pumping(queue, numbers, letters, route=by_kind):
        queue.publish("", "q", [b"a", b"1"])
        assert eventually(lambda: "PAUSED flow=target-1 " in caplog.text)
        assert "cause=08001" in caplog.text
        assert eventually(lambda: numbers.written == [b"1"])
    assert queue.depth("dead-letter") == 0


def test_what_passes_in_one_lane_proves_nothing_against_messages_of_another_target(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    """The places have the same names; only the other message of the target is the proof."""
    numbers, letters = Target(), Target(lambda body: LOCKED if body == b"a" else None)
    with pumping(queue, numbers, letters, route=by_kind):
        queue.publish("", "q", [b"a", *bodies(50)])
        assert eventually(lambda: "PAUSED flow=target-1" in caplog.text)
        queue.publish("", "q", bodies(50, 50))
        assert eventually(lambda: len(numbers.written) == 100)
        assert queue.depth("dead-letter") == 0
        assert eventually(lambda: queue.publish("", "q", b"b") and queue.depth("dead-letter") == 1, every=0.1)
    assert set(letters.written) == {b"b"}


def test_what_passes_in_one_lane_is_proof_in_another_of_the_same_target(queue: Vhost) -> None:
    numbers, letters = Target(), Target(lambda body: NO_TABLE)
    with pumping(queue, numbers, letters, route=by_kind, same_target=True):
        queue.publish("", "q", [b"a", *bodies(5000)])
        assert eventually(lambda: queue.depth("dead-letter") == 1)
    assert [body for body, _ in dead(queue)] == [b"a"]


def test_lanes_of_one_target_work_at_the_same_time_and_pause_in_one_line(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            with suppress(BrokenBarrierError):
                met.add(two.wait(0.5))
            return super().handle(deliveries, valid)

    two = Barrier(2)
    met: set[int] = set()
    targets = [Slow() for _ in range(2)]
    queue.publish("", "q", bodies(900))
    with pumping(queue, *targets, same_target=True):
        assert eventually(lambda: sum(len(target.written) for target in targets) == 900)
        for target in targets:
            target.up = False
        queue.publish("", "q", bodies(300, 900))
        assert eventually(lambda: "PAUSED" in caplog.text)
        for target in targets:
            target.up = True
        assert eventually(lambda: sum(len(target.written) for target in targets) == 1200)
        assert eventually(lambda: "RESUMED" in caplog.text)
    assert met == {0, 1}, "two calls were under way at the same time"
    assert sorted(int(body) for target in targets for body in target.written) == list(range(1200))
    assert (caplog.text.count("PAUSED"), caplog.text.count("RESUMED")) == (1, 1)
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_the_messages_of_a_key_keep_their_order_through_retries_while_others_go_on(queue: Vhost) -> None:
    locked = True

    def verdict(body: bytes) -> Failure | None:
        return LOCKED if locked and body.startswith(b"c") else None

    numbers = count()
    published = [b"%c%d" % (letter, next(numbers)) for _ in range(60) for letter in b"abcdef"]
    lanes = [Target(verdict), Target(verdict)]
    queue.publish("", "q", published)
    with pumping(queue, *lanes, route=by_letter, ordered=True, same_target=True, attempts=100):
        others = [body for body in published if not body.startswith(b"c")]
        assert eventually(lambda: sum(len(lane.written) for lane in lanes) == len(others))
        locked = False
        assert eventually(lambda: sum(len(lane.written) for lane in lanes) == len(published))
    for letter in (b"a", b"b", b"c", b"d", b"e", b"f"):
        written = [body for lane in lanes for body in lane.written if body.startswith(letter)]
        assert written == [body for body in published if body.startswith(letter)]
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_a_message_for_no_lane_is_a_dead_letter(queue: Vhost) -> None:
    def nowhere(delivery: Delivery) -> Sequence[int]:
        if delivery.body == b"x":
            raise Failed(Failure(Kind.REJECT, "no-division", "no match fits", "match"))
        return [0]

    target = Target()
    queue.publish("", "q", [b"x", b"1"])
    with pumping(queue, target, route=nowhere):
        assert eventually(lambda: queue.depth("dead-letter") == 1)
        assert eventually(lambda: target.written == [b"1"])
    ((body, headers),) = dead(queue)
    assert (body, headers["dead-code"]) == (b"x", "no-division")


def test_what_waits_too_long_behind_slow_work_is_given_back_and_fewer_are_taken(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            taken.append((deliveries[0].redelivered, pump._consumer.prefetch))
            if not self.calls:
                eventually(lambda: time.monotonic() > deliveries[-1].received + 1.6)
            return super().handle(deliveries, valid)

    target = Slow()
    taken: list[tuple[bool, int]] = []
    with pumping(queue, target, hold_seconds=1.5) as pump:
        queue.publish("", "q", bodies(600))  # the prefetch is 200, a batch 100
        assert eventually(lambda: len(target.written) == 600)
    assert target.written == bodies(600)
    half = target.batches[0] // 2  # of what was done in that time, 100 if so many had come
    assert taken[:2] == [(False, 200), (True, half)]
    assert [prefetch for _, prefetch in taken[2:4]] == [half, half]
    assert caplog.text.count("requeued") == 1
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_what_is_put_off_comes_again_in_its_order_before_anything_new(queue: Vhost) -> None:
    class Small(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            now, later = deliveries[:7], deliveries[7:]
            return [*super().handle(now, valid), *[LATER] * len(later)]

    target = Small(lambda body: LOCKED if body == b"3" and target.calls < 4 else None)
    queue.publish("", "q", bodies(250))
    with pumping(queue, target) as pump:
        assert eventually(lambda: len(target.written) == 250)
        assert pump.counts["consumed"] == pump.counts["done"] == 250
    assert target.written == bodies(250)
    assert target.batches.count(1) < 10, "those put off are not tried one by one for the sake of those before them"
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_while_the_target_does_not_answer_at_the_start_messages_have_a_queue_to_wait_in(vhost: Vhost) -> None:
    target = Target()
    target.up = False
    with pumping(vhost, target) as pump:
        assert eventually(lambda: vhost.exists("q"))
        vhost.publish("", "q", bodies(3))
        assert pump.counts["consumed"] == 0
        target.up = True
        assert eventually(lambda: target.written == bodies(3))


def test_a_log_in_that_is_not_to_be_tried_again_is_told_so(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Target):
        def probe(self) -> None:
            raise Failed(Failure(Kind.REFUSED, "invalid_grant", "authentication failure", retry_after=NEVER))

    with pumping(queue, Refusing()):
        assert eventually(lambda: "PAUSED" in caplog.text)
    assert "next_try=never" in caplog.text


def test_a_nudge_ends_every_wait_of_a_pause_in_which_all_was_given_back(
    queue: Vhost, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectorlib.pipeline.blame.PROBES", Backoff(600.0, 600.0, jitter=0.0))
    target = Target(lambda body: NO_TABLE)
    with pumping(queue, target, hold_seconds=1.5) as pump:
        queue.publish("", "q", bodies(20))
        assert eventually(lambda: "requeued" in caplog.text, every=0.001)
        assert eventually(lambda: not pump._consumer.active, every=0.001)
        pump._wait.nudge.set()
        pump.wake()
        assert eventually(lambda: pump._consumer.active, every=0.001)


class Bug(Target):
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
    target = Bug()
    target.broken = when == "at the start"
    with pumping(queue, target):
        if when == "in a pause":
            queue.publish("", "q", bodies(3))
            assert eventually(lambda: target.written == bodies(3))
            target.up, target.broken = False, True
        queue.publish("", "q", bodies(3, 3))
        assert eventually(lambda: "Traceback" in caplog.text)
        target.up, target.broken = True, False
        assert eventually(lambda: target.written[-3:] == bodies(3, 3))
    assert "KeyError: 'oops'" in caplog.text
    assert "RESUMED" in caplog.text


def test_a_bug_in_the_probe_is_blamed_on_no_message(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    target = Bug(lambda body: STRANGE if target.broken else None)
    with pumping(queue, target):
        queue.publish("", "q", bodies(1))
        assert eventually(lambda: target.written == bodies(1))
        target.broken = True
        queue.publish("", "q", bodies(1, 1))
        assert eventually(lambda: "PAUSED" in caplog.text)
        target.broken = False
        assert eventually(lambda: target.written == bodies(2))
    assert queue.depth("dead-letter") == 0


def test_a_target_that_does_not_answer_is_asked_by_one_of_its_lanes_at_a_time(queue: Vhost) -> None:
    class Slow(Target):
        def probe(self) -> None:
            probes.append(time.monotonic())
            never.wait(0.5)  # meanwhile the other lanes would be due too
            super().probe()

    never = Event()
    probes: list[float] = []
    targets = [Slow() for _ in range(8)]
    queue.publish("", "q", bodies(200))
    with pumping(queue, *targets, route=lambda delivery: [int(delivery.body) % 8], same_target=True):
        assert eventually(lambda: sum(len(target.written) for target in targets) == 200)
        for target in targets:
            target.up = False
        queue.publish("", "q", bodies(80, 200))
        assert eventually(lambda: all(target.batches and target.calls > 1 for target in targets))
        probes.clear()
        assert eventually(lambda: len(probes) >= 2, 30)
        first, second = probes
        for target in targets:
            target.up = True
        assert eventually(lambda: sum(len(target.written) for target in targets) == 280, 30)
    assert second - first >= probe_delay(1, Kind.UNAVAILABLE, 0.0)
    assert queue.depth("q") == queue.depth("dead-letter") == 0


def test_without_a_key_a_message_is_for_the_emptiest_lane_of_those_that_may_have_it(queue: Vhost) -> None:
    held = Event()

    class Holding(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            held.wait(30)
            return super().handle(deliveries, valid)

    class Busy(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            Event().wait(0.05)  # so that not everything that comes finds it free
            return super().handle(deliveries, valid)

    slow, quick, other = Holding(), Busy(), Target()
    queue.publish("", "q", bodies(1500))

    def route(delivery: Delivery) -> Sequence[int]:
        return [2] if delivery.body == b"7" else range(2)

    with pumping(queue, slow, quick, other, route=route, same_target=True):
        assert eventually(lambda: len(quick.written) > 1200)
        assert slow.written == []
        held.set()
        assert eventually(lambda: len(slow.written) + len(quick.written) == 1499)
    assert other.written == [b"7"]
    assert queue.depth("q") == queue.depth("dead-letter") == 0

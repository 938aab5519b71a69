"""The pump on a real broker. The handler is the test's own: it plays the target, good days and bad."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from connectorlib.errors import Failure, reject
from connectorlib.messages import Delivery, Outcome
from connectorlib.pipeline.admission import Admission, with_admission
from connectorlib.pipeline.body_sizes import FIRST
from connectorlib.shared_settings import Conditions, Limits
from tests.integration.pumping import LOCKED, NO_TABLE, STRANGE, Target, bodies, dead, pumping
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


def test_everything_is_written_in_order_and_acknowledged(queue: Vhost) -> None:
    queue.publish("", "q", bodies(1000))
    target = Target()
    with pumping(queue, target):
        assert eventually(lambda: len(target.written) == 1000)
    assert target.written == bodies(1000)
    assert queue.depth("q") == 0
    assert queue.depth("dead-letter") == 0


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_queue_is_made_while_the_target_is_asked_for_the_first_time(vhost: Vhost, lanes: int) -> None:
    """Nothing is taken from it before the target has answered."""
    answered = threading.Event()
    seen: list[bool] = []

    class Asked(Target):
        def probe(self) -> None:
            seen.append(eventually(lambda: vhost.exists("q")))
            vhost.publish("", "q", bodies(3))
            answered.set()

        def handle(self, *given: Any, **more: Any) -> list[Outcome]:
            assert answered.is_set()
            return super().handle(*given, **more)

    targets = [Asked(), *(Target() for _ in range(lanes - 1))]
    with pumping(vhost, *targets):
        assert eventually(lambda: sum(len(target.written) for target in targets) == 3)
    assert seen == [True]


def test_what_comes_while_a_batch_is_written_is_the_next_batch(queue: Vhost) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def verdict(body: bytes) -> None:
        if body == b"first":
            begun.set()
            go_on.wait(30)

    target = Target(verdict)
    with pumping(queue, target, wait_s=0.0) as pump:
        queue.publish("", "q", [b"first"])
        assert begun.wait(30)
        queue.publish("", "q", [b"%d" % number for number in range(50)])
        eventually(lambda: pump._consumer.waiting == 50)
        go_on.set()
        eventually(lambda: len(target.written) == 51)
    assert target.batches == [1, 50]


def test_only_the_first_batch_is_smaller_because_the_sizes_of_bodies_are_not_known_yet(queue: Vhost) -> None:
    queue.publish("", "q", bodies(FIRST + 300))
    target = Target()
    with pumping(queue, target, alone=True, wait_s=30.0):
        assert eventually(lambda: len(target.written) == FIRST + 300)
    assert target.batches == [FIRST, 100, 100, 100]


def test_a_reject_is_dead_lettered_alone_and_acknowledged_after_its_confirm(queue: Vhost) -> None:
    queue.publish("", "q", bodies(100))
    no = reject("22001", "too long", place="write[0]").failure
    target = Target(lambda body: no if body == b"7" else None)
    with pumping(queue, target):
        assert eventually(lambda: queue.depth("dead-letter") == 1)
    assert target.written == [body for body in bodies(100) if body != b"7"]
    assert queue.depth("q") == 0
    ((body, headers),) = dead(queue)
    assert (body, headers["dead-reason"], headers["dead-code"]) == (b"7", "reject", "22001")


def test_who_is_told_of_the_dead_and_fails_keeps_no_message_from_its_grave(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    no = reject("22001", "too long", place="write[0]").failure
    target = Target(lambda body: no if body == b"7" else None)
    with pumping(queue, target) as pump:
        pump._dead_letters.on_dead = lambda delivery, verdict: 1 / 0
        queue.publish("", "q", bodies(100))
        assert eventually(lambda: queue.depth("dead-letter") == 1)
        assert eventually(lambda: len(target.written) == 99)
    assert queue.depth("q") == 0
    assert "was not reported" in caplog.text


def test_an_outage_dead_letters_nothing_and_ends_by_itself(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    queue.publish("", "q", bodies(300))
    target = Target()
    with pumping(queue, target) as pump:
        assert eventually(lambda: len(target.written) == 300)
        target.up = False
        queue.publish("", "q", bodies(300, 300))
        assert eventually(lambda: "PAUSED" in caplog.text)
        target.up = True
        assert eventually(lambda: len(target.written) == 600)
        assert pump.counts["dead"] == 0
    assert target.written == bodies(600)
    assert "RESUMED" in caplog.text
    assert caplog.text.count("PAUSED") == 1


def test_after_a_pause_one_message_is_tried_before_the_others(queue: Vhost) -> None:
    target = Target()
    target.up = False
    with pumping(queue, target):
        queue.publish("", "q", bodies(100))
        target.up = True
        assert eventually(lambda: len(target.written) == 100)
    assert target.batches[0] == 1


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_a_message_that_alone_fails_while_others_pass_is_dead_lettered(queue: Vhost, failure: Failure) -> None:
    queue.publish("", "q", bodies(50))
    target = Target(lambda body: failure if body == b"20" else None)
    with pumping(queue, target):
        assert eventually(lambda: queue.depth("dead-letter") == 1)
        assert eventually(lambda: len(target.written) == 49)
    ((body, headers),) = dead(queue)
    assert body == b"20"
    assert headers["dead-code"] == failure.code


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_what_fails_for_every_message_dead_letters_nothing(
    queue: Vhost, failure: Failure, caplog: pytest.LogCaptureFixture
) -> None:
    queue.publish("", "q", bodies(50))
    broken = threading.Event()
    broken.set()
    target = Target(lambda body: failure if broken.is_set() else None)
    with pumping(queue, target) as pump:
        assert eventually(lambda: "PAUSED" in caplog.text)
        calls = target.calls
        assert eventually(lambda: target.calls > calls + 1, timeout=30)  # it goes on trying
        assert queue.depth("dead-letter") == 0
        broken.clear()
        pump._wait.nudge.set()  # the next probe would be some seconds away
        pump.wake()
        assert eventually(lambda: len(target.written) == 50, timeout=30)
    assert queue.depth("dead-letter") == 0


def test_unknown_failures_one_by_one_stop_at_the_breaker(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    target = Target(lambda body: STRANGE)
    with pumping(queue, target, breaker=3):
        for n in range(6):
            queue.publish("", "q", bodies(1, n))
            assert eventually(
                partial(lambda expected: queue.depth("dead-letter") == expected or "PAUSED" in caplog.text, n + 1)
            )
        assert queue.depth("dead-letter") == 2
    assert eventually(lambda: queue.depth("q") == 4)


def test_a_bug_of_ours_blames_only_the_message_that_brings_it_out(queue: Vhost) -> None:
    class Buggy(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            if any(delivery.body == b"5" for delivery in deliveries):
                raise KeyError("oops")
            return super().handle(deliveries, valid)

    queue.publish("", "q", bodies(20))
    target = Buggy()
    with pumping(queue, target):
        assert eventually(lambda: queue.depth("dead-letter") == 1)
        assert eventually(lambda: len(target.written) == 19)
    ((body, headers),) = dead(queue)
    assert (body, headers["dead-reason"]) == (b"5", "bug")


def test_what_is_held_too_long_is_given_back(queue: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    queue.publish("", "q", bodies(150))
    target = Target()
    with pumping(queue, target, hold_seconds=0.5):
        assert eventually(lambda: len(target.written) == 150)
        target.up = False
        queue.publish("", "q", bodies(150, 150))
        assert eventually(lambda: "requeued" in caplog.text)
        assert eventually(lambda: queue.depth("q") == 150)
        target.up = True
        assert eventually(lambda: len(target.written) == 300, timeout=30)
    assert target.written == bodies(300)
    assert queue.depth("dead-letter") == 0


def test_a_dead_letter_queue_that_is_gone_is_made_again(queue: Vhost) -> None:
    no = reject("22001", "too long", place="write[0]").failure
    target = Target(lambda body: no if body == b"3" else None)
    with pumping(queue, target):
        queue.publish("", "q", bodies(1))
        assert eventually(lambda: target.written == bodies(1))
        with queue.channel() as channel:
            channel.queue_delete("dead-letter")
            channel.exchange_delete("dead-letter")
        queue.publish("", "q", bodies(9, 1))
        assert eventually(lambda: queue.exists("dead-letter") and queue.depth("dead-letter") == 1)
    assert queue.depth("q") == 0


def test_a_stop_in_the_middle_settles_what_is_done_and_gives_back_the_rest(queue: Vhost) -> None:
    queue.publish("", "q", bodies(2000))
    target = Target(lambda body: time.sleep(0.001))
    with pumping(queue, target):
        assert eventually(lambda: len(target.written) >= 100)
    assert eventually(lambda: queue.depth("q") == 2000 - len(target.written))
    rest = [body for _, _, body in queue.get_all("q")]
    assert target.written + rest == bodies(2000)


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE])
def test_one_that_came_alone_and_never_passes_does_not_stop_the_others(queue: Vhost, failure: Failure) -> None:
    target = Target(lambda body: failure if body == b"bad" else None)
    with pumping(queue, target) as pump:
        queue.publish("", "q", [b"bad"])
        assert eventually(lambda: pump.counts["consumed"] == 1)
        assert eventually(lambda: target.calls >= 2)
        queue.publish("", "q", bodies(100))
        assert eventually(lambda: len(target.written) == 100)
        assert eventually(lambda: queue.depth("dead-letter") == 1)
    ((body, _),) = dead(queue)
    assert body == b"bad"


#: What a consumer may hold: one message, or one body, so that what comes beside it is not read.
ONE_AT_A_TIME: dict[str, dict[str, Any]] = {
    "prefetch": {"prefetch": 1},
    "size": {"prefetch_bytes": 5_000, "body_bytes": 10_000},
    "size, once it has come": {"prefetch_bytes": 5_000},
}


@pytest.mark.parametrize(
    ("failure", "held", "stand_by"),
    [
        (LOCKED, "prefetch", False),
        (STRANGE, "prefetch", True),
        (NO_TABLE, "prefetch", False),
        (LOCKED, "size", True),
        (STRANGE, "size", False),
        (STRANGE, "size, once it has come", True),
        (LOCKED, "size, once it has come", False),
    ],
)
def test_what_fails_where_one_message_is_held_at_a_time_is_blamed_after_another_has_passed(
    queue: Vhost, failure: Failure, held: str, stand_by: bool
) -> None:
    tried: list[str] = []

    def verdict(body: bytes) -> Failure | None:
        tried.append(body[:1].decode())
        return failure if body[:1] == b"b" else None

    good = [b"g%d" % number + b"." * 4_000 for number in range(10)]
    queue.publish("", "q", [*good[:4], b"b" + b"." * 4_000, *good[4:8]])
    with pumping(queue, Target(verdict), alone=not stand_by, **ONE_AT_A_TIME[held]) as pump:
        assert eventually(lambda: pump.counts["done"] == 8)
        queue.publish("", "q", good[8:])  # it may have come back behind the others
        assert eventually(lambda: pump.counts["dead"] == 1 and pump.counts["done"] == 10)
        assert pump.workers[0].lane.pause is None
    assert "g" in "".join(tried).strip("g"), "blamed without proof"
    assert [body[:1] for body, _ in dead(queue)] == [b"b"]
    assert queue.depth("q") == 0


def test_bugs_among_good_messages_are_blamed_however_many_there_are(queue: Vhost) -> None:
    class Buggy(Target):
        def handle(
            self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
        ) -> list[Outcome]:
            if any(delivery.body.startswith(b"bug") for delivery in deliveries):
                raise KeyError("oops")
            return super().handle(deliveries, valid)

    mixed = [b"bug%d" % n if n % 5 == 0 else b"%d" % n for n in range(60)]
    queue.publish("", "q", mixed)
    target = Buggy()
    with pumping(queue, target):
        assert eventually(lambda: len(target.written) == 48)
        assert eventually(lambda: queue.depth("dead-letter") == 12)


@pytest.mark.parametrize(
    "headers",
    [
        {b"caf\xe9": 1},
        {"table": {b"\xe9" * 200: 1}},
        {"dead-exchange": "x" * 70_000, "dead-replays": 1},
        {"dead-routing-key": "y" * 300},
        {"deep": {"a": {"b": {"c": [1, {"d": 2}]}}}},
    ],
    ids=["bytes name", "long bytes name in a table", "long origin", "long routing key", "deep"],
)
def test_a_dead_letter_with_odd_headers_arrives_and_stops_nothing(queue: Vhost, headers: dict[Any, Any]) -> None:
    no = reject("22001", "too long", place="write[0]").failure
    target = Target(lambda body: no if body == b"bad" else None)
    with pumping(queue, target):
        queue.publish("", "q", [b"bad"], headers=headers)
        queue.publish("", "q", bodies(5))
        assert eventually(lambda: len(target.written) == 5)
        assert eventually(lambda: queue.depth("dead-letter") == 1)
    ((body, found),) = dead(queue)
    assert (body, found["dead-code"]) == (b"bad", "22001")


def test_what_waits_for_a_full_dead_letter_queue_is_given_back_too(
    queue: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    with queue.channel() as channel:
        channel.queue_delete("dead-letter")
    # A classic queue: a quorum queue notices that it is full only after some more messages.
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue.declare_queue("dead-letter", "dead-letter", type="classic", arguments=full)
    no = reject("22001", "too long", place="write[0]").failure
    with pumping(queue, Target(lambda body: no), hold_seconds=0.5):
        queue.publish("", "q", bodies(30))
        assert eventually(lambda: "requeued" in caplog.text, timeout=30)
        assert eventually(lambda: queue.depth("q") > 0)
        before = dead(queue)
        with queue.channel() as channel:
            channel.queue_delete("dead-letter")  # the connector makes it again, without the limit
        assert eventually(lambda: queue.exists("dead-letter") and queue.depth("dead-letter") >= 29, timeout=60)
        assert eventually(lambda: queue.depth("q") == 0, timeout=60)
    assert {body for body, _ in before + dead(queue)} == set(bodies(30))


def test_what_is_left_out_is_acknowledged_and_counted_and_never_reaches_the_target(queue: Vhost) -> None:
    admission = Admission(Conditions({"n": {"gt": 4}}, {"n": [7]}), {"type": "json"}, Limits())
    queue.publish("", "q", [*(b'{"n": %d}' % n for n in range(10)), b"[]", b"no json"])
    target = Target()
    with pumping(queue, target, route=with_admission(admission, None, 1)) as pump:
        assert eventually(
            lambda: sum(pump.counts[key] for key in ("done", "accept_when", "ignore_when", "empty")) == 12
        )
        left_out = {"accept_when": 5, "ignore_when": 1, "empty": 1}
        assert dict(pump.counts) == {"consumed": 12, "done": 5, "already": 0} | left_out
    assert target.written == [b'{"n": 5}', b'{"n": 6}', b'{"n": 8}', b'{"n": 9}', b"no json"]
    assert queue.depth("q") == 0

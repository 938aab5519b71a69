"""A sink that sends one message at a time: the outcomes of a batch, and what the status and the watchdog see."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed, Failure, Kind, Stale, reject, unavailable
from connectorlib.messages import DONE, Again, Dead, Delivery
from connectorlib.pipeline.blame import ALL
from connectorlib.pipeline.flood import Brake
from connectorlib.pipeline.message_sink import MessageSink

NO = reject("422", "no")
DOWN = unavailable("503", "maintenance")
LOCKED = Failed(Failure(Kind.RETRY, "409", "locked"))


class Listed(MessageSink):
    """Raises what is listed for a body."""

    target = "server"

    def __init__(self, **raised: Exception) -> None:
        super().__init__()
        self.raised = raised
        self.sent: list[str] = []

    def ping(self) -> None:
        if "ping" in self.raised:
            raise self.raised["ping"]

    def send(self, delivery: Delivery) -> None:
        body = delivery.body.decode()
        if body in self.raised:
            raise self.raised[body]
        self.sent.append(body)


def batch(bodies: str) -> list[Delivery]:
    return [
        Delivery(tag, 1, "q", "", "", False, BasicProperties(), body.encode(), 0.0) for tag, body in enumerate(bodies)
    ]


@pytest.mark.parametrize(
    ("raised", "outcomes", "sent"),
    [
        ({}, [DONE] * 4, "abcd"),
        ({"b": NO}, [DONE, Dead(NO.failure), DONE, DONE], "acd"),
        ({"b": DOWN}, [DONE, *[Again(DOWN.failure)] * 3], "a"),
        ({"a": NO, "c": LOCKED}, [Dead(NO.failure), DONE, *[Again(LOCKED.failure)] * 2], "b"),
    ],
)
def test_a_rejected_message_stops_no_other_and_any_other_failure_stops_the_batch(raised, outcomes, sent):
    sink = Listed(**raised)
    assert sink.handle(batch("abcd"), lambda: True) == outcomes
    assert "".join(sink.sent) == sent
    assert sink.passed[ALL] == len(sent)


@pytest.mark.parametrize(
    ("bodies", "dead", "untried"),
    [
        ("xxxxxx", 2, 4),  # the third refusal begins a flood
        ("xxaxxa", 4, 0),  # one that passes ends the count
        ("yyyyya", 5, 0),  # a message that is bad by itself does not count
    ],
)
def test_when_the_target_refuses_all_the_rest_is_not_tried(bodies: str, dead: int, untried: int) -> None:
    sink = Listed(x=reject("422", "no", by_target=True), y=NO)
    sink.brake = Brake(3)
    outcomes = sink.handle(batch(bodies), lambda: True)
    assert sum(isinstance(each, Dead) for each in outcomes) == dead
    flooded = [each.failure for each in outcomes if isinstance(each, Again)]
    assert flooded == [Failure(Kind.FLOOD, "422", "no", by_target=True, same=3)] * untried


def test_a_bug_is_a_failure_of_its_message_and_those_before_it_are_done():
    first, second = Listed(b=ZeroDivisionError("x")).handle(batch("ab"), lambda: True)
    assert first is DONE
    assert isinstance(second, Again)
    assert (second.failure.kind, second.failure.code) == (Kind.UNKNOWN, "bug")


def test_nothing_is_sent_of_a_batch_that_belongs_to_a_lost_channel():
    sink = Listed()
    with pytest.raises(Stale):
        sink.handle(batch("a"), lambda: False)
    assert sink.sent == []


def test_the_connection_lasts_from_the_first_answer_to_the_next_outage():
    sink = Listed(a=NO, b=DOWN)
    seen: list[tuple[bool, int]] = []
    batches = [partial(sink.handle, batch(body), lambda: True) for body in "cab"]
    steps: list[Callable[[], object]] = [lambda: None, sink.probe, *batches, sink.probe]
    for step in steps:
        step()
        seen.append((sink.connected_since is not None, sink.opened))
    assert seen == [(False, 0), (True, 1), (True, 1), (True, 1), (False, 1), (True, 2)]


def test_a_call_that_hangs_is_reported_while_it_hangs(monkeypatch):
    now = 0.0
    monkeypatch.setattr("connectorlib.pipeline.message_sink.time.monotonic", lambda: now)

    class Hanging(Listed):
        def send(self, delivery: Delivery) -> None:
            nonlocal now
            now += self.deadline_s
            assert self.stuck() is None
            now += 1
            reports.append(self.stuck())

    reports: list[Any] = []
    sink = Hanging()
    sink.handle(batch("a"), lambda: True)
    assert reports == ["a call has been running for 121 s"]
    assert sink.stuck() is None


def test_a_hint_names_the_target():
    assert Listed().hint(DOWN.failure).startswith("start the server or")

"""The journal of a batch: what is written, and what is found in it."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from connectorlib.amqp.frame_reader import LazyDelivery
from connectorlib.amqp.frame_writer import encode_properties
from connectorlib.errors import Failure, Kind
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Outgoing
from connectorlib.monitoring import delivery_journal
from connectorlib.monitoring.delivery_journal import JournalWriter, encoded, steps
from connectorlib.shared_settings import BrokerSettings, Journal

ABOUT = {"connector": "dbconnector", "name": "readings"}
LOCKED = Failure(Kind.RETRY, "55P03", "lock timeout", "write[0]")
LONG = Failure(Kind.REJECT, "22001", "value too long", "write[0]", "device")


def delivery(message_id=None, *, redelivered=False, key="reading.p-7", **properties):
    own = {name: value for name, value in {"message_id": message_id, **properties}.items() if value is not None}
    frame = b"".join(encode_properties(Outgoing("", "", b"", own)).encode())
    return LazyDelivery(1, 1, "readings", "devices", key, redelivered, frame, b"{}", 0.0)


def found(pairs, message_id):
    body = encoded(ABOUT, [each for each, _ in pairs], [outcome for _, outcome in pairs], 1_700_000_000.5)
    return [(step.outcome, step.code, step.place, step.text, step.redelivered) for step in steps(body, message_id)]


OUTCOMES = {
    "written": (DONE, ("done", "", "", "")),
    "there already": (ALREADY, ("already", "", "", "")),
    "retried": (Again(LOCKED), ("again", "55P03", "write[0]", "lock timeout")),
    "dead-lettered": (Dead(LONG), ("dead", "22001", "device", "value too long")),
}


@pytest.mark.parametrize("redelivered", [False, True])
@pytest.mark.parametrize(("outcome", "expected"), OUTCOMES.values(), ids=OUTCOMES)
def test_what_became_of_a_message_is_found_by_its_id_alone(outcome, expected, redelivered):
    pairs = [(delivery("m-1"), DONE), (delivery("m-2", redelivered=redelivered), outcome), (delivery(), DONE)]
    assert found(pairs, "m-2") == [(*expected, redelivered)]


def test_what_is_put_off_is_no_step_and_ids_that_contain_another_are_others():
    pairs = [(delivery("m-1"), LATER), (delivery("m-11"), DONE), (delivery("x", correlation_id="m-1"), DONE)]
    assert found(pairs, "m-1") == []


def test_a_step_tells_where_and_when_with_the_headers():
    body = encoded(ABOUT, [delivery("m-1", headers={"dead-replays": 2}, key="a.b")], [DONE], 1_700_000_000.5)
    (step,) = steps(body, "m-1")
    assert (step.connector, step.name, step.queue, step.routing_key) == ("dbconnector", "readings", "readings", "a.b")
    assert step.at.isoformat() == "2023-11-14T22:13:20.500000+00:00"
    assert step.properties.headers == {"dead-replays": 2}


def test_properties_that_are_too_long_are_left_out_but_for_the_id():
    huge = delivery("m-1", headers={"x": "y" * delivery_journal.LONGEST})
    body = encoded(ABOUT, [huge, delivery("m-2")], [DONE, DONE], 0.0)
    assert len(body) < 1000
    assert [[step.properties.message_id for step in steps(body, each)] for each in ("m-1", "m-2")] == [["m-1"], ["m-2"]]


def test_what_is_no_journal_is_told():
    with pytest.raises(ValueError, match="Expecting value"):
        list(steps(b"x m-1", "m-1"))


def test_a_message_costs_a_fraction_of_decoding_its_properties():
    many = [delivery(f"m-{number}", headers={"site": "plant-7"}, timestamp=1_700_000_000) for number in range(500)]
    outcomes = [DONE] * 500

    def cost(work):
        best = float("inf")
        for _ in range(20):
            start = time.process_time_ns()
            work()
            best = min(best, time.process_time_ns() - start)
        return best

    written = cost(lambda: encoded(ABOUT, many, outcomes, 0.0))
    from connectorlib.amqp.frame_reader import decode_properties, raw_properties

    decoded = cost(lambda: [decode_properties(raw_properties(each)) for each in many])
    assert written < decoded / 3
    print(f"{written / 500 / 1000:.2f} µs written, {decoded / 500 / 1000:.2f} µs decoded")


class SlowPublisher:
    """Takes what it is given, and confirms nothing."""

    def __init__(self):
        self.taken = []

    def submit(self, messages, on_done):
        self.taken.append((messages, on_done))


def test_what_is_not_confirmed_takes_a_bounded_number_of_bytes_and_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(delivery_journal, "MOST_UNCONFIRMED", 1000)
    publisher = SlowPublisher()
    broker: Any = SimpleNamespace(publisher=publisher, connected=True)
    writer = JournalWriter(Journal(), "dbconnector", "readings", broker, BrokerSettings())
    writer._made = True
    for number in range(100):
        writer.batch([delivery(f"m-{number}")], [DONE], 0.1)
    sizes = [len(messages[0].body) for messages, _ in publisher.taken]
    assert sum(sizes[:-1]) < 1000 <= sum(sizes)
    assert caplog.text.count("journal incomplete") == 1
    for messages, on_done in publisher.taken[:]:
        on_done(SimpleNamespace(messages=messages, results=[None]))
    writer.batch([delivery("m-1")], [DONE], 0.1)
    assert len(publisher.taken) == len(sizes) + 1

"""What `trace` reads: the stream of the journal up to now, and nothing else."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from connectorlib.amqp import Broker
from connectorlib.amqp.frame_reader import LazyDelivery
from connectorlib.amqp.frame_writer import encode_properties
from connectorlib.errors import Failed
from connectorlib.messages import DONE, Outgoing
from connectorlib.monitoring.delivery_journal import encoded
from deadletterqueue import trace
from deadletterqueue.session import Session
from tests.services.rabbitmq import Vhost

STREAM = "connector-journal"


@pytest.fixture
def session(vhost: Vhost) -> Iterator[Session]:
    settings = vhost.broker_settings()
    with Broker(settings, name="reading") as broker:
        broker.wait_connected(10)
        yield cast(Session, SimpleNamespace(broker=broker, settings=settings, stop=threading.Event()))


@pytest.fixture
def journal(vhost: Vhost) -> Vhost:
    vhost.declare_queue(STREAM, type="stream")
    return vhost


def batch(message_id: str, at: float) -> bytes:
    frame = b"".join(encode_properties(Outgoing("", "", b"", {"message_id": message_id})).encode())
    delivery = LazyDelivery(1, 1, "readings", "", "readings", False, frame, b"{}", 0.0)
    return encoded({"connector": "dbconnector", "name": "plant"}, [delivery], [DONE], at)


def times(session: Session, message_id: str = "m-1") -> list[float]:
    return [step.at.timestamp() for step in trace.read(session, STREAM, message_id)]


def test_all_that_was_written_before_is_read_in_order_of_time_and_what_is_no_journal_is_left_out(
    session: Session, journal: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    assert times(session) == []
    bodies = [batch("m-1" if at % 10 == 0 else "other", 1000.0 - at) for at in range(500)]
    journal.publish("", STREAM, [*bodies, b"m-1 says hello", b'{"m-1": 1}\n', *bodies[:1]])
    assert times(session) == [510.0 + 10 * at for at in range(50)] + [1000.0]
    assert caplog.text.count("is not of a journal") == 2


def test_large_batches_that_do_not_fit_into_memory_together_are_read_in_turn(
    session: Session, journal: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "PREFETCH_BYTES", 40_000)
    journal.publish("", STREAM, [batch("m-1", float(at)) + b" " * 10_000 for at in range(40)])
    assert times(session) == [float(at) for at in range(40)]


def test_a_journal_that_is_being_written_has_an_end(session: Session, journal: Vhost) -> None:
    ended = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not ended.is_set():
            written += journal.publish("", STREAM, [batch("m-1", float(written))])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found: list[Any] = []
        reader = threading.Thread(target=lambda: found.extend(times(session)), daemon=True)
        reader.start()
        reader.join(60)
        assert not reader.is_alive()
    finally:
        ended.set()
        writer.join()


def test_a_stop_ends_the_reading(session: Session, journal: Vhost) -> None:
    journal.publish("", STREAM, [batch("m-1", 1.0)] * 300)
    with pytest.raises(KeyboardInterrupt):
        trace.read(session, STREAM, "m-1", lambda done, total: session.stop.set())


def test_a_queue_keeps_its_messages_and_a_missing_journal_is_said(session: Session, vhost: Vhost) -> None:
    with pytest.raises(Failed, match=r"there is no journal 'connector-journal' .* section `journal`"):
        times(session)
    vhost.declare_queue(STREAM, type="classic")
    vhost.publish("", STREAM, [batch("m-1", 1.0)] * 5)
    with pytest.raises(Failed, match="is a queue, not the stream of a journal"):
        times(session)
    assert len(vhost.get_all(STREAM)) == 5

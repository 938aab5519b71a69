"""What OpenTelemetry is told of a batch, and that nothing of it is loaded where nobody asked."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pika import BasicProperties

from connectorlib.config import review
from connectorlib.errors import ConfigurationError, Failure, Kind
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Delivery
from connectorlib.monitoring import tracing
from connectorlib.shared_settings import Tracing
from dbconnector import config

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
BAD = Failure(Kind.REJECT, "22001", "value too long: 'what nobody shall see'")
CONFIGURATION = """{
  "database": {"connection": {"Driver": "SQLite3"}, "write": [{"statement": "INSERT INTO t (a) VALUES (:a)"}]},
  "broker": {"source": {"queue": "readings"}},
  "tracing": {"headers": {"authorization": "Bearer ${TOKEN}"}}
}"""


def delivery(message_id: str | None = None, **headers: object) -> Delivery:
    properties = BasicProperties(message_id=message_id, headers=headers or None)
    return Delivery(1, 1, "readings", "devices", "reading.p7", False, properties, b"secret", 0.0)


@pytest.fixture
def told():
    """Return the spans of one batch of pairs: a message, and what became of it. The one of the batch is the last."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    traces = tracing._Traces(provider.get_tracer("test"))

    def told(*pairs):
        traces.batch([message for message, _ in pairs], [outcome for _, outcome in pairs], 0.25)
        return memory.get_finished_spans()

    yield told
    provider.shutdown()


def test_a_span_goes_on_with_the_trace_of_its_message_and_is_linked_with_that_of_the_batch(told):
    own, batch = told((delivery("m-1", traceparent=PARENT), DONE), (delivery("m-2"), DONE))
    assert f"{own.context.trace_id:032x}" == TRACE
    assert f"{own.parent.span_id:016x}" == SPAN
    assert batch.parent is None
    assert [link.context.span_id for link in own.links] == [batch.context.span_id]
    assert [f"{link.context.span_id:016x}" for link in batch.links] == [SPAN]
    assert own.name == batch.name == "process readings"
    assert batch.attributes["messaging.batch.message_count"] == 2
    assert own.attributes["messaging.message.id"] == "m-1"
    assert own.attributes["messaging.rabbitmq.destination.routing_key"] == "reading.p7"
    assert (own.end_time - own.start_time, own.start_time) == (250_000_000, batch.start_time)


@pytest.mark.parametrize(
    ("outcome", "word", "status"),
    [
        (DONE, "done", StatusCode.UNSET),
        (ALREADY, "already there", StatusCode.UNSET),
        (Dead(BAD), "dead-lettered", StatusCode.ERROR),
        (Again(BAD), "tried again", StatusCode.ERROR),
    ],
)
def test_a_span_says_what_became_of_its_message_and_nothing_of_what_it_says(told, outcome, word, status):
    own, batch = told((delivery(traceparent=PARENT), outcome))
    assert own.attributes["amqp_connector.outcome"] == word
    assert own.status.status_code == status
    assert ("22001" in own.to_json()) == (status is StatusCode.ERROR)
    assert "shall see" not in own.to_json() + batch.to_json()


@pytest.mark.parametrize("outcome", [LATER])
def test_a_message_that_was_not_tried_has_no_span_yet(told, outcome):
    assert len(told((delivery(traceparent=PARENT), outcome))) == 1


@pytest.mark.parametrize("header", ["", "nonsense", 7, b"\xff", None, f"00-{'0' * 32}-{SPAN}-01", PARENT[:-1]])
def test_a_header_that_names_no_trace_is_passed_over(told, header):
    (batch,) = told((delivery(traceparent=header), DONE))
    assert len(batch.links) == 0


def test_a_header_of_bytes_is_understood_and_a_trace_that_is_not_recorded_stays_so(told):
    own, _ = told((delivery(traceparent=PARENT.encode()), DONE), (delivery(traceparent=PARENT[:-1] + "0"), DONE))
    assert f"{own.context.trace_id:032x}" == TRACE


def test_without_the_section_nothing_is_told_and_nothing_is_loaded():
    with tracing.tracing(None, "dbconnector", "readings") as tell:
        assert tell is None
    question = (
        "import sys, dbconnector.commands.select, dbconnector.commands.subscribe, sfconnector.daemon, sfconnector.flow;"
        " print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    loaded = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_the_token_of_the_collector_is_a_secret_and_the_extra_is_asked_for(tmp_path, monkeypatch):
    file = tmp_path / "db.config"
    file.write_text(CONFIGURATION)
    monkeypatch.setenv("TOKEN", "t0p")
    loaded = config.load(file)
    assert loaded.tracing == Tracing(headers={"authorization": "Bearer t0p"})
    assert "t0p" not in repr(loaded)
    monkeypatch.setattr(review, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"line 4: tracing: needs .* pip install 'amqp-connectors\[otel\]'"):
        config.load(file)
    config.load(file, resolve_secrets=False)  # what works offline sends no traces

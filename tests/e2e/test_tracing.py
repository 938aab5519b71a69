"""A trace that began with the device goes on in the connector, and ends at a collector that speaks OTLP."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.conftest import Connector, reading
from tests.services.server import free_port
from tests.services.waiting import eventually

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(http.server.ThreadingHTTPServer):
    """Keeps the spans that it is sent, and the tokens that came with them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.spans: list[Span] = []
        self.tokens: set[str | None] = set()


class Request(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        self.server.tokens.add(self.headers["authorization"])
        self.server.spans += [
            span for each in sent.resource_spans for scope in each.scope_spans for span in scope.spans
        ]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()


def test_the_trace_of_a_message_goes_on_and_one_that_dies_is_an_error(on_sqlite: Connector) -> None:
    with collecting() as collector:
        endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        on_sqlite.configure(tracing={"endpoint": endpoint, "headers": {"authorization": "Bearer t0p"}})
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        with on_sqlite.subscribed(HTTP_PROXY="http://127.0.0.1:9"):  # not for what is on this machine
            on_sqlite.publish(reading(1), b"{", headers=headers)
            on_sqlite.publish(reading(2))
            eventually(lambda: on_sqlite.database.count("reading") == 2 and on_sqlite.vhost.depth("dead-letter") == 1)
        assert collector.tokens == {"Bearer t0p"}  # the rest was sent before the end
        own = [span for span in collector.spans if span.trace_id.hex() == TRACE]
        assert [span.parent_span_id.hex() for span in own] == [SPAN, SPAN]
        assert sorted(span.status.code for span in own) == [0, 2]
        assert any(not span.parent_span_id for span in collector.spans)  # that of a batch
    (letter,) = on_sqlite.dead()
    assert letter[1]["traceparent"] == headers["traceparent"]  # sent back, it goes on once more


def test_a_collector_that_is_away_costs_no_message_and_does_not_hold_up_the_end(on_sqlite: Connector) -> None:
    on_sqlite.configure(tracing={"endpoint": f"http://127.0.0.1:{free_port()}/v1/traces"})
    with on_sqlite.subscribed():
        on_sqlite.publish(*[reading(number) for number in range(1, 50)])
        eventually(lambda: on_sqlite.database.count("reading") == 49)

"""Traces for OpenTelemetry. The only module that imports `opentelemetry`, and only if the configuration has a section
`tracing`; without it no message is looked at.

A batch is traced after it is handled, so nothing is added to the work itself. Spans are exported by a thread of their
own, and dropped while the collector does not answer.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from connectorlib.messages import Again, Dead, Delivery, Done, Later, Outcome
from connectorlib.shared_settings import Tracing
from connectorlib.values.hosts import is_loopback
from connectorlib.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger(__name__)

#: Called with a batch that was handled: its messages, their outcomes, and the seconds it took.
TraceBatch = Callable[[Sequence[Delivery], Sequence[Outcome], float], None]

EXPORT_S = 5.0  # time limit of one export, and of the last one at the end
_HEADERS = ("traceparent", "tracestate")  # W3C Trace Context


@contextmanager
def tracing(settings: Tracing | None, connector: str, name: str) -> Iterator[TraceBatch | None]:
    """Yield what traces a batch, None if tracing is off; at the end export what is left."""
    if settings is None:
        yield None
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # late, see the module
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    from connectorlib.service.http_client import direct_session  # late too: it brings requests

    release = VERSION
    resource = Resource.create({"service.name": connector, "service.instance.id": name, "service.version": release})
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample)), resource=resource, shutdown_on_exit=False
    )
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # otherwise it logs every retry and every dropped span
    session = direct_session() if is_loopback(urlsplit(settings.endpoint).hostname or "") else None
    exporter = OTLPSpanExporter(settings.endpoint, headers=dict(settings.headers), timeout=EXPORT_S, session=session)
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_S * 1000))
    try:
        yield _Traces(provider.get_tracer("amqp-connectors", release)).batch
    finally:
        # In a thread: with a collector that hangs, shutdown waits once for every export that is left.
        closing = threading.Thread(target=provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(EXPORT_S)


class _Traces:
    """Makes the spans of one process: one for each batch, and one for each message in its trace."""

    def __init__(self, tracer: "Tracer") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # late, see the module

        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def batch(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], seconds: float) -> None:
        """Make the spans of a batch that was just handled."""
        try:
            self._batch(deliveries, outcomes, seconds)
        except Exception:  # any: tracing must not end the work
            logger.exception("bug in a trace", extra={"event": "bug"})

    def _batch(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], seconds: float) -> None:
        from opentelemetry.trace import Link, SpanKind, get_current_span  # late, see the module

        ended = time.time_ns()
        begun = ended - int(seconds * 1e9)
        queue = deliveries[0].queue
        contexts = [self._context(delivery) for delivery in deliveries]
        links = [Link(get_current_span(context).get_span_context()) for context in contexts if context is not None]
        whole = self._tracer.start_span(
            f"process {queue}",
            kind=SpanKind.CONSUMER,
            links=links,
            start_time=begun,
            attributes={**_attributes(queue), "messaging.batch.message_count": len(deliveries)},
        )
        for delivery, outcome, context in zip(deliveries, outcomes, contexts, strict=True):
            if context is None or isinstance(outcome, Later):  # not tried yet
                continue
            span = self._tracer.start_span(
                f"process {queue}",
                context,
                kind=SpanKind.CONSUMER,
                links=[Link(whole.get_span_context())],
                start_time=begun,
                attributes=_attributes(queue, delivery),
            )
            _conclude(span, outcome)
            span.end(ended)
        whole.end(ended)

    def _context(self, delivery: Delivery) -> "Context | None":
        """Return the trace that a message belongs to, None without a valid `traceparent`."""
        from opentelemetry.trace import get_current_span  # late, see the module

        headers = delivery.properties.headers
        if not headers or "traceparent" not in headers:
            return None
        context = self._propagator.extract({key: _text(headers[key]) for key in _HEADERS if key in headers})
        return context if get_current_span(context).get_span_context().is_valid else None


def _attributes(queue: str, delivery: Delivery | None = None) -> dict[str, str]:
    """Return attributes by OpenTelemetry's conventions for messaging, without the body."""
    found = {"messaging.system": "rabbitmq", "messaging.operation.type": "process", "messaging.destination.name": queue}
    if delivery is not None:
        found["messaging.rabbitmq.destination.routing_key"] = delivery.routing_key
        if isinstance(delivery.properties.message_id, str):
            found["messaging.message.id"] = delivery.properties.message_id
    return found


#: Of a span, by `Done.counted`.
_OUTCOMES = {"done": "done", "already": "already there", "empty": "empty"}


def _conclude(span: "Span", outcome: Done | Dead | Again) -> None:
    """Set the outcome of a message."""
    from opentelemetry.trace import StatusCode  # late, see the module

    if isinstance(outcome, Done):
        span.set_attribute("amqp_connector.outcome", _OUTCOMES[outcome.counted])
        return
    span.set_attribute("amqp_connector.outcome", "dead-lettered" if isinstance(outcome, Dead) else "tried again")
    span.set_attribute("error.type", outcome.failure.code)  # the text may contain parts of the message
    span.set_status(StatusCode.ERROR)


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)

"""A message that no broker has delivered: a body, and the options for its exchange, routing key and properties."""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from connectorlib.dataclass import dataclass
from connectorlib.expressions import compile_topic
from connectorlib.messages import Delivery, Properties
from connectorlib.preflight.explanation import Offline
from connectorlib.shared_settings import Source

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

STANDARD_INPUT = "-"
#: The type of a file name that shells complete; whether the file exists shows when it is read.
MESSAGE_FILE = click.Path(dir_okay=False, allow_dash=True)


def made_up(
    body: bytes, *, queue: str = "", exchange: str = "", routing_key: str = "", properties: Mapping[str, Any]
) -> Delivery:
    """Return a delivery with this body; `properties` by their AMQP names."""
    return Delivery(0, 0, queue, exchange, routing_key, False, Properties(**properties), body, 0.0)


@dataclass(frozen=True, slots=True)
class Envelope:
    """How a message is published, apart from its body."""

    exchange: str | None = None
    routing_key: str | None = None
    queue: str | None = None
    #: By their AMQP names.
    properties: Mapping[str, Any] | None = None

    def delivery(self, body: bytes, queue: str) -> Delivery:
        """Return the message as a source queue delivers it."""
        return made_up(
            body,
            queue=queue,
            exchange=self.exchange or "",
            routing_key=self.routing_key or "",
            properties=self.properties or {},
        )

    def queues(self, offline: Offline) -> list[str]:
        """Return the source queues that the message reaches. Raise click.UsageError where that is not clear."""
        known = offline.queues("", "")
        if self.queue is not None:
            if self.queue not in known:
                raise click.UsageError(f"--queue: no source is {self.queue!r}; there are {', '.join(known)}")
            return [self.queue]
        if self.exchange is None or len(known) == 1:
            if len(known) > 1:
                what = "say which, with --queue, or with --exchange and --routing-key"
                raise click.UsageError(f"there are several source queues: {', '.join(known)}; {what}")
            return list(known)
        found = list(offline.queues(self.exchange, self.routing_key or ""))
        if not found:
            key = self.routing_key or ""
            raise click.UsageError(f"no source queue takes {key!r} from exchange {self.exchange!r}: it would not come")
        return found


def takes(source: Source, exchange: str, routing_key: str) -> bool:
    """Return whether a source queue gets what is published so, by its configured bindings; a headers exchange counts
    as binding everything."""
    if not exchange:
        return routing_key in source.queues
    if exchange != source.exchange:
        return bool(source.shards) and exchange == source.bound
    if source.exchange_type == "topic":
        return any(compile_topic(pattern)(routing_key) for pattern in source.routing_keys)
    return source.exchange_type != "direct" or routing_key in source.routing_keys


class _Pair(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str] | object:
        if isinstance(value, tuple):
            return value
        name, equals, rest = str(value).partition("=")
        if not equals or not name:
            self.fail(f"expected NAME=VALUE, not {value!r}", param, ctx)
        return name, rest


class _Moment(click.ParamType):  # type: ignore[type-arg]  # see above
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text.isdecimal():
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"expected a time such as 2026-11-24T03:02:11Z, or seconds since 1970, not {text!r}", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


_OPTIONS = (
    click.option("--exchange", metavar="NAME", help="The exchange that the message was published to."),
    click.option("--routing-key", metavar="KEY", help="The routing key of the message."),
    click.option("--queue", metavar="NAME", help="The source queue of the message, if there are several."),
    click.option("--header", type=_Pair(), multiple=True, metavar="NAME=VALUE", help="A header; may be repeated."),
    click.option("--content-type", metavar="TYPE", help="Content type, such as text/csv; charset=iso-8859-1."),
    click.option("--content-encoding", metavar="CODING", help="Compression of the body: gzip, deflate or zstd."),
    click.option("--message-id", metavar="ID", help="Message id."),
    click.option("--correlation-id", metavar="ID", help="Correlation id."),
    click.option("--timestamp", type=_Moment(), metavar="TIME", help="Timestamp, in ISO 8601 or seconds."),
)


def envelope_options(function: Decorated) -> Decorated:
    """Add the options to a command, which passes them on to `envelope`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def envelope(
    *,
    exchange: str | None,
    routing_key: str | None,
    queue: str | None,
    header: tuple[tuple[str, str], ...],
    **properties: Any,
) -> Envelope:
    """Return the envelope that the options describe."""
    return Envelope(exchange, routing_key, queue, {"headers": dict(header) or None, **properties})


def read_body(message: str) -> bytes:
    """Return the bytes of a file. Raise click.UsageError for one that cannot be read."""
    if message == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return Path(message).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{message} cannot be read: {error.strerror}") from error

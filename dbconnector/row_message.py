"""From a row of a query to the message that is published. Compiled once; per row only closures run. No I/O."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import repeat
from os import urandom
from typing import Any

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import (
    MISSING,
    Expression,
    Scope,
    compile_expression,
    compile_template,
    describe_missing,
    text_of,
)
from connectorlib.formats import Format
from connectorlib.formats.body_assembly import BodyAssembly
from connectorlib.formats.json import JsonFormat
from connectorlib.messages import Outgoing
from connectorlib.shared_settings import Destination
from dbconnector.wall_clock import ClockText, WallClock, whole_offset

PLACE = "destination"
BODY = f"{PLACE}.body"
#: AMQP counts the length of a routing key or a property in one byte.
SHORT_TEXT = 255
#: What the first octet of a group becomes in a UUID of version 4, and of the variant of RFC 9562.
_VERSION_4 = bytes(0x40 | octet & 0x0F for octet in range(256))
_VARIANT = bytes(0x80 | octet & 0x3F for octet in range(256))

Record = Mapping[str, Any]
#: Returns one value of the message, given a row as a record.
Read = Callable[[Record], Any]
EncodeObjects = Callable[[Sequence[dict[str, Any]]], list[bytes] | None]
#: The routing key of a message, and its properties but the id.
Envelope = tuple[str, dict[str, Any]]


class _Field:
    """One value of the message: its expression, and what converts it to what AMQP carries."""

    def __init__(self, name: str, expression: Expression, convert: Callable[[Any], Any]) -> None:
        self.place = f"{PLACE}.{name}"
        self.expression = expression
        self.convert = convert

    def optional(self, scope: Scope, columns: frozenset[str]) -> Read:
        """Return what reads the value, MISSING included. That raises Failed, which names this field."""
        evaluate, convert = self.expression.evaluate, self.convert

        def read(record: Record) -> Any:
            try:
                value = evaluate(record, scope)
                if value is not MISSING:
                    return None if value is None else convert(value)
            except Failed as failed:
                raise rejected(failed.failure, self.place) from None
            except ValueError as error:
                raise reject("bad-value", str(error), place=self.place) from None
            self._refuse_unknown_column(record, columns)
            return MISSING

        return read

    def required(self, scope: Scope, columns: frozenset[str]) -> Read:
        """Return what reads the value, and rejects a row that has none."""
        read = self.optional(scope, columns)

        def read_required(record: Record) -> Any:
            value = read(record)
            if value is MISSING or value is None:
                text = describe_missing(self.expression, record) if value is MISSING else "is null"
                raise reject("missing-field", text, place=self.place)
            return value

        return read_required

    def unknown(self, columns: Collection[str]) -> list[str]:
        """Return the columns that the expression uses and a query does not have."""
        names = [str(path.steps[0]) for path in self.expression.parts if path.source is None and path.steps]
        return [name for name in names if name not in columns]

    def _refuse_unknown_column(self, record: Record, columns: frozenset[str]) -> None:
        """All rows have the same columns, so a missing one is a mistake in the configuration, not in this row."""
        if self.unknown(columns):
            text = describe_missing(self.expression, record)
            raise Failed(Failure(Kind.CONFIGURATION, "missing-field", text, self.place))


class MessageMapping:
    """How rows become messages. Raise ValueError for an expression that cannot be compiled.

    `message_id` makes the id where the destination names none; without it ids are random. `clock`: the one that times
    without an offset are meant by; without it they are sent without one.
    """

    def __init__(
        self, destination: Destination, fmt: Format, message_id: Read | None = None, clock: WallClock | None = None
    ) -> None:
        self._clock = clock
        self.exchange = destination.exchange
        self._format = fmt
        self._routing_key = _Field("routing_key", _compiled(destination.routing_key, text=True), _short_text)
        self._body = None if destination.body is None else _Field("body", _compiled(destination.body), _body)
        self._headers = [
            (name, _Field(f"headers.{name}", _compiled(expression), _header))
            for name, expression in destination.headers.items()
        ]
        own_body = destination.content_type is not None or self._body is not None
        self._constants = {} if own_body or not fmt.content_type else {"content_type": fmt.content_type}
        converts = {
            "message_id": _short_text,
            "content_type": _short_text,
            "correlation_id": _short_text,
            "priority": _priority,
            "expiration": _expiration,
        }
        specs = {name: getattr(destination, name) for name in converts}
        self._properties = {
            name: _Field(name, _compiled(spec, text=name == "content_type"), converts[name])
            for name, spec in specs.items()
            if spec is not None
        }
        self._message_id = self._properties.pop("message_id", None)
        self._default_id = message_id
        _refuse_extra_routing(destination.headers)

    def unknown_columns(self, columns: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield each field that uses a column which a query does not have, and the column."""
        fields = [self._routing_key, self._body, self._message_id, *self._properties.values()]
        for field in (*fields, *(field for _, field in self._headers)):
            if field is not None and (unknown := field.unknown(columns)):
                yield field.place, unknown[0]

    def maker(self, columns: Sequence[str], *, now: datetime | None = None) -> "Maker":
        """Given the columns of a query, return what makes messages of its rows. `now` is what `$now` is: by default the
        time of each row."""
        return Maker(self, columns, now)

    def body(self, columns: Sequence[str], scope: Scope) -> Read:
        """Return what reads the body of a row's message."""
        return self._body.required(scope, frozenset(columns)) if self._body else _encoder(self._format.encode)

    @property
    def encode_objects(self) -> EncodeObjects | None:
        """What encodes the bodies of many rows together; None if they are encoded one by one."""
        return self._format.encode_objects if self._body is None and isinstance(self._format, JsonFormat) else None

    def recorder(self, columns: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Any]]:
        """Given the columns of a query, return what makes a record of a row. That raises Failed (reject)."""
        if (clock := self._clock) is None:
            return lambda row: dict(zip(columns, row, strict=True))
        return lambda row: {name: _by_clock(clock, name, value) for name, value in zip(columns, row, strict=True)}

    def envelope(self, columns: Sequence[str], scope: Scope) -> Callable[[Record], Envelope]:
        """Given the columns of a query, return what reads all of a message but its id and its body."""
        _refuse_repeated(columns)
        known = frozenset(columns)
        routing_key = self._routing_key.required(scope, known)
        properties = [(name, field.optional(scope, known)) for name, field in self._properties.items()]
        headers = [(name, field.optional(scope, known)) for name, field in self._headers]
        constants = self._constants

        def read_envelope(record: Record) -> Envelope:
            found: dict[str, Any] = dict(constants)
            for name, read in properties:
                value = read(record)
                if value is not MISSING and value is not None:
                    found[name] = value
            if headers:
                values = [(name, read(record)) for name, read in headers]
                found["headers"] = {name: value for name, value in values if value is not MISSING}
            return routing_key(record), found

        return read_envelope

    def message_id(self, columns: Sequence[str], scope: Scope) -> Read | None:
        """Return what reads the id of a row's message; None if ids are random."""
        return self._message_id.required(scope, frozenset(columns)) if self._message_id else self._default_id

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        """Return how bodies of many rows are put together. Raise Failed if the format has none."""
        return self._format.assembly(columns)


class Maker:
    """Makes messages of the rows of one query."""

    def __init__(self, mapping: MessageMapping, columns: Sequence[str], now: datetime | None) -> None:
        """Raise Failed for columns that the configuration cannot do with."""
        self._scope, self._now = Scope(None, index=-1), now
        self._message_id = mapping.message_id(columns, self._scope)
        self._envelope = mapping.envelope(columns, self._scope)
        self._body = mapping.body(columns, self._scope)
        self._encode_objects = mapping.encode_objects
        self._record_of, self._exchange = mapping.recorder(columns), mapping.exchange

    def __call__(self, row: Sequence[Any]) -> Outgoing:
        """Return the message of a row. Raise Failed: a reject for a row that cannot be sent, else a mistake in the
        configuration."""
        return self._message(self._record_of(row), None, "" if self._message_id else new_id())

    def together(self, rows: Sequence[Sequence[Any]]) -> list[Outgoing] | None:
        """Return the messages of many rows; None if they are to be made one by one, because one of them fails or has a
        value that is rare."""
        if self._encode_objects is None:
            return None
        before = self._scope.index
        try:
            records = [*map(self._record_of, rows)]
            bodies = self._encode_objects(records)
            if bodies is not None:
                ids = repeat("") if self._message_id else random_ids(len(rows))
                return [*map(self._message, records, bodies, ids)]
        except Failed:
            self._scope.index = before
        return None

    def _message(self, record: Record, body: bytes | None, random_id: str) -> Outgoing:
        """Return the message of the next row, with this body or, for None, the one that is made of the row alone."""
        self._scope.index += 1
        self._scope.now = self._now
        routing_key, properties = self._envelope(record)
        properties["message_id"] = self._message_id(record) if self._message_id else random_id
        return Outgoing(self._exchange, routing_key, self._body(record) if body is None else body, properties)


def _by_clock(clock: WallClock, name: str, value: Any) -> Any:
    """Return a value in which a time of a clock is an instant. Raise Failed (reject) if the clock never shows it."""
    if type(value) not in (datetime, ClockText):
        return value
    moment = datetime.fromisoformat(value) if type(value) is ClockText else value
    try:
        return clock.instant(moment) if moment.tzinfo is None else whole_offset(moment)
    except ValueError as error:
        raise reject("bad-value", f"column {name}: {error}", place=PLACE) from None


def rejected(failure: Failure, place: str) -> Failed:
    return reject(failure.code, failure.text, place=place, detail=failure.detail)


def _compiled(spec: Any, *, text: bool = False) -> Expression:
    """Compile a value expression, or with `text` a template, in which a text without a brace is that text."""
    return compile_template(spec) if text and isinstance(spec, str) else compile_expression(spec)


def _encoder(encode: Callable[[Sequence[Record]], bytes]) -> Read:
    def read(record: Record) -> bytes:
        try:
            return encode((record,))
        except Failed as failed:
            raise rejected(failed.failure, BODY) from None

    return read


def random_ids(count: int) -> list[str]:
    """Return so many random UUIDs (version 4). They are made group by group, in a fraction of the time that one by one
    would take."""
    version, variant = bytearray(urandom(2 * count)), bytearray(urandom(2 * count))
    version[::2] = version[::2].translate(_VERSION_4)
    variant[::2] = variant[::2].translate(_VARIANT)
    groups = (urandom(4 * count), urandom(2 * count), version, variant, urandom(6 * count))
    return [*map("-".join, zip(*(each.hex("-", len(each) // count).split("-") for each in groups), strict=True))]


def new_id() -> str:
    """Return a random UUID (version 4)."""
    return uuid_text(urandom(16).hex(), 4)


def uuid_text(text: str, version: int) -> str:
    """Return the UUID of 32 hexadecimal digits; its version and variant (RFC 9562) replace two of them."""
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-{version}{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _refuse_repeated(columns: Sequence[str]) -> None:
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        text = f"the query has several columns called {', '.join(repeated)}: name them with AS"
        raise Failed(Failure(Kind.CONFIGURATION, "repeated-column", text, "select.query"))


def _refuse_extra_routing(headers: Mapping[str, Any]) -> None:
    """Raise ValueError for headers by which RabbitMQ routes to more keys, past the bindings of the exchange."""
    if {"CC", "BCC"} & headers.keys():
        raise ValueError("headers CC and BCC route a message to more queues: bind those to the exchange instead")


# --- conversions to what AMQP can carry; each raises ValueError -------------------------------------------------------


def _short_text(value: Any) -> str:
    text = value if type(value) is str else text_of(value)
    if len(text) > SHORT_TEXT // 4 and len(text.encode()) > SHORT_TEXT:
        raise ValueError(f"{len(text.encode())} bytes, AMQP takes {SHORT_TEXT}")
    return text


def _body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value if isinstance(value, str) else text_of(value)).encode()


def _whole(value: Any) -> int:
    """Return a whole number; numeric columns give decimals."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(f"{value!r:.40} is not a whole number")
    number = int(value)
    if isinstance(value, Decimal) and number != value:
        raise ValueError(f"{value} is not a whole number")
    return number


def _priority(value: Any) -> int:
    number = _whole(value)
    if not 0 <= number <= 255:
        raise ValueError(f"priority is 0 to 255, not {number}")
    return number


def _expiration(value: Any) -> str:
    """Return milliseconds as text, as AMQP has them; RabbitMQ closes the channel for anything else."""
    number = _whole(value)
    if number < 0:
        raise ValueError(f"expiration is milliseconds from 0 on, not {number}")
    return str(number)


def _header(value: Any) -> Any:
    """Return what an AMQP table holds exactly as it is; the rest, such as fractions and times, as text."""
    if value is None or isinstance(value, str | bool | bytes):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, Mapping):
        return {str(name): _header(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_header(member) for member in value]
    return text_of(value)

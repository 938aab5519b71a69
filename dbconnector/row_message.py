"""From a row of the query to the message that is published. Compiled once; per row only closures run. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
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
from connectorlib.messages import Outgoing
from connectorlib.shared_settings import Destination

PLACE = "destination"
#: AMQP counts the length of a routing key or a property in one byte.
SHORT_TEXT = 255

Record = Mapping[str, Any]
Reader = Callable[[Record], Any]
Maker = Callable[[Sequence[Any]], Outgoing]


class _Part:
    """One value of the message: its expression and what AMQP makes of it."""

    def __init__(self, name: str, expression: Expression, convert: Callable[[Any], Any]) -> None:
        self.place = f"{PLACE}.{name}"
        self.expression = expression
        self.convert = convert

    def reader(self, scope: Scope, columns: frozenset[str]) -> Reader:
        """Return what reads the value from a record, MISSING included; what it raises names this part."""
        evaluate, convert = self.expression.evaluate, self.convert

        def read(record: Record) -> Any:
            try:
                value = evaluate(record, scope)
                if value is not MISSING:
                    return convert(value)
            except Failed as failed:
                failure = failed.failure
                raise reject(failure.code, failure.text, place=self.place, detail=failure.detail) from None
            except ValueError as error:
                raise reject("bad-value", str(error), place=self.place) from None
            self._refuse_unknown_column(record, columns)
            return MISSING

        return read

    def needed(self, scope: Scope, columns: frozenset[str]) -> Reader:
        """The same, where a row without the value cannot be sent."""
        read = self.reader(scope, columns)

        def read_needed(record: Record) -> Any:
            value = read(record)
            if value is MISSING or value is None:
                text = describe_missing(self.expression, record) if value is MISSING else "is null"
                raise reject("missing-field", text, place=self.place)
            return value

        return read_needed

    def _refuse_unknown_column(self, record: Record, columns: frozenset[str]) -> None:
        """All rows have the same columns: one that is not there is a mistake in the configuration, not in this row."""
        names = {path.steps[0] for path in self.expression.parts if path.source is None and path.steps}
        if names - columns:
            text = describe_missing(self.expression, record)
            raise Failed(Failure(Kind.CONFIGURATION, "missing-field", text, self.place))


class Rows:
    """How rows become messages. Raise ValueError for an expression that is none."""

    def __init__(self, destination: Destination, fmt: Format) -> None:
        self._exchange = destination.exchange
        self._encode = fmt.encode
        self._routing_key = _Part("routing_key", _compiled(destination.routing_key, text=True), _short_text)
        self._body = None if destination.body is None else _Part("body", _compiled(destination.body), _body)
        own = _compiled(destination.message_id) if destination.message_id is not None else None
        self._message_id = _Part("message_id", own, _short_text) if own else None
        self._headers = [
            (name, _Part(f"headers.{name}", _compiled(expression), _header))
            for name, expression in destination.headers.items()
        ]
        content_type = destination.content_type
        self._content_type = fmt.content_type if content_type is None and self._body is None else None
        optional = (
            ("content_type", content_type, _short_text),
            ("correlation_id", destination.correlation_id, _short_text),
            ("priority", destination.priority, _priority),
            ("expiration", destination.expiration, _expiration),
        )
        self._properties = [
            (name, _Part(name, _compiled(spec, text=name == "content_type"), convert))
            for name, spec, convert in optional
            if spec is not None
        ]
        _refuse_extra_routing(destination.headers)

    def maker(self, columns: Sequence[str]) -> Maker:
        """Given the columns of the query, return what makes a row of it a message.

        That raises Failed: a reject for a row that cannot be sent, else a mistake in the configuration.
        """
        _refuse_repeated(columns)
        scope = Scope(None, index=-1)
        known = frozenset(columns)
        routing_key = self._routing_key.needed(scope, known)
        message_id = self._message_id.needed(scope, known) if self._message_id else _new_id
        body = self._body.needed(scope, known) if self._body else _encoder(self._encode)
        properties = [(name, part.reader(scope, known)) for name, part in self._properties]
        headers = [(name, part.reader(scope, known)) for name, part in self._headers]
        constants = {"content_type": self._content_type} if self._content_type else {}
        exchange = self._exchange

        def make(row: Sequence[Any]) -> Outgoing:
            record = dict(zip(columns, row, strict=True))
            scope.index += 1
            scope.now = None
            found: dict[str, Any] = {"message_id": message_id(record), **constants}
            for name, read in properties:
                value = read(record)
                if value is not MISSING and value is not None:
                    found[name] = value
            if headers:
                values = [(name, read(record)) for name, read in headers]
                found["headers"] = {name: value for name, value in values if value is not MISSING}
            return Outgoing(exchange, routing_key(record), body(record), found)

        return make


def _compiled(spec: Any, *, text: bool = False) -> Expression:
    """Compile a value expression, or a template, where a text without a brace is that text."""
    return compile_template(spec) if text and isinstance(spec, str) else compile_expression(spec)


def _encoder(encode: Callable[[Sequence[Record]], bytes]) -> Reader:
    def read(record: Record) -> bytes:
        try:
            return encode((record,))
        except Failed as failed:
            failure = failed.failure
            raise reject(failure.code, failure.text, place=f"{PLACE}.body", detail=failure.detail) from None

    return read


def _new_id(record: Record) -> str:
    """A random UUID (version 4), written by hand: the library's object costs as much as half of the message."""
    text = urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _refuse_repeated(columns: Sequence[str]) -> None:
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        text = f"the query has several columns called {', '.join(repeated)}: name them with AS"
        raise Failed(Failure(Kind.CONFIGURATION, "repeated-column", text, "select.query"))


def _refuse_extra_routing(headers: Mapping[str, Any]) -> None:
    """RabbitMQ delivers to every routing key in these: rows would turn up in queues that nobody bound."""
    if {"CC", "BCC"} & headers.keys():
        raise ValueError("headers CC and BCC route a message to more queues: bind those to the exchange instead")


# --- what AMQP can carry; each raises ValueError ---------------------------------------------------------------------


def _short_text(value: Any) -> Any:
    if value is None:
        return None
    text = value if type(value) is str else text_of(value)
    if len(text) > SHORT_TEXT // 4 and len(text.encode()) > SHORT_TEXT:
        raise ValueError(f"{len(text.encode())} bytes, AMQP takes {SHORT_TEXT}")
    return text


def _body(value: Any) -> Any:
    if isinstance(value, bytes) or value is None:
        return value
    return (value if isinstance(value, str) else text_of(value)).encode()


def _whole(value: Any) -> int:
    """A whole number, as a number or in words; numeric columns give decimals."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(f"{value!r:.40} is not a whole number")
    number = int(value)
    if isinstance(value, Decimal) and number != value:
        raise ValueError(f"{value} is not a whole number")
    return number


def _priority(value: Any) -> Any:
    if value is None:
        return None
    number = _whole(value)
    if not 0 <= number <= 255:
        raise ValueError(f"priority is 0 to 255, not {number}")
    return number


def _expiration(value: Any) -> Any:
    """Milliseconds, which AMQP wants in words; RabbitMQ closes the channel for anything else."""
    if value is None:
        return None
    number = _whole(value)
    if number < 0:
        raise ValueError(f"expiration is milliseconds from 0 on, not {number}")
    return str(number)


def _header(value: Any) -> Any:
    """What an AMQP table holds exactly stays as it is; the rest, fractions and times among it, becomes text."""
    if value is None or isinstance(value, str | bool | bytes):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, Mapping):
        return {str(name): _header(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_header(member) for member in value]
    return text_of(value)

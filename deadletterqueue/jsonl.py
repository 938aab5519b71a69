"""Dead letters as JSON Lines, complete: `import` reads what `export` writes as the same message. Pure."""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from connectorlib.amqp.field_tables import Field, encoded_field, field, kept
from connectorlib.messages import PROPERTY_NAMES, Delivery, Outgoing

#: The properties of AMQP 0-9-1 that a copy keeps. `user_id` has to be that of the connection, or the broker closes it.
KEPT = tuple(name for name in PROPERTY_NAMES if name not in ("headers", "delivery_mode", "user_id"))
#: The broker's counts, which change each time the queue is browsed.
_COUNTS = frozenset({"x-delivery-count", "x-acquired-count"})


def line_of(delivery: Delivery) -> dict[str, Any]:
    """Return a message as JSON values: `body` as text or `body_base64`, the properties by their AMQP names."""
    properties: dict[str, Any] = {
        name: value for name in (*KEPT, "user_id") if (value := getattr(delivery.properties, name)) is not None
    }
    headers = {str(name): _written(value) for name, value in kept(delivery.headers).items() if name not in _COUNTS}
    body: dict[str, Any]
    try:
        body = {"body": delivery.body.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(delivery.body).decode()}
    return {
        "exchange": delivery.exchange,
        "routing_key": delivery.routing_key,
        "properties": properties,
        "headers": headers,
        **body,
    }


def outgoing_of(line: Mapping[str, Any], queue: str) -> Outgoing:
    """Return the message of a line, for this queue. Raise ValueError if the line is not valid."""
    if not isinstance(line, Mapping) or ("body" in line) == ("body_base64" in line):
        raise ValueError("expected an object with body or body_base64, as `deadletter-queue export` writes it")
    given, headers = line.get("properties", {}), line.get("headers", {})
    if not isinstance(given, Mapping) or not isinstance(headers, Mapping):
        raise ValueError("properties and headers have to be objects")
    unknown = [name for name in given if name not in (*KEPT, "user_id")]
    if unknown:
        raise ValueError(f"there is no property {unknown[0]!r} in AMQP; there are {', '.join(KEPT)}")
    properties: dict[str, Any] = {name: value for name, value in given.items() if name in KEPT}
    properties["headers"] = {name: _read(value) for name, value in headers.items() if name not in ("CC", "BCC")}
    return Outgoing("", queue, _body(line), properties)


def _body(line: Mapping[str, Any]) -> bytes:
    text = line.get("body", line.get("body_base64"))
    if not isinstance(text, str):
        raise ValueError("the body has to be a text")
    if "body" in line:
        return text.encode()
    return base64.b64decode(text, validate=True)


def _written(value: Any) -> Any:
    """Return a header value as JSON, which `_read` reverses: what JSON has no type for becomes an object with one key,
    the name of its type."""
    if isinstance(value, Field):
        return _written_field(value)
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": (value.replace(tzinfo=UTC) if value.tzinfo is None else value).isoformat()}
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        table = {str(name): _written(each) for name, each in value.items()}
        return {"$table": table} if len(table) == 1 and not table.keys().isdisjoint(_READERS) else table
    if isinstance(value, list):
        return [_written(each) for each in value]
    return value


def _written_field(field: Field) -> dict[str, Any]:
    name = _NUMBERS.get(field.kind)
    if name is None:
        return {"$amqp": base64.b64encode(field.octets).decode()}
    number = field.value
    return {name: number if isinstance(number, int) else str(number)}


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1 and (name := next(iter(value))) in _READERS:
        try:
            return _READERS[name](value[name])
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{value[name]!r} is no value of {name}") from error
    return _read_table(value)


def _read_table(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read(each) for name, each in value.items()}


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


#: Numbers for which JSON has no type, by the letter of their type in AMQP.
_NUMBERS: Mapping[str, str] = {
    "b": "$int8",
    "B": "$uint8",
    "s": "$int16",
    "u": "$uint16",
    "i": "$uint32",
    "l": "$int64",
    "f": "$float",
    "d": "$double",
    "D": "$decimal",
}
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "$bytes": _read_bytes,
    "$time": datetime.fromisoformat,
    "$table": _read_table,
    "$amqp": lambda text: encoded_field(_read_bytes(text)),
    **{name: partial(field, kind) for kind, name in _NUMBERS.items()},
}

"""Decodes headers and short strings so that no message can cost the connection.

pika's own decoder raises for a timestamp past the year 9999, for NaN and for tables nested a few hundred levels deep.
That ends the connection, the broker delivers the message again, and so on without end, while other messages wait. It
also truncates floats, and leaves names that are not UTF-8 as bytes. pika has no hook for a decoder, so `install`
replaces its functions.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from struct import Struct
from typing import Any

from pika import data

MAX_DEPTH = 32
#: The header that replaces what cannot be read; its value says why.
UNREADABLE = "unreadable-headers"


def install() -> None:
    data.decode_table = decode_table
    data.decode_short_string = decode_short_string


def decode_short_string(encoded: bytes, offset: int) -> tuple[str, int]:
    """Return a short string and where it ends; bytes that are not UTF-8 are written as `\\xff`."""
    end = offset + 1 + encoded[offset]
    value = encoded[offset + 1 : end]
    try:
        return value.decode(), end
    except UnicodeDecodeError:
        return value.decode("utf-8", "backslashreplace"), end


def decode_table(encoded: bytes, offset: int) -> tuple[dict[str, Any], int]:
    """Return the headers and where they end, which does not depend on their content."""
    end = offset + 4 + _SIZE.unpack_from(encoded, offset)[0]
    try:
        return _table(encoded, offset, 0), end
    except Exception as error:  # whatever is wrong with the headers of one message, the others have to get through
        return {UNREADABLE: f"{type(error).__name__}: {error}"[:200]}, end


def _table(encoded: bytes, offset: int, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        return {UNREADABLE: f"nested deeper than {MAX_DEPTH} levels"}
    offset, end = _span(encoded, offset)
    table: dict[str, Any] = {}
    while offset < end:
        name, offset = decode_short_string(encoded, offset)
        if encoded[offset] == _TEXT:  # nearly all are strings, and a dead letter has a dozen of them
            begin, offset = _span(encoded, offset + 1)
            table[name] = _decoded(encoded[begin:offset])
        else:
            table[name], offset = _value(encoded, offset, depth)
    return table


def _array(encoded: bytes, offset: int, depth: int) -> list[Any]:
    if depth > MAX_DEPTH:
        return [f"nested deeper than {MAX_DEPTH} levels"]
    offset, end = _span(encoded, offset)
    values = []
    while offset < end:
        value, offset = _value(encoded, offset, depth)
        values.append(value)
    return values


def _value(encoded: bytes, offset: int, depth: int) -> tuple[Any, int]:
    """Return the value at an offset, where the letter of its type is (RabbitMQ's errata to AMQP 0-9-1), and where it
    ends. Raise ValueError for a type that RabbitMQ does not have."""
    kind, offset = encoded[offset : offset + 1], offset + 1
    if kind in _FIXED:
        struct, convert = _FIXED[kind]
        return convert(*struct.unpack_from(encoded, offset)), offset + struct.size
    if kind not in _SIZED:
        raise ValueError(f"unknown type {kind!r}")
    _, end = _span(encoded, offset)
    return _SIZED[kind](encoded, offset, depth + 1), end


def _span(encoded: bytes, offset: int) -> tuple[int, int]:
    """Return where the content after a length begins and ends."""
    begin = offset + 4
    end = begin + _SIZE.unpack_from(encoded, offset)[0]
    if end > len(encoded):
        raise ValueError("a length leads out of the frame")
    return begin, end


def _bytes(encoded: bytes, offset: int, depth: int) -> bytes:
    begin, end = _span(encoded, offset)
    return encoded[begin:end]


def _text(encoded: bytes, offset: int, depth: int) -> str | bytes:
    return _decoded(_bytes(encoded, offset, depth))


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:  # binary headers that RabbitMQ's management has sent
        return value


def _fraction(value: float) -> Decimal | str:
    return Decimal(repr(value)) if isfinite(value) else str(value)


def _instant(seconds: int) -> datetime | str:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # a year that Python does not support
        return str(seconds)


def _same(value: int) -> int:
    return value


_TEXT = ord("S")
_SIZE = Struct(">I")
_FIXED: dict[bytes, tuple[Struct, Callable[..., Any]]] = {
    b"t": (Struct(">?"), bool),
    b"b": (Struct(">b"), _same),
    b"B": (Struct(">B"), _same),
    b"s": (Struct(">h"), _same),
    b"U": (Struct(">h"), _same),
    b"u": (Struct(">H"), _same),
    b"I": (Struct(">i"), _same),
    b"i": (Struct(">I"), _same),
    b"l": (Struct(">q"), _same),
    b"L": (Struct(">q"), _same),
    b"f": (Struct(">f"), _fraction),
    b"d": (Struct(">d"), _fraction),
    b"D": (Struct(">Bi"), lambda decimals, number: Decimal(number).scaleb(-decimals)),
    b"T": (Struct(">Q"), _instant),
    b"V": (Struct(""), lambda: None),
}
_SIZED: dict[bytes, Callable[[bytes, int, int], Any]] = {
    b"S": _text,
    b"x": _bytes,
    b"A": _array,
    b"F": _table,
}

"""Decodes headers and short strings so that no message can cost the connection, and encodes headers as they came.

pika's own decoder raises for a timestamp past the year 9999, for NaN and for tables nested a few hundred levels deep.
That ends the connection, the broker delivers the message again, and so on without end, while other messages wait. It
also truncates floats, and leaves names that are not UTF-8 as bytes. Its encoder knows no floats, and half of the types.
pika has no hook for either, so `install` replaces its functions.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from struct import Struct
from struct import error as StructError
from typing import Any

from pika import data

from connectorlib.dataclass import dataclass

MAX_DEPTH = 32
MAX_DIGITS = 10  # of a decimal, which has 32 bits
#: The header that replaces what cannot be read; its value says why.
UNREADABLE = "unreadable-headers"


_Read = Callable[[bytes, int, int], tuple[Any, int]]


class Table(dict[str, Any]):
    """Decoded headers that remember how they were encoded. Not to be changed."""

    __slots__ = ("encoded", "offset")

    encoded: bytes
    #: Where in `encoded` they are.
    offset: int


@dataclass(frozen=True, slots=True)
class Field:
    """A value whose type no value of Python stands for: the letter of the type, and the octets that follow it."""

    octets: bytes

    @property
    def kind(self) -> str:
        return chr(self.octets[0])

    @property
    def value(self) -> Any:
        """The value as it is decoded."""
        return _value(self.octets, 0, 0)[0]


def install() -> None:
    data.decode_table = decode_table
    data.decode_short_string = decode_short_string
    data.encode_value = encode_value


def encode_value(pieces: list[bytes], value: Any) -> int:
    """Append an encoded value; return how many octets it has. A decimal is a double if that is exact, else a text."""
    if isinstance(value, Decimal):
        value = double if Decimal(repr(double := float(value))) == value else str(value)
    if isinstance(value, float):
        value = field("d", value)
    if isinstance(value, Field):
        pieces.append(value.octets)
        return len(value.octets)
    size: int = _encode_value(pieces, value)
    return size


def field(kind: str, value: Any) -> Field:
    """Return a number as a value of the type with this letter. Raise ValueError if it is none of that type."""
    letter = kind.encode()
    try:
        parts = _decimal_parts(Decimal(value)) if kind == "D" else (float(value) if kind in "fd" else value,)
        return Field(letter + _FIXED[letter][0].pack(*parts))
    except (StructError, ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{value!r} is no number of the AMQP type {kind!r}") from error


def encoded_field(octets: bytes) -> Field:
    """Return the value that these octets are. Raise ValueError if they are none, or more."""
    try:
        _, end = _value(octets, 0, 0)
    except (StructError, IndexError) as error:
        raise ValueError(f"no value of AMQP: {error}") from error
    if end != len(octets):
        raise ValueError(f"no value of AMQP: {len(octets)} octets, of which {end} are one")
    return Field(octets)


def _decimal_parts(value: Decimal) -> tuple[int, int]:
    """Return how many digits follow the point, and the number without it."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent > MAX_DIGITS:
        raise ValueError
    return max(-exponent, 0), int(Decimal((sign, digits, max(exponent, 0))))


def received(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return headers to be sent as they are received. Raise ValueError if they cannot be sent."""
    pieces: list[bytes] = []
    try:
        data.encode_table(pieces, dict(kept(headers)))
    except Exception as error:  # pika raises half a dozen types
        raise ValueError(f"these headers cannot be sent: {type(error).__name__}: {error}") from error
    return decode_table(b"".join(pieces), 0)[0]


def kept(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return headers to be sent again: those that were received keep the type of each value, as a `Field` where another
    one would be sent for the value."""
    if not isinstance(headers, Table):
        return headers
    return _table(headers.encoded, headers.offset, 0, _kept)


def _kept(encoded: bytes, offset: int, depth: int) -> tuple[Any, int]:
    kind, begin = encoded[offset : offset + 1], offset + 1
    if kind in _NESTED and depth < MAX_DEPTH:
        value, end = _NESTED[kind](encoded, begin, depth + 1, _kept), _span(encoded, begin)[1]
    else:
        value, end = _value(encoded, offset, depth)
    octets = encoded[offset:end]
    return (value if _encoded(value) == octets else Field(octets)), end


def _encoded(value: Any) -> bytes | None:
    """Return a value as it is sent; None if it cannot be."""
    pieces: list[bytes] = []
    try:
        encode_value(pieces, value)
    except Exception:  # as in `received`
        return None
    return b"".join(pieces)


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
        table = Table()
        table.encoded, table.offset = encoded, offset
        _fill(table, encoded, offset, 0, _value)
        return table, end
    except Exception as error:  # whatever is wrong with the headers of one message, the others have to get through
        return {UNREADABLE: f"{type(error).__name__}: {error}"[:200]}, end


def _table(encoded: bytes, offset: int, depth: int, read: _Read) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        return {UNREADABLE: f"nested deeper than {MAX_DEPTH} levels"}
    table: dict[str, Any] = {}
    _fill(table, encoded, offset, depth, read)
    return table


def _fill(table: dict[str, Any], encoded: bytes, offset: int, depth: int, read: _Read) -> None:
    offset, end = _span(encoded, offset)
    while offset < end:
        name, offset = decode_short_string(encoded, offset)
        if encoded[offset] == _TEXT and read is _value:  # nearly all are strings, and a dead letter has a dozen of them
            begin, offset = _span(encoded, offset + 1)
            table[name] = _decoded(encoded[begin:offset])
        else:
            table[name], offset = read(encoded, offset, depth)


def _array(encoded: bytes, offset: int, depth: int, read: _Read) -> list[Any]:
    if depth > MAX_DEPTH:
        return [f"nested deeper than {MAX_DEPTH} levels"]
    offset, end = _span(encoded, offset)
    values = []
    while offset < end:
        value, offset = read(encoded, offset, depth)
        values.append(value)
    return values


def _value(encoded: bytes, offset: int, depth: int) -> tuple[Any, int]:
    """Return the value at an offset, where the letter of its type is (RabbitMQ's errata to AMQP 0-9-1), and where it
    ends. Raise ValueError for a type that RabbitMQ does not have."""
    kind, offset = encoded[offset : offset + 1], offset + 1
    if kind in _FIXED:
        struct, convert = _FIXED[kind]
        return convert(*struct.unpack_from(encoded, offset)), offset + struct.size
    begin, end = _span(encoded, offset)
    if kind in _NESTED:
        return _NESTED[kind](encoded, offset, depth + 1, _value), end
    if kind not in _SIZED:
        raise ValueError(f"unknown type {kind!r}")
    return _SIZED[kind](encoded[begin:end]), end


def _span(encoded: bytes, offset: int) -> tuple[int, int]:
    """Return where the content after a length begins and ends."""
    begin = offset + 4
    end = begin + _SIZE.unpack_from(encoded, offset)[0]
    if end > len(encoded):
        raise ValueError("a length leads out of the frame")
    return begin, end


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
_SIZED: dict[bytes, Callable[[bytes], Any]] = {b"S": _decoded, b"x": bytes}
_NESTED: dict[bytes, Callable[[bytes, int, int, _Read], Any]] = {b"A": _array, b"F": _table}
_encode_value = data.encode_value

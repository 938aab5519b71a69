"""A header of every type that AMQP 0-9-1 has in RabbitMQ, with the values at its ends: the octets as they are sent."""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from connectorlib.amqp.field_tables import Field, Table

#: Letter, format of `struct`, and bits below the sign.
WHOLE = (("b", "b", 7), ("B", "B", 8), ("s", "h", 15), ("u", "H", 16), ("I", "i", 31), ("i", "I", 32), ("l", "q", 63))


def sized(octets: bytes) -> bytes:
    return struct.pack(">I", len(octets)) + octets


def named(name: str, octets: bytes) -> bytes:
    return bytes([len(name)]) + name.encode() + octets


def table(*fields: bytes) -> bytes:
    return b"F" + sized(b"".join(fields))


def array(*fields: bytes) -> bytes:
    return b"A" + sized(b"".join(fields))


def text(value: str) -> bytes:
    return b"S" + sized(value.encode())


def deep(levels: int) -> bytes:
    value = b"V"
    for level in range(levels):
        value = array(value) if level % 2 else table(named("x", value))
    return value


def _numbers() -> Iterator[tuple[str, bytes]]:
    for letter, code, bits in WHOLE:
        signed = code.islower()
        for value in (-(2**bits) if signed else 0, 5, 2**bits - 1):
            yield f"{letter} {value}", letter.encode() + struct.pack(f">{code}", value)
    for value in (1.5, 0.1, -0.0, 3e38, 1e-45):
        yield f"f {value}", struct.pack(">cf", b"f", value)
        yield f"d {value}", struct.pack(">cd", b"d", value)
    for places, number in ((2, 314), (2, 300), (0, 5), (1, -1), (255, 2**31 - 1), (9, -(2**31))):
        yield f"D {number} / 10^{places}", struct.pack(">cBi", b"D", places, number)
    for seconds in (0, 1_764_000_000, 253_402_300_799, 1_764_000_000_000):
        yield f"T {seconds}", struct.pack(">cQ", b"T", seconds)


#: By name.
SENT: Mapping[str, bytes] = {
    **dict(_numbers()),
    "t true": b"t\x01",
    "t false": b"t\x00",
    "V": b"V",
    "S empty": text(""),
    "S": text("é😀\x00 1.5"),
    "S not UTF-8": b"S" + sized(b"\xff\x00"),
    "x empty": b"x" + sized(b""),
    "x": b"x" + sized(bytes(range(256))),
    "A empty": array(),
    "A": array(b"b\x05", text("a"), b"V", array(b"t\x01"), table(named("n", struct.pack(">cf", b"f", 0.1)))),
    "F empty": table(),
    "F": table(named("n", b"l" + struct.pack(">q", 5)), named("deeper", table(named("a", array(b"s\x00\x05"))))),
    "F that looks like a type": table(named("$time", text("2026-01-02"))),
    "F that looks like a table": table(named("$table", table(named("$int8", b"b\x05")))),
    "F with a name that is not UTF-8": table(b"\x02\xff\xfe" + b"b\x05"),
    "F with a name twice": table(named("a", b"b\x01"), named("a", b"b\x02")),
    "nested 60 levels": deep(60),
}
#: What Erlang has no number for, so that RabbitMQ refuses it.
REFUSED: Mapping[str, bytes] = {
    f"{letter} {value}": struct.pack(f">c{letter}", letter.encode(), value)
    for letter in "fd"
    for value in (math.nan, math.inf, -math.inf)
}


def fields(sent: Mapping[str, bytes] = SENT) -> dict[str, Any]:
    """Return headers to publish."""
    return {name: Field(octets) for name, octets in sent.items()}


def octets(headers: Mapping[str, Any] | None) -> dict[str, bytes]:
    """Return the octets of each header that was received, without those that dead-lettering adds."""
    assert isinstance(headers, Table), "not as they were received"
    at = headers.offset + 4
    end = at + int(struct.unpack_from(">I", headers.encoded, headers.offset)[0])
    found = {}
    while at < end:
        begin = at + 1 + headers.encoded[at]
        name, at = headers.encoded[at + 1 : begin].decode(), begin + _length(headers.encoded, begin)
        found[name] = headers.encoded[begin:at]
    return {name: each for name, each in found.items() if not name.startswith(("dead-", "x-"))}


_FIXED = {"t": 1, "V": 0, "f": 4, "d": 8, "D": 5, "T": 8}
_FIXED |= {kind: struct.calcsize(f">{code}") for kind, code, _ in WHOLE}


def _length(encoded: bytes, at: int) -> int:
    kind = chr(encoded[at])
    return 1 + _FIXED[kind] if kind in _FIXED else 5 + int(struct.unpack_from(">I", encoded, at + 1)[0])

"""What a binary format has read or is to write: the same tree as of JSON, with bytes and times in it besides."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from connectorlib.formats.body_assembly import BodyAssembly
from connectorlib.formats.strictness import check_count, check_size, not_decodable, not_encodable, too_deep
from connectorlib.shared_settings import Limits
from connectorlib.values.text import MAX_DIGITS, Structured, decimal_text, float_text, kind_of, quoted, text_of

_HARMLESS = (bool, type(None), bytes, datetime, date)
#: No number of so many bits has more than MAX_DIGITS digits.
_MOST_BITS = int(MAX_DIGITS * math.log2(10))


class BinaryFormat:
    """A format whose body is no text: `$body` is the bytes."""

    encoding = None
    heeds_charset = False

    def __init__(
        self,
        content_type: str,
        load: Callable[[bytes], Any],
        dump: Callable[[Any], bytes],
        limits: Limits,
        *,
        list_of: bytes,
    ) -> None:
        """`load` and `dump` are those of a library; `load` raises Failed for what cannot be read. `list_of` begins a
        list whose length is written in the next four octets."""
        self.content_type = content_type
        self.limits = limits
        self._load = load
        self._dump = dump
        self._list_of = list_of

    def decode(self, body: bytes, charset: str | None = None) -> list[Any]:
        """Return the records: the members of a list, else the one value."""
        check_size(body, self.limits)
        value = self._load(body)
        _check(value, self.limits)
        records = value if isinstance(value, list) else [value]
        check_count(records, self.limits)
        return records

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return one record as an object, several as a list."""
        rows = [_written_row(record) for record in records]
        return self._dump(rows[0] if len(rows) == 1 else rows)

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        return BodyAssembly(
            piece=lambda record: self._dump(_written_row(record)), head=lambda count: self._list_of + count.to_bytes(4)
        )


def _check(value: Any, limits: Limits) -> None:
    """Raise Failed for what is not fit to be mapped; level by level, so that no depth overflows the stack."""
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
                _check_names(each)
            elif isinstance(each, list):
                inner += each
            else:
                _check_scalar(each)
                continue
            if depth == limits.depth:
                raise too_deep(limits)
        level, depth = inner, depth + 1


def _check_names(names: Mapping[Any, Any]) -> None:
    for name in names:
        if type(name) is not str:
            raise not_decodable(f"a name that is no text, but {kind_of(name)}")
        _check_text(name)


def _check_scalar(value: Any) -> None:
    if type(value) is str:
        _check_text(value)
    elif type(value) is int:
        if value.bit_length() > _MOST_BITS:
            raise not_decodable(f"a number of more than {MAX_DIGITS} digits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise not_decodable(f"{value} is no number")
    elif isinstance(value, Decimal):
        _check_decimal(value)
    elif not isinstance(value, _HARMLESS):
        raise not_decodable(f"a value of the kind {type(value).__name__}")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise not_decodable("a NUL character inside a text")


def _check_decimal(value: Decimal) -> None:
    try:
        decimal_text(value)
    except ValueError as error:
        raise not_decodable(str(error)) from error


# -- writing


def _written_row(record: Mapping[str, Any]) -> dict[str, Any]:
    row = {}
    for name, value in record.items():
        try:
            row[_sound(name)] = _written(value)
        except ValueError as error:
            raise not_encodable(f"column {quoted(name)}: {error}") from error
    return row


def _written(value: Any) -> Any:
    """Return a value as the formats know it: times as text. Raise ValueError if it has no such form."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Structured):
        return _written(value.value())
    if isinstance(value, str):
        return _sound(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, float):
        float_text(value)
        return value
    if isinstance(value, Decimal):
        decimal_text(value)
        return value
    if isinstance(value, Mapping):
        return {_sound(name): _written(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    return _sound(text_of(value))


def _sound(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character, which most databases cut off silently")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half a character (a lone surrogate)") from error
    return text

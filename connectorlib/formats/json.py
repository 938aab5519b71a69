"""JSON (RFC 8259), stricter than the standard library: no repeated name, NaN, NUL or lone surrogates; exact numbers."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Clamped, Context, DecimalException, Inexact, InvalidOperation, Overflow, Rounded, Subnormal
from typing import Any, NoReturn

from connectorlib.errors import Failed
from connectorlib.formats.body_assembly import BodyAssembly
from connectorlib.formats.strictness import (
    check_count,
    check_size,
    first_repeated,
    not_decodable,
    not_encodable,
    too_deep,
)
from connectorlib.shared_settings import Limits
from connectorlib.values.text import MAX_DIGITS, json_text, quoted, shorten
from connectorlib.values.types import MAX_EXPONENT, MIN_EXPONENT, parse_number

#: Parses a fraction in C, and traps what would be rounded or out of range, which is then parsed again with a message.
_FRACTIONS = Context(
    prec=MAX_DIGITS,
    Emin=MIN_EXPONENT,
    Emax=MAX_EXPONENT,
    traps=[Clamped, Inexact, InvalidOperation, Overflow, Rounded, Subnormal],
)
#: Escapes that may be NUL or a lone surrogate; strict UTF-8 and strict JSON let neither in without one.
_SUSPICIOUS = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_HARMFUL = re.compile("[\0\ud800-\udfff]")
_BOM = "\ufeff"
#: How the parser says where it stopped in a text of one line.
_FIRST_LINE = re.compile(r"\bline 1 column\b")
_SPACE = " \t\r\n"


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError(f"the name {quoted(first_repeated(name for name, _ in pairs))} occurs twice in one object")
    return record


_QUICK = json.JSONDecoder(
    parse_float=_FRACTIONS.create_decimal, parse_constant=_refuse_constant, object_pairs_hook=_unique
)
_THOROUGH = json.JSONDecoder(parse_float=parse_number, parse_constant=_refuse_constant, object_pairs_hook=_unique)


class JsonFormat:
    content_type = "application/json"
    encoding = "utf-8"
    heeds_charset = False  # RFC 8259 section 11: JSON has no such parameter, and is UTF-8

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._value: Callable[[bytes], Any] = self._first_value
        self._objects: Callable[[Sequence[bytes]], list[Any] | None] = self._first_objects

    def decode(self, body: bytes, charset: str | None = None) -> list[Any]:
        check_size(body, self.limits)
        value = self._value(body)
        if type(value) is dict:  # hot path
            return [value]
        records = value if isinstance(value, list) else [value]
        check_count(records, self.limits)
        return records

    def decode_objects(self, bodies: Sequence[bytes]) -> list[Any] | None:
        """Return the only record of each of many bodies, decoded together; None if they are to be decoded one by one,
        because one of them is anything else than an object of plain values."""
        if len(bodies) < 2 or max(map(len, bodies)) > self.limits.body_bytes:
            return None
        return self._objects(bodies)

    def _first_objects(self, bodies: Sequence[bytes]) -> list[Any] | None:
        from connectorlib.formats.quick_json import quick_decode_objects  # late: see below

        self._objects = quick_decode_objects(_FRACTIONS.create_decimal)
        return self._objects(bodies)

    def _first_value(self, body: bytes) -> Any:
        """The first body is decoded without the quick decoder: a process of one message starts sooner."""
        self._value = self._second_value
        return self._thorough_value(body)

    def _second_value(self, body: bytes) -> Any:
        from connectorlib.formats.quick_json import quick_decode  # late: see above

        self._value = quick_decode(self._thorough_value, _FRACTIONS.create_decimal, self._check_nested)
        return self._value(body)

    def _check_nested(self, body: bytes, value: Any) -> None:
        if body.count(b"{") + body.count(b"[") > self.limits.depth:
            _refuse_deep(value, self.limits)

    def _thorough_value(self, body: bytes) -> Any:
        return self._checked(self._text(body))

    def _text(self, body: bytes) -> str:
        try:
            # RFC 8259 section 8.1 lets a reader ignore a byte order mark; .NET writes one.
            return body.decode("utf-8").removeprefix(_BOM).strip(_SPACE)
        except UnicodeDecodeError as error:
            raise not_decodable(str(error)) from error

    def value(self, text: str) -> Any:
        """Return the value of a text that is no body. Raise ValueError."""
        try:
            return self._checked(self._text(text.encode()))
        except Failed as failed:
            raise ValueError(failed.failure.text) from failed

    def _checked(self, text: str) -> Any:
        """Return the value of a text that has no white space around it."""
        value = self._parse(text)
        if text.count("{") + text.count("[") > self.limits.depth:
            _refuse_deep(value, self.limits)
        if "\\" in text and _SUSPICIOUS.search(text):
            _refuse_harmful(value)
        return value

    def _parse(self, text: str) -> Any:
        try:
            value, end = _QUICK.raw_decode(text)
        except DecimalException:
            return self._parse_thoroughly(text)
        except (ValueError, RecursionError) as error:
            raise self._failure(error) from error
        if end < len(text):
            raise not_decodable(f"text behind the value, at character {end + 1}")
        return value

    def _parse_thoroughly(self, text: str) -> Any:
        try:
            return _THOROUGH.decode(text)
        except (ValueError, RecursionError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Failed:
        if isinstance(error, RecursionError):
            return too_deep(self.limits)
        if "integer string conversion" in str(error):
            return not_decodable(f"a number of more than {MAX_DIGITS} digits")
        return not_decodable(str(error))

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return one record as an object, several as a list."""
        try:
            text = json_text(records[0]) if len(records) == 1 else json_text(list(records))
            body = text.encode("utf-8")
        except ValueError as error:
            raise not_encodable(_unwritable_column(records)) from error
        if "\\u0000" in text:
            _refuse_nul(records)
        return body

    def encode_objects(self, records: Sequence[dict[str, Any]]) -> list[bytes] | None:
        """Return what `encode` returns for each of many records; None if they are to be encoded one by one."""
        from connectorlib.formats.quick_json import quick_encode_objects  # late: see above

        return quick_encode_objects(records)

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        """Return how a list is put together."""
        return BodyAssembly(lambda record: self.encode((record,)), lambda count: b"[", b",", b"]")


def parse_json(text: str) -> Any:
    """Return the value of a JSON text, read as strictly as a body. Raise ValueError."""
    return _OF_TEXTS.value(text)


class NdjsonFormat(JsonFormat):
    """One JSON value a line, each of which is a record; blank lines are skipped (https://github.com/ndjson/ndjson-spec)."""

    content_type = "application/x-ndjson"

    def decode_objects(self, bodies: Sequence[bytes]) -> list[Any] | None:
        return None  # a body of one line is rare

    def decode(self, body: bytes, charset: str | None = None) -> list[Any]:
        check_size(body, self.limits)
        records: list[Any] = []
        for number, line in enumerate(self._text(body).split("\n"), 1):
            if text := line.strip(_SPACE):
                try:
                    records.append(self._checked(text))
                except Failed as failed:
                    failure = failed.failure
                    raise Failed(replace(failure, text=shorten(_in_line(number, failure.text)))) from failed
                check_count(records, self.limits)
        return records

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return each record as an object in a line of its own."""
        return b"".join(super(NdjsonFormat, self).encode([record]) + b"\n" for record in records)

    def encode_objects(self, records: Sequence[dict[str, Any]]) -> list[bytes] | None:
        found = super().encode_objects(records)
        return None if found is None else [body + b"\n" for body in found]

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        return BodyAssembly(lambda record: self.encode((record,)), lambda count: b"")


def _in_line(number: int, text: str) -> str:
    """Return what a parser says of a line, with the number of that line in the body."""
    said = _FIRST_LINE.sub(f"line {number} column", text)
    return said if said != text else f"line {number}: {text}"


def _unwritable_column(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the column that cannot be written, and why."""
    for record in records:
        for name, value in record.items():
            try:
                json_text({name: value}).encode("utf-8")
            except UnicodeEncodeError:
                return f"column {quoted(name)}: half a character (a lone surrogate)"
            except ValueError as error:
                return f"column {quoted(name)}: {error}"
    return "a value cannot be written"


def _refuse_nul(records: Sequence[Mapping[str, Any]]) -> None:
    for record in records:
        for name, value in record.items():
            if _any_text([name, value], lambda text: "\0" in text):
                raise not_encodable(f"column {quoted(name)}: a NUL character, which most databases cut off silently")


def _refuse_harmful(value: Any) -> None:
    if _any_text(value, lambda text: _HARMFUL.search(text) is not None):
        raise not_decodable("a NUL character or half a character (a lone surrogate) inside a text")


def _any_text(value: Any, bad: Callable[[str], bool]) -> bool:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if bad(value):
                return True
        elif isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
    return False


def _refuse_deep(value: Any, limits: Limits) -> None:
    """Raise Failed for too deep a value; iterative, so that no depth overflows the stack."""
    level = _containers([value])
    for _ in range(limits.depth):
        level = [inner for outer in level for inner in _containers(outer)]
        if not level:
            return
    raise too_deep(limits)


def _containers(outer: Any) -> list[Any]:
    members = outer.values() if isinstance(outer, dict) else outer
    return [member for member in members if isinstance(member, dict | list)]


_OF_TEXTS = JsonFormat(Limits())


def compile_ndjson(settings: Mapping[str, Any], limits: Limits) -> NdjsonFormat:
    return NdjsonFormat(limits)


def compile_json(settings: Mapping[str, Any], limits: Limits) -> JsonFormat:
    return JsonFormat(limits)

"""JSON as Salesforce writes it, and its errors for bad JSON (those of Jackson)."""

import json
import zlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from werkzeug.routing import Rule
from werkzeug.wrappers import Response

from sfconnector.sandbox import refusals
from sfconnector.sandbox.refusals import ApiError

JSON = "application/json;charset=UTF-8"
#: Python's message: Jackson's, which follows the unexpected character.
_EXPECTED = {
    "Expecting ':' delimiter": "was expecting a colon to separate field name and value",
    "Expecting ',' delimiter": "was expecting comma to separate OBJECT entries",
    "Expecting property name enclosed in double quotes": "was expecting double-quote to start field name",
    "Expecting value": "expected a valid value (number, String, array, object, 'true', 'false' or 'null')",
    "Extra data": "expected end of input",
}
#: Since 3.13 Python reports the comma; before, like Jackson, the bracket behind it.
_TRAILING_COMMA = {
    "Illegal trailing comma before end of object": "Expecting property name enclosed in double quotes",
    "Illegal trailing comma before end of array": "Expecting value",
}


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with a value as JSON."""
    return Response(_text(value), status, headers, content_type=JSON)


def rules(paths: Mapping[str, Mapping[str, Any]]) -> list[Rule]:
    """Return the routes for handlers by path and method."""
    return [
        Rule(path, endpoint=handler, methods=[method])
        for path, methods in paths.items()
        for method, handler in methods.items()
    ]


def page(html: str, status: int) -> Response:
    return Response(html, status, content_type="text/html;charset=UTF-8")


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """Return the body of a request as it was before it was compressed. Raise ValueError if it is not gzip, or is larger
    than `most` bytes."""
    if encoding.strip().lower() != "gzip":
        return body
    unpacking = zlib.decompressobj(wbits=31)
    try:
        plain = unpacking.decompress(body, most + 1)
    except zlib.error as error:
        raise ValueError("the body is not gzip") from error
    if len(plain) > most or not unpacking.eof:
        raise ValueError("the body is too large, or cut off")
    return plain


class JsonBody:
    """The body of a request, parsed at most once."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._read: list[Any] = []  # empty, or the value
        self._error: ApiError | None = None

    @classmethod
    def of(cls, value: object) -> "JsonBody":
        return cls(b"" if value is None else _text(value).encode())

    def read(self) -> Any:
        """Return the value. Raise ApiError (JSON_PARSER_ERROR)."""
        if not self._read and self._error is None:
            try:
                self._read.append(read(self._raw))
            except ApiError as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._read[0]

    def peek(self) -> Any:
        """Return the value, None for bad JSON."""
        try:
            return self.read() if self._raw else None
        except ApiError:
            return None


def read(body: bytes) -> Any:
    """Parse a body; fractions become Decimal. Raise ApiError (JSON_PARSER_ERROR)."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusals.unreadable(f"Invalid UTF-8 start byte 0x{body[error.start]:x} at [line:1, column:1]") from error
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise refusals.unreadable(_complaint(_of_the_bracket(error))) from error
    except (RecursionError, ValueError) as error:  # too deep; a number of too many digits; NaN
        raise refusals.unreadable(f"{error} at [line:1, column:1]") from error


def _of_the_bracket(error: json.JSONDecodeError) -> json.JSONDecodeError:
    if error.msg not in _TRAILING_COMMA:
        return error
    behind = error.doc[error.pos + 1 :].lstrip()
    return json.JSONDecodeError(_TRAILING_COMMA[error.msg], error.doc, len(error.doc) - len(behind))


def _complaint(error: json.JSONDecodeError) -> str:
    at = f"at [line:{error.lineno}, column:{error.colno + 1}]"
    rest = error.doc[error.pos : error.pos + 1]
    if not error.doc.strip():
        return f"The HTTP entity body is required, but this request has no entity body. {at}"
    if not rest:
        return f"Unexpected end-of-input {at}"
    expected = _EXPECTED.get(error.msg.partition(" (")[0], error.msg)
    return f"Unexpected character ('{rest}' (code {ord(rest)})): {expected} {at}"


def _no_constant(name: str) -> Any:
    raise ValueError(f"Non-standard token '{name}'")


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_number)


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON")

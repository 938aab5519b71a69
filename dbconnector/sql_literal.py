"""Values as SQL literals, for people who read what a message would become. Never executed."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from connectorlib.expressions import shorten, text_of

NONE: Mapping[str, str] = MappingProxyType({})
MOST = 200  # characters of one value


def literal(value: Any) -> str:
    """Return a value as a literal; a long one is shortened."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"X'{shorten(bytes(value).hex(), MOST)}'"
    if isinstance(value, int | float | Decimal):
        return shorten(text_of(value), MOST)
    quoted = "'" + shorten(text_of(value), MOST).replace("'", "''") + "'"
    for kind, word in ((datetime, "TIMESTAMP "), (date, "DATE "), (time, "TIME ")):
        if isinstance(value, kind):
            return word + quoted
    return quoted


def statement_lines(
    text: str, values: Mapping[str, Any], known: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Yield the lines of a statement and of its parameters; `known` names those whose value is not known yet."""
    yield from (f"  {line.strip()}" for line in text.splitlines() if line.strip())
    yield f"    {parameters_line(values, known)}"


def parameters_line(values: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """Return the parameters of one execution."""
    shown = (f":{name} = {known.get(name) or literal(value)}" for name, value in values.items())
    return ", ".join(shown) or "no parameters"

"""Values as SQL literals, for people who read what a message would become. Never executed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from connectorlib.expressions import shorten, text_of
from connectorlib.preflight.explanation import MOST_SHOWN

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
    text: str, executions: Sequence[Mapping[str, Any]], known: Mapping[str, str] = NONE
) -> Iterator[str]:
    """Yield the lines of a statement and of the parameters of each execution, of the first ones if there are many;
    `known` describes those whose value is not known yet."""
    yield from (f"  {line.strip()}" for line in text.splitlines() if line.strip())
    for number, values in enumerate(executions[:MOST_SHOWN]):
        shown = ", ".join(f":{name} = {known.get(name) or literal(value)}" for name, value in values.items())
        mark = f"row {number}: " if len(executions) > 1 else ""
        yield f"    {mark}{shown or 'no parameters'}"
    if len(executions) > MOST_SHOWN:
        yield f"    and {len(executions) - MOST_SHOWN} more (--json has them all)"

"""Values as SQL literals, for people who read what a message would become. Never executed."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from connectorlib.expressions import shorten, text_of

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

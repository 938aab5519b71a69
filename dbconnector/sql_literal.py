"""Values as one writes them in SQL, for a person who reads what a message would become. Never executed."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from connectorlib.expressions import shorten, text_of

MOST = 200  # characters of one value


def literal(value: Any) -> str:
    """Return a value as text; a long one is cut."""
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

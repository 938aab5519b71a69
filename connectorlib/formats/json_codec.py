"""JSON of calls and their answers, not of messages: read in half the time that the standard library takes, and written
in a twentieth of the time that `json_text` takes, with the same value. Pure.

What msgspec refuses is left to these two, and so is what it writes otherwise, such as a NaN as null.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from math import isfinite
from typing import Any

from msgspec.json import Decoder, Encoder

from connectorlib.values.text import MAX_DIGITS, json_text

#: Types that msgspec writes as `json_text` does.
_PLAIN = frozenset({str, int, bool, type(None)})
_CONTAINERS = frozenset({dict, list})

_parse = Decoder().decode
_write = Encoder(decimal_format="number").encode


def parse_json(body: bytes | str) -> Any:
    """Return the value of JSON as `json.loads` does. Raise ValueError or RecursionError."""
    try:
        return _parse(body)
    except Exception:  # whatever it is, the other one finds it too
        return json.loads(body)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return an object as JSON in UTF-8, with the value that `json_text` gives it. Raise ValueError."""
    with suppress(Exception):  # such as a lone surrogate, which the other one finds too
        if _is_plain(value):
            return _write(value)
    return json_text(value).encode()


def _is_plain(value: Any) -> bool:
    """Return whether msgspec writes this object as `json_text` does, if it writes it."""
    waiting = [value]
    for each in waiting:  # which grows meanwhile
        members = each.values() if type(each) is dict else each
        if _PLAIN.issuperset(map(type, members)):
            continue
        for member in members:
            if type(member) in _CONTAINERS:
                waiting.append(member)
            elif type(member) not in _PLAIN and not _is_plain_number(member):
                return False
    return True


def _is_plain_number(value: Any) -> bool:
    if type(value) is float:
        return isfinite(value)
    # msgspec writes a large exponent, and digits without end.
    return type(value) is Decimal and value.is_finite() and "E" not in (text := str(value)) and len(text) <= MAX_DIGITS

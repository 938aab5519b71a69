"""Salesforce ids: 15 case-sensitive characters (3 of them the object's prefix), and 3 that encode the case.

The 3 characters make an id safe where case is lost. The sandbox keeps and answers 18 and takes either.
"""

import re
import string
from functools import lru_cache

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
SUFFIX = string.ascii_uppercase + "012345"
#: Between the prefix and the number: the instance and a reserved character.
INSTANCE = "Sb0"
NUMBER_LENGTH = 9

_CAPITALS = frozenset(string.ascii_uppercase)
_SYNTAX = re.compile(r"[0-9A-Za-z]{15}(?:[A-Z0-5]{3})?")


def suffix(short: str) -> str:
    """Return the last 3 characters for an id of 15: each encodes which of 5 characters are capitals."""
    capitals = 0
    for place, character in enumerate(short):
        if character in _CAPITALS:
            capitals |= 1 << place
    return SUFFIX[capitals & 31] + SUFFIX[capitals >> 5 & 31] + SUFFIX[capitals >> 10]


def make(prefix: str, number: int) -> str:
    """Return the id of 18 characters of record `number` of an object."""
    digits = []
    for _ in range(NUMBER_LENGTH):
        number, rest = divmod(number, 62)
        digits.append(DIGITS[rest])
    short = f"{prefix}{INSTANCE}{''.join(reversed(digits))}"
    return short + suffix(short)


def full(text: object) -> str | None:
    """Given an id of 15 or 18 characters, return it with 18; None for anything else."""
    return _full(text) if isinstance(text, str) and len(text) in (15, 18) else None


@lru_cache(4096)
def _full(text: str) -> str | None:
    if not _SYNTAX.fullmatch(text):
        return None
    if len(text) == 15:
        return text + suffix(text)
    return text if text[15:] == suffix(text[:15]) else None

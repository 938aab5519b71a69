"""Durations: `30s`, `5m`, `1h30m`, `250ms`, `30d`."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)\s*")


def parse_duration(text: str) -> float:
    """Return the seconds of `30s`, `5m`, `1h30m`, `250ms` or `2d`. Raise ValueError for any other text, and for 0."""
    at, seconds = 0, 0.0
    text = text.strip()
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            break
        seconds += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if at < len(text) or seconds <= 0:
        raise ValueError("expected a duration such as 30s, 5m, 1h30m or 2d")
    return seconds

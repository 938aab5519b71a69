"""Times and counts in words. Pure."""

from datetime import datetime

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(seconds: float) -> str:
    """Return a duration in its two largest units: `3 s`, `2 h 10 min`, `12 d 4 h`."""
    left = max(0, int(seconds))
    for at, (size, unit) in enumerate(_STEPS):
        if left >= size or size == 1:
            more = left % size // _STEPS[at + 1][0] if size > 1 else 0
            return f"{left // size} {unit}" + (f" {more} {_STEPS[at + 1][1]}" if more else "")
    raise AssertionError("a second is the smallest step")


def moment(text: str, now: datetime) -> str:
    """Return the time of day of an ISO 8601 time, with the date unless it is today."""
    at = datetime.fromisoformat(text)
    return at.strftime("%H:%M" if at.date() == now.date() else "%Y-%m-%d %H:%M")


def since(text: str, now: datetime) -> str:
    """Return a time with its seconds, and how long ago it was."""
    at = datetime.fromisoformat(text)
    shown = at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d %H:%M:%S")
    return f"{shown} ({ago((now - at).total_seconds())} ago)"


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 message`, `2 messages`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

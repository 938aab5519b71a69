"""How far a followed table is read: the interval of one round, the watermark, and rows that come late. Pure.

A position is a value of the column that says when a row was changed: a moment (UTC, without its zone) or a number that
the database counts up. Rows below the *horizon* are complete: no transaction that is still open can add one there. A
round reads `watermark - overlap <= column < horizon`; then the horizon is the watermark. The overlap is for clocks
that the horizon does not know: an application's, or one that is read a moment before its transaction shows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.expressions import text_of
from dbconnector.columns import plain_name
from dbconnector.settings import Follow

Position = datetime | int

#: Seconds of the overlap that are enough where the database sets the column and says which transactions are open.
OWN_CLOCK_S = 1.0
#: Before any position: that of a value which is none, such as PostgreSQL's `-infinity` and MariaDB's zero date.
EARLIEST = datetime.min
#: Digits of a number in a text that sorts like it.
DIGITS = 20
#: AMQP counts the bytes of a message id in one byte.
LONGEST_ID = 255


@dataclass(frozen=True, slots=True)
class Horizon:
    """Below `position` the table is complete. None: a horizon cannot be given now, for the reason in `held_by`."""

    position: Position | None
    #: What keeps it back, for a person; "" if nothing does.
    held_by: str = ""
    #: Whether open transactions were taken into account.
    exact: bool = True
    #: The position of a row that is written now, where that is known.
    latest: Position | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A version of a row that has been published."""

    digest: str
    position: Position


@dataclass(frozen=True, slots=True)
class Interval:
    """What one round reads: `low <= column < high`. No `low`: from the first row on."""

    low: Position | None
    high: Position


def interval(
    watermark: Position, horizon: Horizon, *, overlap_s: float, own_clock: bool = False, digits: int = 6
) -> Interval:
    """Return what to read next.

    `own_clock`: the database sets the column, so a part of the overlap is enough while the horizon is exact. `digits`
    are those of a second that the column keeps.
    """
    high = watermark if horizon.position is None else floored(horizon.position, digits)
    shortened = _overlap(overlap_s, horizon, own_clock=own_clock)
    return Interval(floored(before(watermark, shortened), digits), high if later(high, watermark) else watermark)


def beginning(start: str, horizon: Horizon, digits: int = 6) -> Interval | None:
    """Return what to read first: from the first row on (`beginning`), nothing (`now`), or from a position on. None
    while there is no horizon. Raise ValueError for a text that is no position."""
    if horizon.position is None:
        return None
    high = floored(horizon.position, digits)
    if start == "beginning":
        return Interval(None, high)
    low = high if start == "now" else position_of_text(start)
    return Interval(high if later(low, high) else low, high)


def next_interval(follow: Follow, watermark: Position | None, horizon: Horizon, digits: int) -> Interval | None:
    """Return what a round reads; None while there is no horizon. Raise ValueError for a column of another type."""
    if watermark is None:
        return beginning(follow.start, horizon, digits)
    own_clock = follow.clock == "database"
    return interval(watermark, horizon, overlap_s=follow.overlap_s, own_clock=own_clock, digits=digits)


def resumed(follow: Follow, watermark: Position | None, horizon: Horizon) -> Position | None:
    """Return the watermark to go on from: the horizon if rows that are written now would lie below what is still read,
    because the clock was set back or an older database restored; what is above comes again. Raise ValueError."""
    if watermark is None or horizon.position is None or horizon.latest is None:
        return watermark
    low = before(watermark, _overlap(follow.overlap_s, horizon, own_clock=follow.clock == "database"))
    return horizon.position if later(low, horizon.latest) else watermark


def _overlap(overlap_s: float, horizon: Horizon, *, own_clock: bool) -> float:
    return min(overlap_s, OWN_CLOCK_S) if own_clock and horizon.exact else overlap_s


def later(one: Position, other: Position) -> bool:
    """Return whether one position of a column is above another. Raise ValueError for a moment and a number."""
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one > other
    if isinstance(one, int) and isinstance(other, int):
        return one > other
    raise ValueError("what was read so far, or `from`, is for a column of another type than follow.column has now")


def floored(position: Position, digits: int) -> Position:
    """Return the latest moment not after this one that a column with so many digits of a second holds: a row that is
    written now has at least that. Numbers stay."""
    if isinstance(position, int):
        return position
    step = 10 ** (6 - digits)
    return position.replace(microsecond=position.microsecond // step * step)


def before(position: Position, seconds: float) -> Position:
    """Return the moment so many seconds earlier. Of numbers none comes late."""
    if isinstance(position, int):
        return position
    return position - min(timedelta(seconds=seconds), position - EARLIEST)


def lateness(position: Position, watermark: Position | None) -> float | None:
    """Return by how many seconds a row came after the watermark had passed it; None if it did not."""
    if isinstance(position, datetime) and isinstance(watermark, datetime) and position < watermark:
        return (watermark - position).total_seconds()
    return None


# --- positions as values of a column, and as texts --------------------------------------------------------------------


def moment_of(value: Any) -> datetime:
    """Given a value of a column with times, return the moment: local times count as UTC, which sessions have."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return EARLIEST
    if not isinstance(value, datetime):
        return EARLIEST
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def number_of(value: Any) -> int:
    """Given a value of a column that the database counts up, return the number; bytes are SQL Server's rowversion."""
    return int.from_bytes(value) if isinstance(value, bytes | bytearray) else int(value)


def text_of_position(position: Position) -> str:
    """Return a text that sorts like the position, for the state table."""
    if isinstance(position, int):
        return f"{position:0{DIGITS}d}"
    return position.isoformat(" ", "microseconds")


def position_of_text(text: str) -> Position:
    """Return the position of such a text, or of one that a person has written. Raise ValueError for any other."""
    return int(text) if text.isascii() and text.isdigit() else _given(text)


def _given(text: str) -> datetime:
    try:
        return moment_of(datetime.fromisoformat(text))
    except ValueError:
        raise ValueError(f"{text!r} is neither a moment such as 2026-01-31T08:00:00Z nor a number") from None


# --- rows -------------------------------------------------------------------------------------------------------------


def identity(values: Sequence[Any]) -> str:
    """Given the values of a row's key and of its column, return a text that is the same for this version of the row."""
    return ":".join("null" if value is None else text_of(value) for value in values)


def version(key: Sequence[Any], position: Position) -> Seen:
    """Return what is remembered of a row, given the followed column and the key."""
    return Seen(digest(identity((*key[1:], key[0]))), position)


def message_id(name: str, identity: str) -> str:
    """Return `name:key:column`, which a row that is published again has again; its SHA-256 if it is too long."""
    text = f"{name}:{identity}"
    return text if len(text.encode()) <= LONGEST_ID else hashlib.sha256(text.encode()).hexdigest()


def message_id_of(name: str, columns: Sequence[str], record: Mapping[str, Any]) -> str:
    """Return the message id of a row, given the columns of its key and the one that says when it was changed."""
    lower = {each.lower(): value for each, value in record.items()}
    return message_id(name, identity([lower[plain_name(column).lower()] for column in columns]))


def digest(identity: str) -> str:
    """Return the SHA-256, by which a version of a row is remembered: collations would merge different texts."""
    return hashlib.sha256(identity.encode()).hexdigest()

"""A snapshot of the queue for the lists: of each message what a line needs, never the body. Pure, except `look`."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed
from connectorlib.messages import Delivery
from connectorlib.values.text import cut_bytes
from deadletterqueue import edit_command
from deadletterqueue.group_command import Group, grouped
from deadletterqueue.letter import Letter
from deadletterqueue.list_command import MAX_TEXT
from deadletterqueue.session import Session, failure_text, letters
from deadletterqueue.terminal import Progress

#: Messages of one snapshot; of those behind them only the number is shown.
MOST = 100_000
#: Periods to choose from, which end at the time of the snapshot.
SINCE = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One message. `letter.delivery` has neither body nor headers."""

    #: Position in the queue, from 1 on, at the time of the snapshot. It can only come nearer to the head.
    position: int
    identity: str
    size: int
    letter: Letter


@dataclass(slots=True)
class Snapshot:
    rows: list[Row]
    #: How many messages were in the queue.
    ready: int
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    #: Why it ended early, if it did.
    note: str = ""
    #: Whether something has been done to the queue since.
    outdated: bool = False

    def find(self, identity: str) -> Row | None:
        return next((row for row in self.rows if row.identity == identity), None)


@dataclass(frozen=True, slots=True)
class View:
    """The rows that a page shows: those of a cause, with certain words, of a period; or single ones."""

    group: str = ""
    find: str = ""
    since: str = ""
    letters: tuple[str, ...] = ()
    #: From this time on, and up to that one.
    start: datetime | None = None
    end: datetime | None = None

    @property
    def query(self) -> dict[str, str]:
        """The fields of a link or form that choose these rows; single ones are not in it."""
        times = {"from": self.start, "to": self.end}
        return {"group": self.group, "find": self.find, "since": self.since} | {
            name: time.isoformat().replace("+00:00", "Z") if time else "" for name, time in times.items()
        }

    def period(self, snapshot: Snapshot) -> tuple[datetime | None, datetime | None]:
        """Return from when to when the rows are; None where nothing says so."""
        length = SINCE.get(self.since)
        if self.start or self.end or length is None:
            return self.start, self.end
        return snapshot.at - length, snapshot.at

    def rows(self, snapshot: Snapshot) -> list[Row]:
        if self.letters:
            wanted = frozenset(self.letters)
            return [row for row in snapshot.rows if row.identity in wanted]
        words = self.find.lower().split()
        start, _ = self.period(snapshot)
        return [row for row in snapshot.rows if self._means(row, words, start)]

    def _means(self, row: Row, words: Sequence[str], start: datetime | None) -> bool:
        letter = row.letter
        if self.group and letter.fingerprint != self.group:
            return False
        if start is not None and (letter.time is None or letter.time < start):
            return False
        if self.end is not None and (letter.time is None or letter.time >= self.end):
            return False
        if not words:
            return True
        texts = (letter.reason, letter.code, letter.queue, letter.connector, letter.routing_key, letter.message_id)
        text = "\n".join((*texts, letter.detail, letter.text)).lower()
        return all(word in text for word in words)


def seen(rows: Sequence[Row]) -> str:
    """Return the number of rows and a hash of them: a person decides about what was shown, nothing else."""
    names = blake2b("".join(row.identity for row in rows).encode(), digest_size=8)
    return f"{len(rows)}.{names.hexdigest()}"


def groups(rows: Iterable[Row]) -> list[Group]:
    """Return the causes, the most frequent first."""
    return grouped((row.position, row.letter) for row in rows)


def identity(letter: Letter) -> str:
    """Return the identity of a letter, short enough for an address."""
    return edit_command.identity(letter)[:32]


def look(session: Session, show: Progress) -> Snapshot:
    """Browse the queue and return a snapshot. Ended early, it holds what was seen until then, and why it ended.
    Raise Failed if nothing was seen."""
    started = time.monotonic()
    snapshot = Snapshot([], 0)
    try:
        with session.browse(limit=MOST) as walk:
            snapshot.ready = walk.ready
            for row in _rows(letters(walk)):
                snapshot.rows.append(row)
                show(row.position, walk.total)
            snapshot.note = walk.shortfall
    except Failed as failed:
        if not snapshot.rows:
            raise
        snapshot.note = failure_text(failed)
    except KeyboardInterrupt:
        snapshot.note = "Looking was stopped early."
    snapshot.at = datetime.now(UTC)
    snapshot.seconds = time.monotonic() - started
    return snapshot


def _rows(found: Iterator[Letter]) -> Iterator[Row]:
    kept: dict[str, str] = {}  # most texts come many times

    def one(text: str) -> str:
        return kept.setdefault(text, text)

    for position, letter in enumerate(found, 1):
        delivery = letter.delivery
        properties: Any = _Bare(letter.message_id)
        bare = Delivery(0, 0, delivery.queue, "", "", False, properties, b"", 0.0)
        yield Row(
            position,
            identity(letter),
            len(delivery.body),
            replace(
                letter,
                delivery=bare,
                reason=one(letter.reason),
                code=one(letter.code),
                text=one(cut_bytes(letter.text, MAX_TEXT)),
                detail=one(cut_bytes(letter.detail, MAX_TEXT)),
                queue=one(letter.queue),
                exchange=one(letter.exchange),
                routing_key=one(letter.routing_key),
                connector=one(letter.connector),
                fingerprint=one(letter.fingerprint),
            ),
        )


class _Bare:
    """The properties of a message, reduced to its id."""

    __slots__ = ("message_id",)
    headers = None

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id

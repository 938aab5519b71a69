"""What one look at the queue has seen, kept for the lists: of each message only what a line needs, never a body."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from connectorlib.errors import Failed
from connectorlib.messages import Delivery
from connectorlib.values.text import cut_bytes
from deadletterqueue import edit_command
from deadletterqueue.letter import Letter
from deadletterqueue.list_command import MAX_TEXT, Group, grouped
from deadletterqueue.session import Workbench, letters, told
from deadletterqueue.terminal import Progress

#: Messages of one look; what lies behind them is told by number.
MOST = 100_000
#: How far back a person may want to see; of the time of the look.
SINCE = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}


@dataclass(frozen=True, slots=True)
class Row:
    """One message. `letter.delivery` has neither body nor headers."""

    #: Its place in the queue, from 1 on, at the time of the look. It can only come nearer to the head.
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
    #: Why there are no more rows, when it ended early.
    note: str = ""
    #: Whether something has been done to the queue since.
    outdated: bool = False

    def find(self, identity: str) -> Row | None:
        return next((row for row in self.rows if row.identity == identity), None)


@dataclass(frozen=True, slots=True)
class View:
    """Which rows are meant: those of a cause, with a text in them, not older than so long; or single ones."""

    group: str = ""
    find: str = ""
    since: str = ""
    letters: tuple[str, ...] = ()

    def rows(self, snapshot: Snapshot) -> list[Row]:
        if self.letters:
            wanted = frozenset(self.letters)
            return [row for row in snapshot.rows if row.identity in wanted]
        words, after = self.find.lower().split(), SINCE.get(self.since)
        start = snapshot.at - after if after is not None else None
        return [row for row in snapshot.rows if self._means(row, words, start)]

    def _means(self, row: Row, words: Sequence[str], start: datetime | None) -> bool:
        letter = row.letter
        if self.group and letter.fingerprint != self.group:
            return False
        if start is not None and (letter.time is None or letter.time < start):
            return False
        if not words:
            return True
        told = (letter.reason, letter.code, letter.queue, letter.connector, letter.routing_key, letter.message_id)
        text = "\n".join((*told, letter.detail, letter.text)).lower()
        return all(word in text for word in words)


def seen(rows: Sequence[Row]) -> str:
    """Return how many there are, and what is the same only for just these: a person decides about what was seen."""
    names = blake2b("".join(row.identity for row in rows).encode(), digest_size=8)
    return f"{len(rows)}.{names.hexdigest()}"


def groups(rows: Iterable[Row]) -> list[Group]:
    """Return the causes, the most frequent first."""
    return grouped((row.position, row.letter) for row in rows)


def identity(letter: Letter) -> str:
    """Return what is the same for a letter at every look, short enough for an address."""
    return edit_command.identity(letter)[:32]


def look(bench: Workbench, show: Progress) -> Snapshot:
    """Walk through the queue and keep what lists need. Ended early, it has what was seen until then, and says why.
    Raise Failed when nothing was seen."""
    started = time.monotonic()
    snapshot = Snapshot([], 0)
    try:
        with bench.looker(limit=MOST) as looker:
            snapshot.ready = looker.ready
            for row in _rows(letters(looker)):
                snapshot.rows.append(row)
                show(row.position, looker.total)
    except Failed as failed:
        if not snapshot.rows:
            raise
        snapshot.note = told(failed)
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
    """Properties of a message of which only the id is kept."""

    __slots__ = ("message_id",)
    headers = None

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id

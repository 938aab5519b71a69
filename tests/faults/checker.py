"""What must be true when the day is over. Pure: a history in, the violations out, one text each.

A history is taken at rest: the faults are mended, the queue is drained or the connector has stopped.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: No more than so many ids are named in a violation.
NAMED = 10


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that was attempted."""

    text: str
    #: How many rows of the second statement belong to it.
    parts: int = 0
    #: It cannot be written, and has to end as a dead letter.
    bad: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; `reason` and `code` say why it died."""

    id: int
    reason: str
    code: str = ""


@dataclass(frozen=True)
class Usage:
    """What one process used at one moment: KiB of memory, file descriptors, threads."""

    rss: int
    files: int
    threads: int


@dataclass(frozen=True)
class History:
    attempted: Mapping[int, Sent]
    #: Those that the broker has confirmed. Of the others nobody knows whether they arrived.
    confirmed: frozenset[int]
    #: In the order in which the database got them.
    rows: Sequence[Row] = ()
    #: How many rows of the second statement there are for each id.
    parts: Mapping[int, int] = field(default_factory=dict)
    dead: Sequence[Letter] = ()
    queued: Sequence[int] = ()
    #: Whether what was written is remembered (the inbox, an external id).
    once: bool = True
    #: How many dead letters a crash may have doubled: between the broker's confirm and the acknowledgement.
    dead_twice: int = 0


def lost(history: History) -> list[str]:
    """Every confirmed message is somewhere."""
    found = {row.id for row in history.rows} | {letter.id for letter in history.dead} | set(history.queued)
    return _named("lost", history.confirmed - found)


def unexpected(history: History) -> list[str]:
    """Nothing is anywhere that was never sent."""
    found = {row.id for row in history.rows} | {letter.id for letter in history.dead} | set(history.queued)
    return _named("unexpected", (found | set(history.parts)) - set(history.attempted))


def duplicated(history: History) -> list[str]:
    """With the inbox nothing is written twice."""
    return _named("written more than once", doubles(history)) if history.once else []


def doubles(history: History) -> list[int]:
    """Return the ids that were written more than once, whether that is allowed or not."""
    return [id for id, times in Counter(row.id for row in history.rows).items() if times > 1]


def in_two_places(history: History) -> list[str]:
    """What is written is neither dead nor still in the queue, and what is dead is so once."""
    places = [
        {row.id for row in history.rows} if history.once else set(),
        {letter.id for letter in history.dead},
        set(history.queued),
    ]
    many = Counter(id for place in places for id in place)
    problems = _named("in two places", [id for id, count in many.items() if count > 1])
    # Without the inbox what was written may be in the queue again, but never dead as well.
    if not history.once:
        problems += _named("written and dead", {row.id for row in history.rows} & places[1])
    again = sum(times - 1 for times in Counter(letter.id for letter in history.dead).values())
    if again > history.dead_twice:
        problems.append(f"{again} dead letters too many, {history.dead_twice} allowed")
    return problems


def garbled(history: History) -> list[str]:
    """What is written is what was sent."""
    sent = history.attempted
    return _named("garbled", {row.id for row in history.rows if row.id in sent and row.text != sent[row.id].text})


def misjudged(history: History) -> list[str]:
    """What cannot be written is dead, with a reason; everything else is not."""
    bad = {id for id, sent in history.attempted.items() if sent.bad}
    dead = {letter.id for letter in history.dead}
    settled = history.confirmed - set(history.queued)
    return [
        *_named("bad, and written", bad & {row.id for row in history.rows}),
        *_named("bad, and not dead", (bad & settled) - dead),
        *_named("good, and dead", dead - bad),
        *_named("dead without a reason", {letter.id for letter in history.dead if not letter.reason}),
    ]


def disordered(history: History) -> list[str]:
    """With one consumer, the messages of a key are written in the order in which they were sent."""
    latest: dict[str, int] = {}
    seen: set[int] = set()
    wrong = []
    for row in history.rows:
        key = history.attempted[row.id].key if row.id in history.attempted else ""
        if row.id not in seen and row.id < latest.get(key, row.id):
            wrong.append(row.id)
        seen.add(row.id)
        latest[key] = max(row.id, latest.get(key, row.id))
    return _named("written after a later one", wrong)


def torn(history: History) -> list[str]:
    """A message with several statements is all or nothing."""
    written = Counter(row.id for row in history.rows)
    wrong = [
        id
        for id in {*written, *history.parts}
        if id in history.attempted and history.parts.get(id, 0) != written[id] * history.attempted[id].parts
    ]
    return _named("written in part", wrong)


INVARIANTS: tuple[Callable[[History], list[str]], ...] = (
    lost,
    unexpected,
    duplicated,
    in_two_places,
    garbled,
    misjudged,
    torn,
)


def violations(history: History, *, ordered: bool = False) -> list[str]:
    """Return all that is wrong with a history; its order only if that was promised."""
    checks = (*INVARIANTS, disordered) if ordered else INVARIANTS
    return [problem for check in checks for problem in check(history)]


# What a history of messages does not show


def skipped(marked: Iterable[int], arrived: Iterable[int]) -> list[str]:
    """Of `select`: a row that is marked as sent (or lies below the watermark) has arrived."""
    return _named("marked as sent, and never arrived", set(marked) - set(arrived))


def growing(usages: Sequence[Usage], *, memory: float = 1.25) -> list[str]:
    """After its start a process uses no more and more: its second half peaks where its first half did."""
    if len(usages) < 4:
        return []
    middle = len(usages) // 2
    problems = []
    for name, most in (("rss", memory), ("files", 1.0), ("threads", 1.0)):
        before, after = (max(getattr(each, name) for each in half) for half in (usages[:middle], usages[middle:]))
        # A connection that is just being made or closed has a file and a thread of its own.
        if after > before * most + (0 if name == "rss" else 3):
            problems.append(f"{name} grew from {before} to {after}")
    return problems


def told(log: str, secrets: Iterable[str]) -> list[str]:
    """No secret is in a log."""
    return [f"secret number {number} is in the log" for number, secret in enumerate(secrets) if secret in log]


@dataclass(frozen=True)
class Counts:
    """The numbers of a run, for a person."""

    attempted: int
    confirmed: int
    written: int
    dead_lettered: int
    in_queue: int
    #: Not confirmed, and there all the same.
    recovered: int
    duplicated: int
    lost: int
    unexpected: int

    def __str__(self) -> str:
        return " ".join(f"{name.replace('_', '-')} {value}" for name, value in vars(self).items())


def counts(history: History) -> Counts:
    written = {row.id for row in history.rows}
    dead = {letter.id for letter in history.dead}
    found = written | dead | set(history.queued)
    return Counts(
        attempted=len(history.attempted),
        confirmed=len(history.confirmed),
        written=len(written),
        dead_lettered=len(dead),
        in_queue=len(history.queued),
        recovered=len((found & set(history.attempted)) - history.confirmed),
        duplicated=len(doubles(history)),
        lost=len(history.confirmed - found),
        unexpected=len(found - set(history.attempted)),
    )


def _named(what: str, ids: Iterable[int]) -> list[str]:
    """Return one text for all of these, or none."""
    found = sorted(ids)
    if not found:
        return []
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return [f"{what}: {', '.join(map(str, found[:NAMED]))}{more}"]

"""What somebody is told about, and when: pauses that last, their end, and new dead letters. Pure.

It compares what was told with what is, so a notice that came too late for one round is in the next one. Times are
monotonic seconds given by the caller.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.monitoring.humanize import ago, counted

#: How long dead letters are collected after the first one, so that a burst is one notice; never longer than `every`.
COLLECT_S = 10.0
#: How many codes of dead letters a notice names.
MOST_CODES = 5


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause of a flow, or of one of the targets that share it."""

    name: str
    since: float
    cause: str
    text: str
    do: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is seen of all flows at one moment: their pauses, and the dead letters of each since the start, by code."""

    paused: Sequence[Paused]
    dead: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. `event` is `paused`, `resumed`, `ended` or `dead-letters`; `fields` are its plain values."""

    event: str
    text: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class _Deaths:
    """The dead letters of one flow: how many were told, by code; since when there are others; when they were told."""

    told: Counter[str]
    waiting_since: float | None = None
    told_at: float = float("-inf")


class NoticeBoard:
    """Remembers what was told. `after`: how long a pause lasts before it is told; `every`: the shortest time between
    two notices about the dead letters of one flow; both in seconds."""

    def __init__(self, program: str, file: str, *, after: float, every: float) -> None:
        self._program = program
        self._file = file
        self._after = after
        self._every = every
        self._pauses: dict[str, Paused] = {}
        self._deaths: dict[str, _Deaths] = {}

    def notices(self, seen: Sighting, now: float) -> list[Notice]:
        """Return what is to be told now, and take it for told."""
        return [*self._ends(seen, now), *self._beginnings(seen, now), *self._new_dead(seen, now)]

    def farewell(self, now: float, why: str) -> list[Notice]:
        """Return a notice for each pause that was told, at the end of the process or of its configuration."""
        found = [
            self._notice("ended", each, f"{why} while paused for {ago(now - each.since)}", now)
            for each in self._pauses.values()
        ]
        self._pauses.clear()
        return found

    def _ends(self, seen: Sighting, now: float) -> list[Notice]:
        lasting = {each.name for each in seen.paused}
        ended = [each for name, each in self._pauses.items() if name not in lasting]
        for each in ended:
            del self._pauses[each.name]
        return [self._notice("resumed", each, f"resumed after {ago(now - each.since)}", now) for each in ended]

    def _beginnings(self, seen: Sighting, now: float) -> list[Notice]:
        new = [each for each in seen.paused if now - each.since >= self._after and each.name not in self._pauses]
        self._pauses |= {each.name: each for each in new}
        return [
            self._notice(
                "paused", each, f"paused for {ago(now - each.since)}: {each.cause} {each.text}: {each.do}", now
            )
            for each in new
        ]

    def _notice(self, event: str, pause: Paused, text: str, now: float) -> Notice:
        fields = {"flow": pause.name, "cause": pause.cause, "problem": pause.text, "do": pause.do}
        return Notice(event, self._sentence(pause.name, text), {**fields, "seconds": round(now - pause.since)})

    def _new_dead(self, seen: Sighting, now: float) -> list[Notice]:
        found = []
        for flow, dead in seen.dead.items():
            deaths = self._deaths.setdefault(flow, _Deaths(Counter()))
            new = Counter(dead) - deaths.told
            if not new:
                continue
            if deaths.waiting_since is None:
                deaths.waiting_since = now
            collected = deaths.waiting_since + min(COLLECT_S, self._every)
            if now >= max(collected, deaths.told_at + self._every):
                self._deaths[flow] = _Deaths(Counter(dead), None, now)
                found.append(self._about_dead(flow, new))
        return found

    def _about_dead(self, flow: str, new: Counter[str]) -> Notice:
        codes = ", ".join(f"{code} × {count}" for code, count in new.most_common(MOST_CODES))
        more = f" and {counted(len(new) - MOST_CODES, 'other code')}" if len(new) > MOST_CODES else ""
        look = f"see `deadletter-queue group -c {self._file}`"
        text = f"{counted(new.total(), 'message')} dead-lettered: {codes}{more}: {look}"
        return Notice("dead-letters", self._sentence(flow, text), {"flow": flow, "codes": dict(new), "do": look})

    def _sentence(self, flow: str, text: str) -> str:
        return f"{self._program} {flow}: {text}"

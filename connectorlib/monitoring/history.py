"""What each flow did in each minute of the last hours, in memory, and drawings of it. Pure: callers pass the time."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from connectorlib.dataclass import dataclass

MINUTE_S = 60.0
HOURS = 6
MINUTES = HOURS * 60
#: The height of a drawing; its width is one unit for each minute.
HEIGHT = 40
#: The least height of what is not 0, so that it is visible beside what is large.
LEAST = 1.5


@dataclass(frozen=True, slots=True)
class FlowReading:
    """The figures of a flow at one moment; counts and seconds since the start. `waiting` is None while unknown."""

    flow: str
    written: int
    dead: int
    batches: int
    batch_seconds: float
    waiting: int | None
    paused: bool


@dataclass(slots=True)
class Minute:
    """What happened within one minute. `number` counts minutes of the monotonic clock."""

    number: int
    written: int = 0
    dead: int = 0
    batches: int = 0
    batch_seconds: float = 0.0
    waiting: int | None = None
    paused: bool = False

    @property
    def batch_ms(self) -> float | None:
        """The mean time of a batch in milliseconds, None without any."""
        return self.batch_seconds / self.batches * 1000 if self.batches else None


@dataclass(frozen=True, slots=True)
class Bar:
    x: int
    height: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure over the last hours: a bar for each minute, the newest on the right."""

    title: str
    bars: Sequence[Bar]
    highest: float
    latest: float | None


@dataclass(frozen=True, slots=True)
class FlowDrawings:
    """All drawings of a flow, and when it was paused: first minute and number of minutes of each pause."""

    flow: str
    drawings: Sequence[Drawing]
    pauses: Sequence[tuple[int, int]]


class History:
    """The last hours of each flow, minute by minute. Bounded: old minutes are dropped."""

    def __init__(self) -> None:
        self._minutes: dict[str, deque[Minute]] = {}
        self._before: dict[str, FlowReading] = {}

    def add(self, readings: Iterable[FlowReading], now: float) -> None:
        """Add what has happened since the last call; `now` in monotonic seconds, never less than before."""
        for each in readings:
            minutes = self._minutes.setdefault(each.flow, deque(maxlen=MINUTES))
            number = int(now // MINUTE_S)
            if not minutes or minutes[-1].number != number:
                minutes.append(Minute(number))
            minute, before = minutes[-1], self._before.get(each.flow)
            if before is not None:
                minute.written += each.written - before.written
                minute.dead += each.dead - before.dead
                minute.batches += each.batches - before.batches
                minute.batch_seconds += each.batch_seconds - before.batch_seconds
            minute.waiting = each.waiting
            minute.paused = minute.paused or each.paused
            self._before[each.flow] = each

    def drawings(self, now: float) -> list[FlowDrawings]:
        """Return what is to be drawn, a flow each."""
        last = int(now // MINUTE_S)
        return [_flow(name, list(minutes), last) for name, minutes in self._minutes.items()]


#: What is drawn of each minute.
_DRAWN: dict[str, Callable[[Minute], float | None]] = {
    "written per minute": lambda minute: minute.written,
    "milliseconds per batch": lambda minute: minute.batch_ms,
    "waiting in the queue": lambda minute: minute.waiting,
    "dead-lettered per minute": lambda minute: minute.dead,
}


def _flow(name: str, minutes: Sequence[Minute], last: int) -> FlowDrawings:
    shown = [minute for minute in minutes if last - minute.number < MINUTES]
    drawings = [
        _drawing(title, [(minute.number, value(minute)) for minute in shown], last) for title, value in _DRAWN.items()
    ]
    return FlowDrawings(name, drawings, _pauses([minute.number for minute in shown if minute.paused], last))


def _drawing(title: str, values: Sequence[tuple[int, float | None]], last: int) -> Drawing:
    known = [(number, value) for number, value in values if value is not None]
    highest = max((value for _, value in known), default=0.0)
    bars = [Bar(_x(number, last), max(LEAST, round(value / highest * HEIGHT, 1))) for number, value in known if value]
    return Drawing(title, bars, highest, known[-1][1] if known and known[-1][0] == last else None)


def _pauses(numbers: Sequence[int], last: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        x = _x(number, last)
        if found and sum(found[-1]) == x:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((x, 1))
    return found


def _x(number: int, last: int) -> int:
    return MINUTES - 1 - (last - number)

"""When dead letters died: how many in each part of a period, stacked by cause. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import floor

from connectorlib.dataclass import dataclass
from deadletterqueue.letter import Letter

#: Parts of a period at most, besides those that it touches only in part: one has to be wide enough for a finger.
MOST = 48
#: How long a part may be, in seconds; then in steps of the last.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)
#: Causes that have a colour of their own, the most frequent first; all others share the next colour.
COLOURS = 6
#: The size of a drawing, and the least height of what is not 0, so that it is visible beside what is large.
WIDTH, HEIGHT, LEAST = 480, 120, 2.0
#: Labels below a drawing.
_LABELS = 5


@dataclass(frozen=True, slots=True)
class Layer:
    """The letters of one colour within one bucket."""

    colour: int
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """One part of a period: from `start` up to `end`, which belongs to the next."""

    start: datetime
    end: datetime
    count: int
    x: float
    width: float
    layers: Sequence[Layer]


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The drawing. Buckets without letters are left out."""

    start: datetime
    end: datetime
    #: Seconds of a bucket.
    step: int
    total: int
    highest: int
    buckets: Sequence[Bucket]
    #: Letters whose time is unknown, or not within the period.
    left_out: int
    utc_offset_s: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def labels(self) -> list[str]:
        """Return times at equal distances, the first at the left edge and the last at the right one."""
        begin, end = self.start.timestamp(), self.end.timestamp()
        form = "%Y-%m-%d" if self.step >= 86400 else "%m-%d %H:%M" if end - begin > 86400 else "%H:%M"
        form += ":%S" if self.step < 60 else ""
        return [_local(begin + (end - begin) * at / (_LABELS - 1), form) for at in range(_LABELS)]


def colours(letters: Iterable[Letter]) -> dict[str, int]:
    """Return the colour of each cause that has one of its own, by its fingerprint."""
    counts = Counter(letter.fingerprint for letter in letters)
    first = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:COLOURS]
    return {fingerprint: at for at, (fingerprint, _) in enumerate(first)}


def time_axis(
    letters: Sequence[Letter],
    colour_of: Mapping[str, int],
    start: datetime | None = None,
    end: datetime | None = None,
    utc_offset_s: int = 0,
    least: float = LEAST,
) -> TimeAxis | None:
    """Return when letters died between two times; without these, from the first to the last. None if there is no period
    to draw. Buckets begin at round times where local time is `utc_offset_s` ahead. `least` is the height of a layer at
    least."""
    times = [(letter.time.timestamp(), letter.fingerprint) for letter in letters if letter.time is not None]
    seconds = [at for at, _ in times]
    if not (times or (start and end)):
        return None
    begin = floor(start.timestamp() if start else min(seconds, default=end.timestamp() if end else 0))
    stop = end.timestamp() if end else max(seconds, default=float(begin)) + 1
    if stop <= begin:
        return None
    step = step_of(int(stop) - begin)
    origin = begin - (begin + utc_offset_s) % step
    number = int(-((origin - stop) // step))
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for at, fingerprint in times:
        if 0 <= (bucket := int((at - origin) // step)) < number:
            counts[bucket][colour_of.get(fingerprint, COLOURS)] += 1
    totals = {bucket: each.total() for bucket, each in counts.items()}
    highest = max(totals.values(), default=0)
    width = WIDTH / number
    buckets = [
        Bucket(
            start=_instant(origin + bucket * step),
            end=_instant(origin + (bucket + 1) * step),
            count=totals[bucket],
            x=round(bucket * width, 2),
            width=round(width, 2),
            layers=_stacked(counts[bucket], highest, least),
        )
        for bucket in sorted(counts)
    ]
    return TimeAxis(
        start=_instant(origin),
        end=_instant(origin + number * step),
        step=step,
        total=(total := sum(totals.values())),
        highest=highest,
        buckets=buckets,
        left_out=len(letters) - total,
        utc_offset_s=utc_offset_s,
    )


def step_of(seconds: float) -> int:
    """Return how long a bucket of a period is: the shortest with at most `MOST` in it."""
    fitting = next((step for step in _STEPS if seconds <= step * MOST), None)
    return fitting or int(-(-seconds // (_STEPS[-1] * MOST))) * _STEPS[-1]


def _stacked(counts: Mapping[int, int], highest: int, least: float) -> list[Layer]:
    """Return the layers of a bucket, the most frequent cause at the bottom."""
    layers, y = [], float(HEIGHT)
    room = HEIGHT - least * (len(counts) - 1)  # each layer may be drawn higher than it is, by this
    for colour, count in sorted(counts.items()):
        height = max(count / highest * room, least)
        y -= height
        layers.append(Layer(colour, count, round(y, 2), round(height, 2)))
    return layers


def _instant(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # at the ends of the calendar
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)


def _local(seconds: float, form: str) -> str:
    instant = _instant(seconds)
    try:
        return instant.astimezone().strftime(form)
    except (OverflowError, ValueError, OSError):  # as above
        return instant.strftime(form)

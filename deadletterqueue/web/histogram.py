"""When dead letters died, as a row of small bars. Counting is pure; the picture is SVG without styles of its own."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from deadletterqueue.terminal import local
from deadletterqueue.web.html import html, joined

BARS = 40
WIDTH, HEIGHT = 200, 28
#: A bar for a single one is still seen beside one for a hundred thousand.
LOWEST = 2.5


def counted(times: Iterable[datetime], first: datetime, last: datetime, bars: int = BARS) -> list[int]:
    """Return how many there are in each of the equal parts of the time from first to last, both included."""
    counts = [0] * bars
    whole = (last - first).total_seconds()
    for time in times:
        at = int((time - first).total_seconds() / whole * bars) if whole > 0 else 0
        if 0 <= at <= bars:
            counts[min(at, bars - 1)] += 1
    return counts


def timeline(times: Sequence[datetime], first: datetime | None, last: datetime | None) -> Markup:
    """Return the picture; nothing where no time is known."""
    if first is None or last is None or not times:
        return Markup()
    counts = counted(times, first, last)
    step = (last - first) / BARS
    return html(
        '<svg class="timeline" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img"'
        ' aria-label="{label}"><line x1="0" x2="{width}" y1="{height}" y2="{height}"/>{bars}</svg>',
        width=WIDTH,
        height=HEIGHT,
        label=f"{len(times):,} between {local(first)} and {local(last)}",
        bars=joined(_bar(at, count, max(counts), first + at * step, step) for at, count in enumerate(counts) if count),
    )


def _bar(at: int, count: int, most: int, start: datetime, step: timedelta) -> Markup:
    width = WIDTH / BARS
    height = max(count / most * (HEIGHT - 2), LOWEST)
    return html(
        '<rect x="{x}" y="{y}" width="{width}" height="{height}"><title>{title}</title></rect>',
        x=f"{at * width + 0.5:.1f}",
        y=f"{HEIGHT - height:.1f}",
        width=f"{width - 1:.1f}",
        height=f"{height:.1f}",
        title=f"{count:,} from {local(start)} to {local(start + step)}",
    )

"""How long to wait before the next attempt. Pure: it knows no clock, and chance is given."""

from connectorlib.dataclass import dataclass

_MOST_DOUBLINGS = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `first` to `longest` seconds. Jitter takes off up to that share of each (0 to 1), but
    leaves at least `least` seconds, so that many connectors do not come back at the same moment."""

    first: float
    longest: float
    jitter: float = 0.5
    least: float = 0.0

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait before an attempt; the first is 0. `chance` is in [0, 1]."""
        most = min(self.longest, self.first * 2.0 ** min(attempt, _MOST_DOUBLINGS))
        least = max(self.least, most * (1 - self.jitter))
        return least + (most - least) * chance

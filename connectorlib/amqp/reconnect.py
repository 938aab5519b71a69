"""Which host to try next, and after how long. Pure: it knows no clock, and its random source is given."""

from collections.abc import Sequence
from random import Random

from connectorlib.errors import Kind
from connectorlib.values.backoff import Backoff

#: A connection that lasted this long counts as a success; a shorter one must not reset the back-off, or a broker that
#: hangs up after the handshake would be hammered.
LASTING_SECONDS = 10.0

#: Full jitter for an outage, which every connector notices at once.
_OUTAGE = Backoff(0.5, 30.0, jitter=1.0, least=0.05)
#: A refusal concerns this connector alone, and must stay slow.
_REFUSALS = {Kind.REFUSED: Backoff(5.0, 300.0), Kind.CONFIGURATION: Backoff(2.0, 60.0)}


class ReconnectSchedule:
    """Hosts in a random order, so that many connectors do not all begin with the first; then in turn, without end."""

    def __init__(self, hosts: Sequence[tuple[str, int]], random: Random) -> None:
        self._hosts = random.sample(list(hosts), len(hosts))
        self._random = random
        self._at = -1
        self._failures = 0

    def next_host(self) -> tuple[str, int]:
        self._at = (self._at + 1) % len(self._hosts)
        return self._hosts[self._at]

    def reset(self) -> None:
        self._failures = 0

    def delay_after(self, kind: Kind, lasted: float = 0.0) -> float:
        """Given how an attempt ended and how long the connection had been open, return the seconds to wait."""
        if lasted >= LASTING_SECONDS:
            self._failures = 0
        self._failures += 1
        rounds, within = divmod(self._failures, len(self._hosts))
        if within and kind not in _REFUSALS:
            return self._random.uniform(0.0, 0.2)  # the other hosts of this round have not been asked yet
        return delay(kind, rounds, self._random.random())


def delay(kind: Kind, failures: int, chance: float) -> float:
    """Return the seconds to wait after so many failures of this kind; `chance` is in [0, 1]."""
    return _REFUSALS.get(kind, _OUTAGE).delay(failures, chance)

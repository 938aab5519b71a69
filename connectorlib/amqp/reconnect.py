"""Which host to try next, and after how long. Pure: it knows no clock, and its random source is given."""

from collections.abc import Sequence
from random import Random

from connectorlib.errors import Kind

#: A connection that lasted this long counts as a success; a shorter one must not reset the back-off,
#: or a broker that hangs up after the handshake would be hammered.
LASTING_SECONDS = 10.0

_FIRST = {Kind.REFUSED: 5.0, Kind.CONFIGURATION: 2.0}
_LONGEST = {Kind.REFUSED: 300.0, Kind.CONFIGURATION: 60.0}


class ReconnectSchedule:
    """Hosts in a random order, so that many connectors do not all begin with the first; then in turn, for ever."""

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
        if within and kind not in _FIRST:
            return self._random.uniform(0.0, 0.2)  # the other hosts of this round have not been asked yet
        longest = min(_LONGEST.get(kind, 30.0), _FIRST.get(kind, 0.5) * 2.0 ** min(rounds, 12))
        # Full jitter for an outage, which everybody sees at once; a refusal is ours alone and must stay slow.
        return self._random.uniform(longest / 2 if kind in _FIRST else 0.05, longest)

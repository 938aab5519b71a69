"""Which tags of one channel still have to be settled, and how to settle them with few frames. Pure.

The broker closes the channel (406) when an ack names a tag that it does not hold any more, and a multiple ack
settles everything below its tag. So a multiple ack may only name a tag that is unacked until now, and only one
below which nothing is unsettled.
"""

from collections.abc import Iterable


class PendingAcks:
    """The tags of one channel that hold a delivery; they count from 1 without gaps, for it has one consumer.

    It keeps what is unsettled rather than what is settled: that is never more than the prefetch, even when one
    message is held for minutes while others pass it.
    """

    def __init__(self) -> None:
        self._known = 0
        self._unsettled: set[int] = set()
        #: Settled, but not acked yet.
        self._later: set[int] = set()
        self.settled = 0

    @property
    def waiting(self) -> int:
        """How many are settled and not acked: for want of `due` or, above something that is not settled, `singles`."""
        return len(self._later)

    def settle(self, tags: Iterable[int]) -> None:
        """Note that these are done with. Tags that were settled before are left out."""
        wanted = set(tags)
        if not wanted:
            return
        self._extend(max(wanted))
        new = wanted & self._unsettled
        self._unsettled -= new
        self.settled += len(new)
        self._later |= new

    def due(self) -> int:
        """Return up to which tag to ack all now; 0: none."""
        lowest = min(self._unsettled, default=self._known + 1)
        below = {tag for tag in self._later if tag < lowest}
        self._later -= below
        return max(below, default=0)

    def singles(self) -> list[int]:
        """Return what waits, to be acked one by one now."""
        found, self._later = sorted(self._later), set()
        return found

    def _extend(self, highest: int) -> None:
        if highest > self._known:
            self._unsettled.update(range(self._known + 1, highest + 1))
            self._known = highest

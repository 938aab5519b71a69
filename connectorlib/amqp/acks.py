"""Which deliveries of one channel still need an ack, and how to acknowledge them with few frames. Pure.

The broker closes the channel (406) when an ack names a tag that it no longer holds, and a multiple ack acknowledges
everything up to its tag. So a multiple ack may only name a tag that is not acknowledged yet, with nothing unsettled
below it.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

_NONE = range(0)


class PendingAcks:
    """The delivery tags of one channel, which count from 1 without gaps because the channel has one consumer.

    It stores what is unsettled rather than what is settled: that is never more than the prefetch, even when one message
    is held for minutes while others pass it.
    """

    def __init__(self) -> None:
        self._highest = 0
        self._unsettled: set[int] = set()
        #: Settled, but not acknowledged yet.
        self._pending: set[int] = set()
        #: The same while there is nothing else: a batch whose tags follow each other is all that there is.
        self._run = _NONE
        self.settled = 0

    @property
    def waiting(self) -> int:
        """How many deliveries are settled but not acknowledged."""
        return len(self._pending) + len(self._run)

    def unacknowledged(self, delivered: int, above: int = 0) -> int:
        """Return how many of the tags above `above`, up to `delivered`, are not acknowledged."""
        known = sum(tag > above for tag in chain(self._unsettled, self._pending, self._run))
        return known + delivered - max(self._highest, above)

    def settle(self, tags: Sequence[int]) -> None:
        """Note that these deliveries are done; ignore those that were settled before."""
        run = range(self._highest + 1, self._highest + 1 + len(tags))
        if not (self._unsettled or self._pending or self._run) and list(tags) == list(run):  # nearly always
            self._highest += len(run)
            self.settled += len(run)
            self._run = run
            return
        self._break_run()
        wanted = set(tags)
        if not wanted:
            return
        self._extend(max(wanted))
        new = wanted & self._unsettled
        self._unsettled -= new
        self.settled += len(new)
        self._pending |= new

    def reject(self, tags: Iterable[int]) -> None:
        """Note that these are done, and need no ack because they are rejected."""
        tags = list(tags)
        self.settle(tags)
        self._break_run()
        self._pending.difference_update(tags)

    def due(self) -> int:
        """Return the tag up to which a multiple ack is due now; 0 if none is."""
        if self._run:
            run, self._run = self._run, _NONE
            return run[-1]
        lowest = min(self._unsettled, default=self._highest + 1)
        below = {tag for tag in self._pending if tag < lowest}
        self._pending -= below
        return max(below, default=0)

    def singles(self) -> list[int]:
        """Return the pending tags, to be acknowledged one by one now."""
        self._break_run()
        found, self._pending = sorted(self._pending), set()
        return found

    def _break_run(self) -> None:
        self._pending.update(self._run)
        self._run = _NONE

    def _extend(self, highest: int) -> None:
        if highest > self._highest:
            self._unsettled.update(range(self._highest + 1, highest + 1))
            self._highest = highest

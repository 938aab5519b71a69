"""Which tags of one channel still have to be settled, and how to settle them with few frames. Pure.

The broker closes the channel (406) when an ack names a tag that it does not hold any more, and a multiple ack
settles everything below its tag. So a multiple ack may only name a tag that is unacked until now, and only one
below which nothing is unsettled.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Acks(NamedTuple):
    """One multiple ack up to `up_to` (0: none), then one ack for each of `singles`."""

    up_to: int
    singles: list[int]


class Ledger:
    """The tags of one channel that hold a delivery; they count from 1 without gaps, for it has one consumer.

    It keeps what is unsettled rather than what is settled: that is never more than the prefetch, even when one
    message is held for minutes while others pass it.
    """

    def __init__(self) -> None:
        self._known = 0
        self._unsettled: set[int] = set()
        self.settled = 0

    def settle(self, tags: Iterable[int]) -> Acks:
        """Given tags that are done with, return how to ack them. Tags that were settled before are left out."""
        wanted = set(tags)
        if not wanted:
            return Acks(0, [])
        self._extend(max(wanted))
        new = wanted & self._unsettled
        self._unsettled -= new
        self.settled += len(new)
        if not self._unsettled:
            return Acks(max(new, default=0), [])
        lowest = min(self._unsettled)
        return Acks(max((tag for tag in new if tag < lowest), default=0), sorted(tag for tag in new if tag > lowest))

    def _extend(self, highest: int) -> None:
        if highest > self._known:
            self._unsettled.update(range(self._known + 1, highest + 1))
            self._known = highest

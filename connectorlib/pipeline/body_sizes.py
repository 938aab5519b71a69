"""How many messages to have in hand, given the bytes that their bodies may take together. Pure.

Rule: as many as fit at the mean size of those seen. It begins with as many as surely fit, since nothing is known of the
first, and grows as fast as there is evidence. That is a forecast; what holds the bytes whatever comes is
`amqp.receive_window`.
"""

from collections.abc import Sequence

from connectorlib.dataclass import dataclass, replace

#: With so many it begins where no size is known to be the largest; for each message seen it may have so many in hand.
FIRST = 32
#: How many messages the mean remembers.
MEMORY = 1_000
#: How many times the prefetch has to pass before it grows again after bodies that did not fit.
CALM = 20


@dataclass(frozen=True, slots=True)
class BodySizes:
    """What has been seen of the sizes of bodies, and the prefetch that follows."""

    #: The prefetch at most, and the bytes that bodies may take.
    most: int
    room: int
    prefetch: int
    seen: int = 0
    #: Bytes.
    mean: float = 0.0
    #: How many messages have to pass before the prefetch may grow.
    patience: int = 0

    @classmethod
    def unknown(cls, most: int, room: int, largest: int | None) -> "BodySizes":
        """Return what to begin with, where no body that will pass is larger than `largest`."""
        fitting = FIRST if largest is None else max(1, room // largest)
        return cls(most, room, min(most, fitting))

    def after(self, number: int, size: int) -> "BodySizes":
        """Return what follows from so many more messages, whose bodies have so many bytes together."""
        known = min(self.seen, MEMORY)
        mean = (self.mean * known + size) / (known + number)
        passed = replace(self, seen=self.seen + number, mean=mean, patience=max(0, self.patience - number))
        prefetch = passed._fitting(self.prefetch)
        if prefetch == self.prefetch <= passed.seen and not passed.patience:
            evidence = FIRST * passed.seen
            while prefetch < self.most and 2 * prefetch * mean <= self.room * 3 / 4 and 2 * prefetch <= evidence:
                prefetch = min(2 * prefetch, self.most)
        return replace(passed, prefetch=prefetch)

    def several(self, most: int, queues: int = 1) -> int:
        """Return how many messages fit at the mean size seen: of each queue two at least, and so many at most."""
        return queues * max(2, min(most, int(self.room / queues / max(self.mean, 1.0))))

    def after_overflow(self, fitted: int, sizes: Sequence[int]) -> "BodySizes":
        """Return what follows when only so many messages fitted into the room, and then came some of these sizes."""
        larger = replace(self, seen=len(sizes), mean=sum(sizes) / len(sizes))
        prefetch = larger._fitting(max(1, min(self.prefetch, fitted)))
        return replace(larger, prefetch=prefetch, patience=CALM * prefetch)

    def _fitting(self, prefetch: int) -> int:
        while prefetch > 1 and prefetch * self.mean > self.room:
            prefetch //= 2
        return prefetch

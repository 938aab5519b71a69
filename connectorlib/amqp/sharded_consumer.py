"""Consumes the shards of a source as if they were one queue.

Rule: all shards or none. Each has a channel of its own, and their deliveries come in one line; to the worker they are
of one generation, and their tags say which shard they are of. When one shard is lost, so is the generation: the worker
lets its calls end, requeues what the others hold, and opens all of them again.
"""

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

from connectorlib.amqp.arrivals import Arrivals, Line, arrived_first, first_of
from connectorlib.amqp.consumer import Consumer
from connectorlib.amqp.shards import priority
from connectorlib.amqp.subscription import next_number
from connectorlib.errors import Failed
from connectorlib.messages import Delivery

T = TypeVar("T")


@cache
def process_name() -> str:
    """Return what this process is called among those that share the shards: no other has the same, even where
    containers have the same name and number."""
    return f"{socket.gethostname()}-{os.getpid()}-{os.urandom(2).hex()}"


class ShardedConsumer:
    """What a `Consumer` is to one queue."""

    def __init__(self, queue: str, shards: Sequence[Consumer]) -> None:
        self.queue = queue
        self.queues = tuple(shard.queue for shard in shards)
        self.prefetch_bytes = sum(shard.prefetch_bytes for shard in shards)
        self.body_bytes = shards[0].body_bytes
        self._shards = shards
        self._arrivals = Arrivals()
        self._line = Line()
        self._generation = 0
        #: The subscription of each shard; none: they are not open.
        self._numbers: Sequence[int] = ()
        self._latest: list[float | None] = [None] * len(shards)
        self._prefetch = sum(shard.prefetch for shard in shards)
        for shard in shards:
            shard.name = process_name()
            shard.priority = priority(shard.name, shard.queue)

    @property
    def active(self) -> bool:
        return bool(self._numbers) and all(shard.active for shard in self._shards)

    @property
    def generation(self) -> int:
        return self._generation if self.is_current(self._generation) else 0

    @property
    def held(self) -> int:
        return sum(shard.held for shard in self._shards)

    @property
    def waiting(self) -> int:
        return len(self._line) if self.active else 0

    @property
    def oldest(self) -> float | None:
        return arrived_first(self._line) if self.active else None

    def peek(self, most: int) -> Sequence[Delivery]:
        return first_of(self._line, most) if self.active else ()

    @property
    def is_full(self) -> bool:
        """Whether the part of a shard is used up."""
        return any(shard.is_full for shard in self._shards)

    @property
    def has_unread(self) -> bool:
        return any(shard.has_unread for shard in self._shards)

    @property
    def fewest_bodies(self) -> int:
        """Of each shard."""
        return self._shards[0].fewest_bodies

    @fewest_bodies.setter
    def fewest_bodies(self, fewest: int) -> None:
        for shard in self._shards:
            shard.fewest_bodies = fewest

    @property
    def overflow(self) -> tuple[int, Sequence[int]] | None:
        """As of a consumer, for the first shard with too little room: as if all had as much in hand."""
        found = next((overflow for shard in self._shards if (overflow := shard.overflow) is not None), None)
        return found and (found[0] * len(self._shards), found[1])

    @property
    def shards(self) -> Sequence[tuple[Consumer, float | None]]:
        """The consumer of each shard, and when the latest message came (monotonic). Any thread may ask."""
        return list(zip(self._shards, self._latest, strict=True))

    @property
    def prefetch(self) -> int:
        """Of all shards together."""
        return self._prefetch

    @prefetch.setter
    def prefetch(self, prefetch: int) -> None:
        self._prefetch = prefetch
        for shard in self._shards:
            shard.prefetch = self._part(prefetch)

    @property
    def stand_by(self) -> bool:
        return self._shards[0].stand_by

    @stand_by.setter
    def stand_by(self, stand_by: bool) -> None:
        for shard in self._shards:
            shard.stand_by = stand_by

    @property
    def counted(self) -> bool:
        return any(shard.counted for shard in self._shards)

    @property
    def may_reject(self) -> bool:
        return self._shards[0].may_reject

    @may_reject.setter
    def may_reject(self, may_reject: bool) -> None:
        for shard in self._shards:
            shard.may_reject = may_reject

    def is_current(self, generation: int) -> bool:
        numbered = zip(self._shards, self._numbers, strict=False)
        return generation == self._generation and self.active and all(each.is_current(no) for each, no in numbered)

    def open(self, timeout: float = 30.0) -> None:
        """Begin to consume all shards. Raise Failed if one cannot be, with none of them open."""
        self._generation, self._line, self._numbers = next_number(), Line(), ()
        for position, shard in enumerate(self._shards):
            shard.join(self._arrivals, self._line, partial(self._label, self._generation, position))
        try:
            self._at_once(lambda shard: shard.open(timeout))
        except Failed:
            self.requeue(timeout)
            raise
        self._numbers = [shard.generation for shard in self._shards]

    def take(self, size: int, wait_s: float, idle_s: float) -> list[Delivery]:
        generation = self._generation
        lost = not self.active
        return self._arrivals.take(
            self._line,
            size,
            wait_s,
            idle_s,
            is_lost=lambda: lost or not self.is_current(generation),
            most=lambda: self._prefetch,
        )

    def wake(self) -> None:
        self._arrivals.wake()

    def too_large(self) -> list[tuple[Delivery, int]]:
        found = []
        for position, shard in enumerate(self._shards):
            for delivery, size in shard.too_large():
                self._label(self._generation, position, delivery)
                found.append((delivery, size))
        return found

    def settle(self, generation: int, tags: Iterable[int]) -> None:
        self._divide(Consumer.settle, generation, tags)

    def reject(self, generation: int, tags: Iterable[int]) -> None:
        self._divide(Consumer.reject, generation, tags)

    def change_prefetch(self, prefetch: int) -> None:
        self._prefetch = prefetch
        for shard in self._shards:
            shard.change_prefetch(self._part(prefetch))

    def requeue(self, timeout: float = 10.0) -> bool:
        """Return what is unsettled to its shards; return whether the broker confirmed that in time for all of them."""
        return all(self._at_once(lambda shard: shard.requeue(timeout)))

    def _part(self, prefetch: int) -> int:
        return max(1, prefetch // len(self._shards))

    def _label(self, generation: int, position: int, delivery: Delivery) -> None:
        """Make a delivery of a shard one of all of them."""
        delivery.generation = generation
        delivery.tag = delivery.tag * len(self._shards) + position
        self._latest[position] = delivery.received

    def _divide(self, do: Callable[[Consumer, int, list[int]], None], generation: int, tags: Iterable[int]) -> None:
        if generation != self._generation:
            return
        of_shards: dict[int, list[int]] = {}
        for tag in tags:
            of_shards.setdefault(tag % len(self._shards), []).append(tag // len(self._shards))
        for position, own in of_shards.items():
            do(self._shards[position], self._numbers[position], own)

    def _at_once(self, do: Callable[[Consumer], T]) -> list[T]:
        """Do something with all shards at the same time, since each waits for answers of the broker."""
        with ThreadPoolExecutor(len(self._shards), "shard") as threads:
            return list(threads.map(do, self._shards))

"""What has been published on one channel and is not confirmed yet. Pure: numbers in, finished entries out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Generic, NamedTuple, Protocol, TypeVar

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Outgoing


class Entry(Protocol):
    """One published message; whoever publishes it knows the rest."""

    @property
    def message(self) -> Outgoing: ...


E = TypeVar("E", bound=Entry)


class Identity(NamedTuple):
    """All that a return says about which message it was."""

    message_id: str | None
    exchange: str
    routing_key: str


def identify(message: Outgoing) -> Identity:
    return Identity(message.properties.get("message_id"), message.exchange, message.routing_key)


class Unconfirmed(Generic[E]):
    """Publishes count from 1 on each channel; acks name a number, or all numbers up to it, in any order."""

    def __init__(self) -> None:
        self._entries: dict[int, E] = {}
        self._returned: dict[int, Failure] = {}
        self._last = 0
        #: Everything below is confirmed.
        self._lowest = 1
        #: Returns come in the order of the publishes, so the search goes on from the last one.
        self._last_returned = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: E) -> None:
        self._last += 1
        self._entries[self._last] = entry
        self.bytes += len(entry.message.body)

    def mark_returned(self, identity: Identity, failure: Failure) -> bool:
        """Note that the oldest message with this identity could not be routed: the ack that follows means failure.
        Return False if there is none."""
        start = max(self._lowest, self._last_returned + 1)
        for number in chain(range(start, self._last + 1), range(self._lowest, start)):
            entry = self._entries.get(number)
            if entry is not None and number not in self._returned and identify(entry.message) == identity:
                self._returned[number] = failure
                self._last_returned = number
                return True
        return False

    def confirm(self, number: int, multiple: bool) -> Iterator[tuple[E, Failure | None]]:
        """Remove and yield what this ack or nack settles; the failure is that of a return."""
        if multiple:
            numbers = range(self._lowest, number + 1)
            self._lowest = number + 1
        else:
            numbers = range(number, number + 1)
            if number == self._lowest:
                self._lowest += 1
        for settled in numbers:
            found = self._entries.pop(settled, None)
            if found is not None:
                self.bytes -= len(found.message.body)
                yield found, self._returned.pop(settled, None) if self._returned else None

    def entries(self) -> list[E]:
        """Return everything unconfirmed, in the order of publishing."""
        return list(self._entries.values())


class Blame(NamedTuple, Generic[E]):
    """Which of the unconfirmed made the broker close their channel."""

    culprits: list[E]
    others: list[E]  # publish them again
    suspects: list[E]  # publish them again, one at a time, until the culprit is found
    failure: Failure


_NAMED_EXCHANGE = re.compile(r"(?:no exchange|write access to exchange) '(.*?)' in vhost")


def assign_blame(unconfirmed: Sequence[E], failure: Failure) -> Blame[E]:
    """Given what was unconfirmed and why the channel was closed, return who caused it.

    A close comes some messages later and names none. If its text names an exchange, what was published there is the
    cause; otherwise only a message that was unconfirmed alone is known to be.
    """
    if len(unconfirmed) == 1:
        kind = Kind.REJECT if failure.code == "406" else failure.kind  # a 406 is about the message, not the broker
        return Blame([unconfirmed[0]], [], [], replace(failure, kind=kind))
    named = _NAMED_EXCHANGE.search(failure.text)
    culprits: list[E] = []
    others: list[E] = []
    for entry in unconfirmed:
        (culprits if named and entry.message.exchange == named[1] else others).append(entry)
    if not culprits:
        return Blame([], [], others, failure)
    return Blame(culprits, others, [], failure)

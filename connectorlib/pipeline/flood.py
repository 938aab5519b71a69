"""The flood brake: so many messages were refused alike, and none passed, that they are not the cause.

A *reject* costs a message at once. But a new NOT NULL column or a validation rule refuses every message, and would
empty the queue into the dead letters. Rule: a place is flooded after `limit` refusals with the same code among its last
1.2 × `limit`, from several keys, without a message that passed; it stays so until one passes. Only what the target
decides counts (`Failure.by_target`), also where it is known before a message is sent; not what the message alone
decides, and not what is there already. What has passed in a transaction counts for all lanes once that is committed;
until then only against what its own lane was refused, for it may be undone.

`Flood` decides, and is pure; `Brake` keeps one for each place, for all lanes of a target.
"""

import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Again, Delivery, Outcome

#: What fewer keys send may well be their own fault.
FEWEST_KEYS = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    #: `Delivery.identity`: what is tried again counts once.
    message: tuple[int, int]
    code: str
    #: `Delivery.key`.
    key: Hashable
    routing_key: str
    #: The lane, where lanes write in transactions.
    lane: object = None


@dataclass(frozen=True, slots=True)
class Flood:
    """What one place has refused since a message passed it."""

    #: The latest ones, the last one last.
    refusals: tuple[Refusal, ...] = ()
    #: The code that floods it; "" while none does.
    code: str = ""
    #: How many were refused with that code.
    same: int = 0

    def after(self, refusal: Refusal, limit: int, *, several: bool) -> "Flood":
        """Return it after one more refusal. `several`: routing keys tell messages apart where there is no other key."""
        if any(each.message == refusal.message for each in self.refusals):
            return self
        refusals = (*self.refusals, refusal)[-max(limit * 6 // 5, FEWEST_KEYS) :]
        if self.code:
            return Flood(refusals, self.code, self.same + (refusal.code == self.code))
        alike = [each for each in refusals if each.code == refusal.code]
        if len(alike) < limit or not _are_of_many(alike, several):
            return Flood(refusals)
        return Flood(refusals, refusal.code, len(alike))

    def passed_by(self, lane: object) -> "Flood | None":
        """Return what is left of it after a message passed in a transaction of this lane; None if that is nothing."""
        others = tuple(each for each in self.refusals if each.lane is not lane)
        return replace(self, refusals=others) if others else None


def _are_of_many(alike: Sequence[Refusal], several: bool) -> bool:
    keys = {each.key for each in alike} - {None}
    if not keys and several:
        keys = {each.routing_key for each in alike}
    return not keys or len(keys) >= FEWEST_KEYS


def is_of_flood(outcome: Outcome) -> bool:
    """Whether the message was refused, or not tried, in a flood."""
    return isinstance(outcome, Again) and outcome.failure.kind is Kind.FLOOD


class Brake:
    """The floods of one target. Any thread may use it."""

    def __init__(self, limit: int) -> None:
        """`limit` is `retry.flood`; with 0 nothing ever is a flood."""
        self.limit = limit
        self._floods: dict[str, Flood] = {}
        self._routing_keys: set[str] = set()
        self._several = False
        self._lock = threading.Lock()

    def refused(self, delivery: Delivery, failure: Failure, lane: object = None) -> Failure | None:
        """Count a message that is refused because of the target. Return what to pause for in a flood, else None."""
        if not self.limit:
            return None
        refusal = Refusal(delivery.identity, failure.code, delivery.key, delivery.routing_key, lane)
        with self._lock:
            self._note((delivery,))
            flood = self._floods.get(failure.place, Flood()).after(refusal, self.limit, several=self._several)
            self._floods[failure.place] = flood
        return replace(failure, kind=Kind.FLOOD, same=flood.same) if flood.code == failure.code else None

    def parts(
        self, deliveries: Sequence[Delivery], refusals: Sequence[Failure | None], lane: object = None
    ) -> Iterator[tuple[range, Failure | None]]:
        """Divide a call some of whose messages are refused before they are sent. Yield the positions of what to send
        next, up to where a flood would begin if none of it passes; at last, if none has, the rest, with the flood for
        which it is not to be tried."""
        begin, end = 0, len(deliveries)
        if not any(refusals):  # nearly always
            yield range(end), None
            return
        while begin < end:
            counted = ((at, self._refused_before(deliveries[at], refusals[at], lane)) for at in range(begin, end))
            at = next((at for at, flood in counted if flood), end)
            yield range(begin, at), None
            if at < end and (flood := self._refused_before(deliveries[at], refusals[at], lane)):
                yield range(at, end), flood
                return
            begin = at

    def _refused_before(self, delivery: Delivery, failure: Failure | None, lane: object) -> Failure | None:
        return self.refused(delivery, failure, lane) if failure else None

    def passed(self, places: Iterable[str], deliveries: Iterable[Delivery], lane: object = None) -> None:
        """Messages have passed these places: whatever was refused there was refused for its own sake. `lane`: they have
        in its transaction, which is not committed yet."""
        if not self.limit or (self._several and not self._floods):  # nearly always
            return
        with self._lock:
            self._note(deliveries)
            for place in places:
                flood = self._floods.pop(place, None)
                if flood and lane is not None and (left := flood.passed_by(lane)):
                    self._floods[place] = left

    def _note(self, deliveries: Iterable[Delivery]) -> None:
        """Find out whether messages have several routing keys."""
        if not self._several:
            self._routing_keys.update([delivery.routing_key for delivery in deliveries])
            self._several = len(self._routing_keys) > 1

"""A queue that several divisions share: each message goes to the first division whose `match` fits it.

It is one flow. While one division is paused its messages are held and the others go on, up to half the prefetch or
`hold_seconds`; then the whole queue pauses. Isolation needs a queue for each division.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectorlib.errors import Failed, Failure, reject
from connectorlib.expressions import Scope, compile_patterns
from connectorlib.formats import Format, compile_format
from connectorlib.messages import Again, Dead, Delivery, Outcome, Wait
from connectorlib.pausing import Pausing
from connectorlib.policy import PAUSING
from connectorlib.pump import handled
from sfconnector.cases import Cases
from sfconnector.reply import Replies
from sfconnector.settings import Division

PLACE = "match"
#: How long a message of a paused division is held before it is looked at again: a nudge is heard in that time.
LOOK_AGAIN_S = 1.0


class Routes:
    """Which of several divisions a message is for: the first whose `match` fits. Pure."""

    def __init__(self, divisions: Sequence[Division]) -> None:
        self._matches = [compile_patterns(division.match or {}) for division in divisions]
        self._formats = _formats(divisions)

    def of(self, delivery: Delivery) -> int:
        """Return the position of the division. Raise Failed (reject) if there is none."""
        decoded: dict[int, Any] = {}
        undecoded: list[Failed] = []
        for position, (matches, its_format) in enumerate(zip(self._matches, self._formats, strict=True)):
            try:
                record = _first_record(decoded, its_format, delivery)
            except Failed as failed:  # patterns over what travels beside the body fit all the same
                undecoded.append(failed)
                record = {}
            if matches(record, Scope(delivery, encoding=its_format.encoding)):
                return position
        if len(undecoded) == len(self._formats):
            raise undecoded[0]
        raise reject("no-division", "no division's match fits the message", place=PLACE)


@dataclass(slots=True, eq=False)
class Member:
    """One division of the queue. `pausing` tells of its own pauses."""

    cases: Cases
    pausing: Pausing
    replies: Replies | None = None
    #: What it waits for, and until when; None: it works.
    failure: Failure | None = None
    next_try: float = 0.0

    def wait(self, failure: Failure) -> None:
        self.failure = failure
        self.next_try = self.pausing.note(failure)

    def looks_again(self, now: float) -> bool:
        """Return whether it works; a paused one is probed when it is time."""
        return self.failure is None or (self.next_try <= now and self.probe())

    def probe(self) -> bool:
        """Ask for a sign of life; return whether there was one. Without one it waits."""
        try:
            self.cases.probe()
        except Failed as failed:
            self.wait(failed.failure)
            return False
        self.failure = None
        return True


class Shared:
    """The handler of a shared queue. The order of the members is that of the file."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._routes = Routes([member.cases.division for member in members])
        self._greeted = False

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages passed each place of each division; those of all of them add up."""
        total: dict[str, int] = {}
        for member in self._members:
            for place, count in member.cases.passed.items():
                total[place] = total.get(place, 0) + count
        return total

    def probe(self) -> None:
        """At the start one division that works is enough; afterwards all that were paused have to answer."""
        for member in self._members:
            if not self._greeted or member.failure is not None:
                member.probe()
        paused = [member.failure for member in self._members if member.failure is not None]
        if paused and (self._greeted or len(paused) == len(self._members)):
            raise Failed(paused[0])
        self._greeted = True

    def nudge(self) -> None:
        """Try the paused divisions now. Any thread may ask."""
        for member in self._members:
            member.cases.nudge()
            member.pausing.tell_again()
            member.next_try = 0.0

    def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        """Return one outcome per delivery. Raise Stale if they are not ours any more."""
        outcomes: dict[int, Outcome] = {}
        shares: list[list[int]] = [[] for _ in self._members]
        for position, delivery in enumerate(deliveries):
            try:
                shares[self._routes.of(delivery)].append(position)
            except Failed as failed:
                outcomes[position] = Dead(failed.failure)
        for member, share in zip(self._members, shares, strict=True):
            if share:
                its = self._handle(member, [deliveries[position] for position in share], valid)
                outcomes.update(zip(share, its, strict=True))
        return [outcomes[position] for position in range(len(deliveries))]

    def _handle(self, member: Member, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        if not member.looks_again(time.monotonic()):
            return [self._held(member)] * len(deliveries)
        outcomes = handled(member.cases, deliveries, valid)
        paused = next((o.failure for o in outcomes if isinstance(o, Again) and o.failure.kind in PAUSING), None)
        if paused is None:
            member.pausing.over()
            return outcomes
        member.wait(paused)
        return [self._held(member) if isinstance(outcome, Again) else outcome for outcome in outcomes]

    def _held(self, member: Member) -> Wait:
        assert member.failure is not None
        return Wait(member.failure, min(member.next_try, time.monotonic() + LOOK_AGAIN_S))

    def dead(self, delivery: Delivery, verdict: Dead) -> None:
        """Let the division that the message was for tell that it died."""
        try:
            replies = self._members[self._routes.of(delivery)].replies
        except Failed:
            return
        if replies is not None:
            replies.dead(delivery, verdict)


def _formats(divisions: Sequence[Division]) -> list[Format]:
    """Return the format of each division: one object for those that say the same, which decodes for all of them."""
    made: list[Format] = []
    for position, division in enumerate(divisions):
        same = (at for at, other in enumerate(divisions[:position]) if _decodes_alike(division, other))
        at = next(same, None)
        made.append(compile_format(division.format, division.limits) if at is None else made[at])
    return made


def _decodes_alike(one: Division, other: Division) -> bool:
    return (one.format, one.limits) == (other.format, other.limits)


def _first_record(decoded: dict[int, Any], division_format: Format, delivery: Delivery) -> Any:
    """Return the record that is matched, the first of the body; decoded once for each format."""
    key = id(division_format)
    if key not in decoded:
        records = division_format.decode(delivery.body)
        decoded[key] = records[0] if records else {}
    return decoded[key]

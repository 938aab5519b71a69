"""A queue that several divisions share: each message goes to the first division whose `match` fits it.

It is one flow. The messages of a paused division are held while the others go on, up to half the prefetch or
`hold_seconds`; then the whole queue pauses. Isolation needs a queue for each division.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import Scope, compile_patterns
from connectorlib.formats import Format, compile_format
from connectorlib.messages import LATER, Again, Dead, Delivery, Done, Later, Outcome, Wait
from connectorlib.pipeline.blame import PAUSING
from connectorlib.pipeline.pause import Pausing
from connectorlib.pipeline.sink import handled, probed
from sfconnector.settings import Division
from sfconnector.sink import CaseSink

logger = logging.getLogger(__name__)

PLACE = "match"
#: What pauses a division at once while it is on trial.
ON_TRIAL = PAUSING | {Kind.CONFIGURATION}


class Routes:
    """Which of several divisions a message is for: the first whose `match` fits. Pure."""

    def __init__(self, divisions: Sequence[Division]) -> None:
        self._matches = [compile_patterns(division.match or {}) for division in divisions]
        self._formats = _formats(divisions)

    def of(self, delivery: Delivery) -> int:
        """Return the position of the division. Raise Failed (reject) if there is none."""
        decoded: dict[int, Any] = {}
        undecoded: list[Failed] = []
        for position, (matches, division_format) in enumerate(zip(self._matches, self._formats, strict=True)):
            try:
                record = _first_record(decoded, division_format, delivery)
            except Failed as failed:  # patterns over properties and headers may still fit
                undecoded.append(failed)
                record = {}
            if matches(record, Scope(delivery, encoding=division_format.encoding)):
                return position
        if len(undecoded) == len(self._formats):
            raise undecoded[0]
        raise reject("no-division", "no division's match fits the message", place=PLACE)


@dataclass(slots=True, eq=False)
class Member:
    """One division of the queue. `pausing` has its own pauses; run_sink sets it."""

    cases: CaseSink
    pausing: Pausing = field(init=False)
    #: What it waits for, and until when; None: it works.
    failure: Failure | None = None
    next_try: float = 0.0

    #: How often it was tried by one message after a pause; another one each time, in case it is the message.
    trials: int = 0

    @property
    def passed(self) -> Mapping[str, int]:
        return self.cases.passed

    @property
    def on_trial(self) -> bool:
        """Whether nothing has become a Case since it was paused: one message shows whether it is over."""
        return self.pausing.pause is not None

    def probe(self) -> None:
        """Ask for a sign of life. Raise Failed without one."""
        self.cases.probe()
        self.failure = None

    def answers(self) -> bool:
        """Return whether there is a sign of life. Without one it waits."""
        failure = probed(self.probe)
        if failure is not None:
            self.hold(failure)
        return failure is None

    def hold(self, failure: Failure) -> Wait:
        """Pause it; return how the messages wait until it is tried again."""
        self.failure = failure
        self.next_try = self.pausing.note(failure)
        return Wait(failure, self.next_try)

    def paused(self, now: float) -> Wait | None:
        """Return how the messages wait, None if it works; when it is time it is probed."""
        if self.failure is not None and (self.next_try > now or not self.answers()):
            return Wait(self.failure, self.next_try)
        return None


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
                member.answers()
        paused = [member.failure for member in self._members if member.failure is not None]
        if paused and (self._greeted or len(paused) == len(self._members)):
            raise Failed(paused[0])
        self._greeted = True

    def part_of(self, delivery: Delivery) -> Member:
        """Return whose message it is; the first's, if that is what fails."""
        try:
            return self._members[self._routes.of(delivery)]
        except Exception:  # reported as the failure of the message
            logger.debug("nobody's message", exc_info=True)
            return self._members[0]

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
                handled_outcomes = self._handle(member, [deliveries[position] for position in share], valid)
                outcomes.update(zip(share, handled_outcomes, strict=True))
        return [outcomes[position] for position in range(len(deliveries))]

    def _handle(self, member: Member, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        paused = member.paused(time.monotonic())
        if paused is not None:
            return [paused] * len(deliveries)
        if not member.on_trial:
            return _hold(member, handled(member.cases, deliveries, valid), PAUSING)
        outcomes: list[Outcome] = [LATER] * len(deliveries)
        chosen = member.trials % len(deliveries)
        member.trials += 1
        outcomes[chosen : chosen + 1] = handled(member.cases, [deliveries[chosen]], valid)
        return _hold(member, outcomes, ON_TRIAL)

    def dead(self, delivery: Delivery, verdict: Dead) -> None:
        """Let the division that the message was for know that it died."""
        try:
            member = self._members[self._routes.of(delivery)]
        except Failed:
            return
        member.cases.dead(delivery, verdict)


def _hold(member: Member, outcomes: list[Outcome], pausing: frozenset[Kind]) -> list[Outcome]:
    """Hold what a pause of the member stands in the way of; without one, a Case ends the pause that there was."""
    failures = (outcome.failure for outcome in outcomes if isinstance(outcome, Again))
    failure = next((each for each in failures if each.kind in pausing), None)
    if failure is not None:
        wait = member.hold(failure)
        return [wait if isinstance(outcome, Again | Later) else outcome for outcome in outcomes]
    if any(isinstance(outcome, Done) for outcome in outcomes):
        member.pausing.over()
    return outcomes


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

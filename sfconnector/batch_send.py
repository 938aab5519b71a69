"""Sends records by sObject Collections, up to 200 in a call, and yields what became of each.

A call that is refused as a whole is halved until the bad record is alone, so that it costs its neighbours nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.messages import DONE, Again, Dead, Delivery
from connectorlib.pipeline.blame import PAUSING
from connectorlib.pipeline.flood import Brake
from connectorlib.service import logs
from sfconnector.record_outcome import (
    CROWDED,
    MAY_EXIST,
    NO_RULE,
    CallSize,
    Circumstances,
    Judge,
    LeaveOut,
    NotYet,
    Way,
    may_exist,
)
from sfconnector.records import Decided, Item, created
from sfconnector.salesforce.error_codes import DUPLICATES, SfError
from sfconnector.settings import CaseSettings

if TYPE_CHECKING:
    from sfconnector.salesforce.client import Client, Rejected
    from sfconnector.salesforce.responses import Result

logger = logging.getLogger(__name__)

#: Characters of all records of a call, so that 200 long descriptions do not make one enormous request.
MOST_CHARACTERS = 4_000_000
#: A whole call that is refused with one of these may owe it to one record.
RECORD_STATUSES = frozenset({400, 413})
#: A whole call that fails with one of these may have done its work all the same.
UNKNOWN_STATUSES = frozenset({500, 502, 504})

STOPPING = Failure(Kind.UNAVAILABLE, "stopping", "the connector is being stopped")

Valid = Callable[[], bool]
#: What became of records, in the order in which it is decided.
SentItems = Iterator[tuple[Item, Decided | NotYet | LeaveOut]]


class CallSizes:
    """How many records a call of a division has, whoever sends it, for it is the org that is slow. Thread-safe."""

    def __init__(self, place: str) -> None:
        self.size = CallSize()
        self._place = place
        self._lock = threading.Lock()

    def note(self, sent: int, seconds: float, *, crowded: bool = False) -> None:
        """Take note of a call of so many records that took so long."""
        with self._lock:
            before, self.size = self.size, self.size.after(sent, seconds, crowded=crowded)
            if self.size.records < before.records:
                fields = {"place": self._place, "records": self.size.records, "seconds": round(seconds, 1)}
                logs.event(logger, logging.WARNING, "batch size reduced", **fields)


class Sender:
    """Sends records, one call at a time; no more calls once `stop` is set."""

    def __init__(
        self,
        case: CaseSettings,
        client: "Client",
        place: str,
        breaker: int,
        stop: threading.Event | None = None,
        sizes: CallSizes | None = None,
        is_aged: Callable[[], bool] = lambda: False,
        brake: Brake | None = None,
    ) -> None:
        """`is_aged` says whether the org's description of its fields may be asked for again. `brake` is shared by all
        that send records of the division."""
        self._brake = brake or Brake(0)
        self._stop = stop or threading.Event()
        self._client = client
        self._place = place
        self._breaker = breaker
        self._is_aged = is_aged
        self._judge = Judge.of(case, place)
        self._duplicates = _duplicate_header(case.duplicate_rule)
        self._sizes = sizes or CallSizes(place)
        #: Records that were refused alone in a row, for other reasons than their own content.
        self._refused_alone = 0
        #: Deliveries some of whose records were sent without a key.
        self._begun: set[tuple[int, int]] = set()
        #: Deliveries that were sent without an answer: that their Case is there already does not mean a reused key.
        self.doubted: set[tuple[int, int]] = set()
        #: Deliveries with a record that Salesforce has refused by itself.
        self._refused_before: set[tuple[int, int]] = set()
        #: Why messages were dead-lettered for want of an answer; whoever reads it clears it.
        self.unanswered: Failure | None = None

    def send(self, items: Sequence[Item], valid: Valid) -> SentItems:
        """Yield what becomes of each record; NotYet: it has to be mapped again, with fresh lookups or fields.

        Raise Failed if the rest cannot be sent now, Stale if `valid` says that the deliveries are no longer ours.
        """
        self._refused_alone = 0
        self._begun.clear()
        ways: dict[Way, list[Item]] = {}
        for item in items:
            ways.setdefault(self._judge.way(item), []).append(item)
        for way, alike in ways.items():
            if way.upsert and way.assign != NO_RULE:
                yield from self._create_or_update(alike, way, valid)
            else:
                yield from self._calls(alike, way, valid)

    def forget(self, delivery: Delivery) -> None:
        """Forget what is known of a message that is settled."""
        self.doubted.discard(delivery.identity)
        self._refused_before.discard(delivery.identity)

    def forget_older(self, generation: int) -> None:
        """Forget deliveries of channels that are gone."""
        self.doubted = {key for key in self.doubted if key[0] >= generation}
        self._refused_before = {key for key in self._refused_before if key[0] >= generation}

    def _create_or_update(self, items: Sequence[Item], way: Way, valid: Valid) -> SentItems:
        """Create Cases by assignment rule, and update without one those that are there: in a call that does both, the
        rule would take a Case from the agent who has it."""
        there: list[Item] = []
        for item, decided in self._calls(items, Way(way.assign, upsert=False, final=False), valid):
            if decided is MAY_EXIST:
                there.append(item)
            else:
                yield item, decided
        for item, decided in self._calls(there, Way(NO_RULE, upsert=True), valid):
            if isinstance(decided, Decided) and decided.outcome is DONE:
                fields = {"place": self._place, "case": decided.case_id, "key": item.draft.key}
                logs.event(logger, logging.WARNING, "a Case was created without its assignment rule", **fields)
            yield item, decided

    def _calls(self, items: Sequence[Item], way: Way, valid: Valid) -> SentItems:
        """Send records in as many calls as they need; the size of a call may change from one to the next."""
        call: list[Item] = []
        characters = 0
        for item in items:
            size = _characters(item)
            if call and (len(call) >= self._sizes.size.records or characters + size > MOST_CHARACTERS):
                yield from self._call(call, way, valid)
                call, characters = [], 0
            call.append(item)
            characters += size
        if call:
            yield from self._call(call, way, valid)

    def _call(self, items: Sequence[Item], way: Way, valid: Valid) -> SentItems:
        from sfconnector.salesforce.client import Rejected, Unanswered  # late: an HTTP library is not needed for --help

        if not valid():
            raise Stale
        if self._stop.is_set() and (rest := self._to_complete(items)) != items:
            if rest:
                yield from self._call(rest, way, valid)
            raise Failed(replace(STOPPING, place=self._place))
        self._begun.update(item.delivery.identity for item in items if item.draft.key is None)
        repeats, begun = self._client.repeats, time.monotonic()
        try:
            results = self._request(items, way)
        except Unanswered as failed:
            if failed.failure.code == "timeout":
                self._sizes.note(len(items), time.monotonic() - begun)
            yield from self._lost(items, failed.failure)
            raise
        except Rejected as rejected:
            if rejected.status in UNKNOWN_STATUSES:
                yield from self._lost(items, rejected.failure)
            if rejected.status not in RECORD_STATUSES or rejected.failure.kind in (*PAUSING, Kind.RETRY):
                raise
            yield from self._refused(items, way, rejected, valid)
            return
        seconds = time.monotonic() - begun
        if self._client.repeats != repeats:
            self._doubt(items)
        yield from self._results(items, results, seconds, way, valid)

    def _to_complete(self, items: Sequence[Item]) -> list[Item]:
        """Return those that are sent though the connector is being stopped: without them the records of their message
        that are Cases already would become Cases once more."""
        return [item for item in items if item.draft.key is None and item.delivery.identity in self._begun]

    def _request(self, items: Sequence[Item], way: Way) -> "list[Result]":
        records = [item.draft.fields for item in items]
        headers = {"Sforce-Auto-Assign": way.assign} | self._duplicates
        if way.upsert:
            return self._client.upsert(self._judge.key_field, records, headers)
        return self._client.create(records, headers, repeatable=self._judge.is_repeatable(items))

    def _results(
        self, items: Sequence[Item], results: "Sequence[Result]", seconds: float, way: Way, valid: Valid
    ) -> SentItems:
        crowded: list[Item] = []
        others_passed = any(not result.errors for result in results)
        aged = self._is_aged()
        flood: Failure | None = None
        for item, result in zip(items, results, strict=True):
            delivery = item.delivery
            if not result.errors:  # nearly always
                self._refused_alone = 0
                self._brake.passed([self._place], [delivery])
                yield item, created(result.id, already=result.created is False)
                continue
            seen = Circumstances(
                alone=len(items) == 1,
                doubted=way.final and (delivery.redelivered or delivery.identity in self.doubted),
                singled_out=others_passed or delivery.identity in self._refused_before,
                aged=aged,
            )
            decided = self._judge.refusal(item, result.errors, seen)
            if decided is CROWDED:
                crowded.append(item)
                continue
            if isinstance(decided, Decided):
                if isinstance(decided.outcome, Again):
                    self._refused_before.add(delivery.identity)
                decided, flood = self._braked(item, decided, result.errors, way, flood)
            yield item, decided
        self._sizes.note(len(items), seconds, crowded=bool(crowded))
        if flood is not None:
            raise Failed(flood)
        if crowded:
            yield from self._calls(crowded, way, valid)

    def _braked(
        self, item: Item, decided: Decided, errors: Sequence[SfError], way: Way, before: Failure | None = None
    ) -> tuple[Decided | NotYet, Failure | None]:
        """Return what becomes of a refused record, and why the rest is not sent: in a flood it was not created, and is
        sent again."""
        outcome = decided.outcome
        if not isinstance(outcome, Dead):
            return decided, before
        if not way.final and may_exist(errors):
            return MAY_EXIST, before
        if outcome.failure.code in DUPLICATES:
            return decided, before
        flood = self._brake.refused(item.delivery, outcome.failure)
        return (decided, before) if flood is None else (Decided(Again(flood)), flood)

    # -- a call that was not answered, or refused as a whole

    def _lost(self, items: Sequence[Item], failure: Failure) -> SentItems:
        self._doubt(items)
        for item in items:
            decided = self._judge.unknown(item, failure)
            if decided is not None:
                self.unanswered = replace(failure, kind=Kind.UNAVAILABLE)
                yield item, decided

    def _doubt(self, items: Sequence[Item]) -> None:
        self.doubted.update(item.delivery.identity for item in items)

    def _refused(self, items: Sequence[Item], way: Way, rejected: "Rejected", valid: Valid) -> SentItems:
        """Halve the call; a record that is alone owes the refusal to itself, until too many do so in a row."""
        if len(items) > 1:
            middle = len(items) // 2
            yield from self._call(items[:middle], way, valid)
            yield from self._call(items[middle:], way, valid)
            return
        refused = self._judge.refused(items[0], rejected.errors, rejected.status)
        decided, flood = self._braked(items[0], refused, rejected.errors, way)
        yield items[0], decided
        if flood is not None:
            raise Failed(flood)
        if isinstance(refused.outcome, Again):
            self._refused_alone += 1
            if self._refused_alone >= self._breaker:
                raise rejected


def _characters(item: Item) -> int:
    return sum(len(value) if isinstance(value, str) else 20 for value in item.draft.fields.values())


def _duplicate_header(rule: Mapping[str, bool]) -> dict[str, str]:
    """Return Sforce-Duplicate-Rule-Header, whose names are allowSave, includeRecordDetails, runAsCurrentUser."""
    if not rule:
        return {}
    words = [f"{_camel(name)}={str(value).lower()}" for name, value in rule.items()]
    return {"Sforce-Duplicate-Rule-Header": "; ".join(words)}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)

"""Items go out by sObject Collections, up to 200 records a call, and each record's own result decides about it.

A call that is refused as a whole is halved until the bad record stands alone, so that it costs none of its neighbours.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.messages import Again, Dead
from connectorlib.pipeline.blame import PAUSING
from connectorlib.service import logs
from sfconnector.mapping_check import constants
from sfconnector.records import Item
from sfconnector.salesforce.error_codes import (
    SfError,
    duplicate_of,
    failure,
    gravest,
    is_about_owner,
    is_governor,
    is_stale_reference,
)
from sfconnector.settings import CaseSettings

if TYPE_CHECKING:
    from sfconnector.salesforce.client import Client, Rejected, Result

logger = logging.getLogger(__name__)

#: Records in one call (sObject Collections, Salesforce REST API guide).
MOST_RECORDS = 200
#: Characters of all records of a call, so that 200 long descriptions do not make one enormous request.
MOST_CHARACTERS = 4_000_000
#: Calls without a governor limit after which their size may double again.
CALM_CALLS = 10
#: A whole call that is refused with one of these may owe it to one record.
RECORD_STATUSES = frozenset({400, 413})
#: A whole call that fails with one of these may have done its work all the same.
UNKNOWN_STATUSES = frozenset({500, 502, 504})

OWNER = "OwnerId"
STOPPING = Failure(Kind.UNAVAILABLE, "stopping", "the connector is being stopped")

_ID = re.compile("[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")

Valid = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Way:
    """What items of one call have in common."""

    #: Value of Sforce-Auto-Assign, which holds for the whole call.
    assign: str
    #: By upsert, or by plain creation.
    upsert: bool


class Sender:
    """Sends items of one division, one call at a time; none any more once `stop` is set."""

    def __init__(
        self, case: CaseSettings, client: "Client", place: str, breaker: int, stop: threading.Event | None = None
    ) -> None:
        self._stop = stop or threading.Event()
        self._case = case
        self._client = client
        self._place = place
        self._breaker = breaker
        self._key_field = case.external_id.field if case.external_id else ""
        self._upsert = case.external_id is not None and case.external_id.mode == "upsert"
        self._duplicates = _duplicate_header(case.duplicate_rule)
        self._owners = constants(case, OWNER)
        #: Records in a call: fewer while the org's own automation cannot cope with more.
        self._most = MOST_RECORDS
        self._calm = 0
        #: Records refused alone without one success between, for other reasons than their own content.
        self._lone = 0
        #: Deliveries of which some records were sent, and can be told from no others.
        self._begun: set[tuple[int, int]] = set()
        #: Deliveries that were sent without an answer: that their Case is there already says nothing about their key.
        self.doubted: set[tuple[int, int]] = set()
        #: Why messages were dead-lettered for want of an answer; whoever looks at it takes it away.
        self.unanswered: Failure | None = None

    def send(self, items: Sequence[Item], valid: Valid) -> list[Item]:
        """Give every item its outcome, but for those returned: what they refer to has to be looked up again.

        Raise Failed if the rest cannot be sent now (what is decided keeps its outcome), Stale if `valid` says that the
        deliveries are not ours any more.
        """
        self._lone = 0
        self._begun.clear()
        outdated: list[Item] = []
        ways: dict[Way, list[Item]] = {}
        for item in items:
            ways.setdefault(self._way(item), []).append(item)
        for way, its in ways.items():
            for portion in self._portions(its):
                self._call(portion, way, valid, outdated)
        return outdated

    def _way(self, item: Item) -> Way:
        assert item.draft is not None
        assign = False if item.draft.owner_given else self._case.auto_assign
        return Way(
            assign if isinstance(assign, str) else str(assign).upper(),
            self._upsert and item.key is not None,
        )

    def _portions(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        portion: list[Item] = []
        characters = 0
        for item in items:
            size = _characters(item)
            if portion and (len(portion) >= self._most or characters + size > MOST_CHARACTERS):
                yield portion
                portion, characters = [], 0
            portion.append(item)
            characters += size
        if portion:
            yield portion

    def _call(self, items: Sequence[Item], way: Way, valid: Valid, outdated: list[Item]) -> None:
        from sfconnector.salesforce.client import Rejected, Unanswered  # late: an HTTP library is not needed for --help

        if not valid():
            raise Stale
        if self._stop.is_set() and (going := self._to_complete(items)) != items:
            if going:
                self._call(going, way, valid, outdated)
            raise Failed(replace(STOPPING, place=self._place))
        self._begun.update(item.delivery.identity for item in items if item.key is None)
        repeats = self._client.repeats
        try:
            results = self._request(items, way)
        except Unanswered as failed:
            self._unanswered(items, failed)
            raise
        except Rejected as rejected:
            if rejected.status in UNKNOWN_STATUSES:
                self._unanswered(items, rejected)
            if rejected.status not in RECORD_STATUSES or rejected.failure.kind in (*PAUSING, Kind.RETRY):
                raise
            self._refused(items, way, rejected, valid, outdated)
            return
        if self._client.repeats != repeats:
            self._doubt(items)
        self._judge(items, results, way, valid, outdated)

    def _to_complete(self, items: Sequence[Item]) -> list[Item]:
        """Return those that are sent though the connector is being stopped: without them the records of their message
        that are Cases already would be made once more."""
        return [item for item in items if item.key is None and item.delivery.identity in self._begun]

    def _request(self, items: Sequence[Item], way: Way) -> "list[Result]":
        records = [item.draft.fields for item in items if item.draft]
        headers = {"Sforce-Auto-Assign": way.assign} | self._duplicates
        if way.upsert:
            return self._client.upsert(self._key_field, records, headers)
        # Without a key a second request may make a second Case.
        repeatable = self._case.on_unknown == "retry" or all(item.key is not None for item in items)
        return self._client.create(records, headers, repeatable=repeatable)

    # -- what the whole call came to

    def _unanswered(self, items: Sequence[Item], failed: Failed) -> None:
        """It may have happened or not: with a key the next try tells; without one the configuration decides."""
        self._doubt(items)
        if self._case.on_unknown != "dead-letter":
            return
        text = f"{failed.failure.text}; whether the Case was made is unknown (on_unknown is dead-letter)"
        for item in items:
            if item.key is None:
                item.outcome = Dead(replace(failed.failure, kind=Kind.UNKNOWN, text=text), "unknown")
                self.unanswered = replace(failed.failure, kind=Kind.UNAVAILABLE)

    def _doubt(self, items: Sequence[Item]) -> None:
        self.doubted.update(item.delivery.identity for item in items)

    def _refused(
        self, items: Sequence[Item], way: Way, rejected: "Rejected", valid: Valid, outdated: list[Item]
    ) -> None:
        """Halve what was refused as a whole; alone, it is the item's own."""
        if len(items) > 1:
            self._halve(items, way, valid, outdated)
            return
        self._decide(items[0], rejected.errors, rejected.status)
        if isinstance(items[0].outcome, Again):
            self._lone += 1
            if self._lone >= self._breaker:  # it is not the records
                raise rejected

    def _halve(self, items: Sequence[Item], way: Way, valid: Valid, outdated: list[Item]) -> None:
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            self._call(half, way, valid, outdated)

    # -- what each record came to

    def _judge(
        self, items: Sequence[Item], results: "Sequence[Result]", way: Way, valid: Valid, outdated: list[Item]
    ) -> None:
        crowded: list[Item] = []
        for item, result in zip(items, results, strict=True):
            if not result.errors:
                item.done(result.id, already=result.created is False)
                self._lone = 0
            elif len(items) > 1 and any(map(is_governor, result.errors)):
                crowded.append(item)
            elif self._is_outdated(item, result.errors):
                outdated.append(item)
            else:
                self._decide(item, result.errors)
        self._learn(len(items), bool(crowded))
        for portion in self._portions(crowded):
            self._call(portion, way, valid, outdated)

    def _is_outdated(self, item: Item, errors: Sequence[SfError]) -> bool:
        """Whether what was looked up for it may have been deleted or merged meanwhile."""
        assert item.draft is not None
        return bool(item.draft.looked_up) and not item.looked_up_anew and any(map(is_stale_reference, errors))

    def _decide(self, item: Item, errors: Sequence[SfError], status: int = 200) -> None:
        """Give a refused item its outcome by what Salesforce said about it."""
        if self._key_field and not self._upsert:
            for error in errors:
                existing = duplicate_of(error, self._key_field)
                if existing is not None:
                    item.done(existing, already=True)
                    return
        error, kind = gravest(errors, status, self._case.errors)
        if kind is None:
            item.done(None, already=True)  # `errors` of the configuration says `done`
            return
        if kind is Kind.REJECT and self._is_of_configuration(item, error):
            kind = Kind.CONFIGURATION
        told = replace(failure(error, kind, "case", _suspicious(item, error)), place=self._place)
        if len(errors) > 1:
            texts = (f"{each.code} {failure(each, kind, 'case').text}" for each in errors)
            told = replace(told, text="; ".join(texts)[:2000])
        item.outcome = Dead(told) if kind is Kind.REJECT else Again(told)

    def _is_of_configuration(self, item: Item, error: SfError) -> bool:
        """Whether it would be the same for every message: an owner whom the configuration names, and who has left."""
        if error.code in self._case.errors or not is_about_owner(error) or item.draft is None:
            return False
        return item.draft.fields.get(OWNER) in self._owners

    def _learn(self, size: int, crowded: bool) -> None:
        """Fewer records a call while the org's triggers run into a governor limit, slowly more again afterwards."""
        if crowded:
            self._most, self._calm = max(1, size // 2), 0
            logs.event(logger, logging.WARNING, "fewer records a call", place=self._place, records=self._most)
        elif self._most < MOST_RECORDS:
            self._calm += 1
            if self._calm >= CALM_CALLS:
                self._most, self._calm = min(MOST_RECORDS, self._most * 2), 0


def _suspicious(item: Item, error: SfError) -> str:
    """Salesforce does not say which reference of a record leads nowhere: return those that it has."""
    if error.fields or not is_stale_reference(error) or item.draft is None:
        return ""
    references = [f"case.{name} = {value}" for name, value in item.draft.fields.items() if _is_id(name, value)]
    return ", ".join(references)


def _is_id(name: str, value: object) -> bool:
    named = name.endswith(("Id", "__c"))
    return named and isinstance(value, str) and _ID.fullmatch(value) is not None


def _characters(item: Item) -> int:
    fields = item.draft.fields if item.draft else {}
    return sum(len(value) if isinstance(value, str) else 20 for value in fields.values())


def _duplicate_header(rule: Mapping[str, bool]) -> dict[str, str]:
    """Return Sforce-Duplicate-Rule-Header, whose names are allowSave, includeRecordDetails, runAsCurrentUser."""
    if not rule:
        return {}
    words = [f"{_camel(name)}={str(value).lower()}" for name, value in rule.items()]
    return {"Sforce-Duplicate-Rule-Header": "; ".join(words)}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)

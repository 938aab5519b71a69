"""From a record to how it is sent, and from Salesforce's answer to the record's outcome. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import Enum
from typing import Final

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Again, Dead
from sfconnector.mapping import Draft
from sfconnector.mapping_check import constants
from sfconnector.records import Decided, Item, created
from sfconnector.salesforce.error_codes import (
    ABOUT_A_VALUE,
    ABOUT_THE_RECORD,
    SfError,
    contradicts_description,
    duplicate_of,
    failure,
    gravest,
    is_about_owner,
    is_governor,
    is_hidden_duplicate,
    is_of_whole_org,
    is_stale_reference,
)
from sfconnector.settings import CaseSettings
from sfconnector.soql import RECORD_ID

OWNER = "OwnerId"
#: The value of Sforce-Auto-Assign with which no assignment rule runs.
NO_RULE = "FALSE"


class NotYet(Enum):
    """Why a record has to be sent once more."""

    CROWDED = "its call hit a governor limit"
    OUTDATED = "a record that it refers to is gone"
    CONTRADICTED = "the org's fields are not as they were described"
    MAY_EXIST = "it was refused as a new Case, perhaps because it is one already"


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """A record has to be sent once more, without fields that do not take their value. `reasons` by field."""

    reasons: Mapping[str, str]


CROWDED: Final = NotYet.CROWDED
OUTDATED: Final = NotYet.OUTDATED
CONTRADICTED: Final = NotYet.CONTRADICTED
MAY_EXIST: Final = NotYet.MAY_EXIST


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a result besides its errors."""

    #: No other record was in the call.
    alone: bool = False
    #: The record may have been written by an earlier call, of which nobody knows what became.
    doubted: bool = False
    #: Others passed in the same call, or this record was refused before: Salesforce itself is there.
    singled_out: bool = False
    #: The org's description of its fields is old enough to be asked for again.
    aged: bool = False


ALONE = Circumstances(alone=True)


@dataclass(frozen=True, slots=True)
class Way:
    """What records of one call have in common."""

    #: The value of Sforce-Auto-Assign, which applies to the whole call.
    assign: str
    #: Whether they are upserted, not created.
    upsert: bool
    #: Whether what is refused is not sent in another way.
    final: bool = True


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides by the configuration of a division."""

    place: str
    key_field: str = ""
    upsert: bool = False
    auto_assign: str = "TRUE"
    #: `retry` or `dead-letter`: what to do when it is unknown whether a record without a key was created.
    on_unknown: str = "retry"
    errors: Mapping[str, str] = field(default_factory=dict)
    #: The texts that a field may get from the configuration, by its lower-case name.
    constants: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, case: CaseSettings, place: str) -> "Judge":
        return cls(
            place,
            case.external_id.field if case.external_id else "",
            case.external_id is not None and case.external_id.mode == "upsert",
            case.auto_assign if isinstance(case.auto_assign, str) else str(case.auto_assign).upper(),
            case.on_unknown,
            case.errors,
            constants(case),
        )

    def way(self, item: Item) -> Way:
        """Return how a record is sent. A rule must not give away a Case that is there."""
        upsert = self.upsert and item.draft.key is not None
        keep_owner = item.draft.owner_given or (upsert and item.there)
        return Way(NO_RULE if keep_owner else self.auto_assign, upsert)

    def is_repeatable(self, items: Sequence[Item]) -> bool:
        """Return whether sending these twice is harmless: without a key a second request may create a second Case."""
        return self.on_unknown == "retry" or all(item.draft.key is not None for item in items)

    def unknown(self, item: Item, lost: Failure) -> Decided | None:
        """Decide about a record whose call was not answered; None: it is sent again, and its key shows whether it is
        there."""
        if self.on_unknown != "dead-letter" or item.draft.key is not None:
            return None
        text = f"{lost.text}; whether the Case was created is unknown (on_unknown is dead-letter)"
        return Decided(Dead(replace(lost, kind=Kind.UNKNOWN, text=text), "unknown"))

    def refusal(self, item: Item, errors: Sequence[SfError], seen: Circumstances) -> Decided | NotYet | LeaveOut:
        """Decide about a record that was refused in its call."""
        if not seen.alone and any(map(is_governor, errors)):
            return CROWDED
        if item.draft.looked_up and not item.refreshed and any(map(is_stale_reference, errors)):
            return OUTDATED
        if seen.aged and not item.refreshed and any(map(contradicts_description, errors)):
            return CONTRADICTED
        # Changes that were merged are sent one by one first.
        is_alone = item.draft.optional and item.draft is item.record.draft
        if is_alone and (leave_out := self.to_leave_out(item.draft, errors)):
            return leave_out
        return self.refused(item, errors, seen=seen)

    def to_leave_out(self, draft: Draft, errors: Sequence[SfError]) -> LeaveOut | None:
        """Return the fields that may be left out, if nothing else was refused; None if something else was, such as the
        default that takes the place of what was left out."""
        by_name = {name.lower(): name for name in draft.optional if name not in draft.left_out}
        if not by_name:
            return None
        of_value = all(error.code in ABOUT_A_VALUE and error.fields for error in errors)
        named = [(by_name.get(name.lower()), error) for error in errors for name in error.fields]
        if not of_value or any(name is None for name, _ in named):
            return None
        return LeaveOut({name: failure(error, Kind.REJECT, "case").text for name, error in named if name is not None})

    def refused(self, item: Item, errors: Sequence[SfError], status: int = 200, seen: Circumstances = ALONE) -> Decided:
        """Decide about a record that was refused for these errors."""
        if self._is_there(item, errors, seen):
            return created(None, already=True)
        if self.key_field:
            for error in errors:
                existing = duplicate_of(error, self.key_field)
                if existing is not None and self.upsert:
                    # Refused as a new Case, and to be changed, whatever `errors` of the configuration says.
                    return Decided(Dead(replace(failure(error, Kind.REJECT, "case"), place=self.place)))
                if existing is not None:
                    return created(existing, already=True)
        found = self.failure(errors, item.draft.fields, status, singled_out=seen.singled_out)
        if found is None:
            return created(None, already=True)
        return Decided(Dead(found) if found.kind is Kind.REJECT else Again(found))

    def failure(
        self, errors: Sequence[SfError], fields: Mapping[str, object], status: int = 200, *, singled_out: bool = False
    ) -> Failure | None:
        """Return why a record with these fields was refused; None: `errors` of the configuration says `done`."""
        error, kind = gravest(errors, status, self.errors)
        if kind is None:
            return None
        if kind is Kind.UNAVAILABLE and singled_out and not (error.code in self.errors or is_of_whole_org(error)):
            kind = Kind.RETRY
        place = self._constant_place(fields, error) if kind is Kind.REJECT else None
        if place is not None:
            kind = Kind.CONFIGURATION
        found = replace(failure(error, kind, "case", _references(fields, error)), place=place or self.place)
        if len(errors) > 1:
            texts = (f"{each.code} {failure(each, kind, 'case').text}" for each in errors)
            found = replace(found, text="; ".join(texts)[:2000])
        return found

    def _is_there(self, item: Item, errors: Sequence[SfError], seen: Circumstances) -> bool:
        """Return whether an earlier call has made the Case, which the user may not see: nothing else that the record
        fills could be the duplicate."""
        mine = item.draft.key is not None and item.draft.only_key
        return mine and seen.doubted and any(map(is_hidden_duplicate, errors))

    def _constant_place(self, fields: Mapping[str, object], error: SfError) -> str | None:
        """Return the place of the constant that is refused: every message with it would fail like this, such as with an
        owner who has left. None: the value is the message's own."""
        names = error.fields or ((OWNER,) if is_about_owner(error) else ())
        if not names or error.code in self.errors or error.code in ABOUT_THE_RECORD:
            return None
        values = {name.lower(): value for name, value in fields.items()}
        found = [(name.lower(), values.get(name.lower())) for name in names]
        if not all(isinstance(value, str) and value in self.constants.get(name, ()) for name, value in found):
            return None
        return constant_place(self.place, names[0], found[0][1])


def may_exist(errors: Sequence[SfError]) -> bool:
    """Return whether a record that was refused as a new Case may be one already. An assignment rule runs only after the
    key was found to be free, so a Case whose owner is refused is none yet."""
    return not any(map(is_about_owner, errors))


def constant_place(place: str, name: str, value: object) -> str:
    """Return the place by which records are counted that got a field from the configuration."""
    return f"{place}, {name.lower()} = {value}"


def _references(fields: Mapping[str, object], error: SfError) -> str:
    """Return the references of a record, if Salesforce does not say which of them leads nowhere."""
    if error.fields or not is_stale_reference(error):
        return ""
    return ", ".join(f"case.{name} = {value}" for name, value in fields.items() if _is_id(name, value))


def _is_id(name: str, value: object) -> bool:
    named = name.endswith(("Id", "__c"))
    return named and isinstance(value, str) and RECORD_ID.fullmatch(value) is not None


#: Records in one call (sObject Collections, Salesforce REST API guide).
MOST_RECORDS = 200
#: Calls without a governor limit after which the number of records may double again.
CALM_CALLS = 10
#: Seconds of an answer: above the one a call has fewer records, below the other more again.
SLOW_S, FAST_S = 5.0, 2.0
#: A call that has no more records is slow for another reason than their number.
FEW_RECORDS = 25


@dataclass(frozen=True, slots=True)
class CallSize:
    """How many records go into one call: fewer while the org's automation hits governor limits, or takes its time."""

    records: int = MOST_RECORDS
    #: Fast answers since the size was changed, and how many of them double it.
    calm: int = 0
    patience: int = 1

    def after(self, sent: int, seconds: float, *, crowded: bool) -> "CallSize":
        """Return the size after a call of so many records that was answered, or given up, after so many seconds."""
        if crowded:
            return CallSize(max(1, sent // 2), patience=CALM_CALLS)
        if seconds > SLOW_S and sent > FEW_RECORDS:
            return replace(self, records=min(self.records, max(sent // 2, FEW_RECORDS)), calm=0)
        if seconds >= FAST_S or sent < self.records or self.records == MOST_RECORDS:
            return self
        if self.calm + 1 < self.patience:
            return replace(self, calm=self.calm + 1)
        records = min(MOST_RECORDS, self.records * 2)
        return CallSize(records, patience=self.patience if records < MOST_RECORDS else 1)

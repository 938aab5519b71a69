"""Messages and their records as values: what was decoded, what is sent, what became of each. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind
from connectorlib.messages import ALREADY, DONE, EMPTY, Again, Dead, Delivery, Done, Outcome
from sfconnector.mapping import Decoded, Draft


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """A message and its records: several if the body is a list, and they share one outcome."""

    delivery: Delivery
    records: Sequence[Decoded] = ()
    #: Of a message that was not decoded.
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A record that is ready to be sent."""

    delivery: Delivery
    record: Decoded
    draft: Draft
    #: Whether its lookups were asked for a second time.
    refreshed: bool = False
    #: Whether a Case with its key was there a moment ago.
    there: bool = False

    @property
    def key(self) -> str | None:
        """The external id as Salesforce compares it: ignoring case (unless the field is case-sensitive)."""
        return None if self.draft.key is None else self.draft.key.casefold()


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a record."""

    outcome: Outcome
    #: Of the Case that it became, or that was there before; "" if unknown.
    case_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """What became of a message and of each of its records; of none if it was not decoded."""

    unit: Unit
    outcome: Outcome
    records: Sequence[Decided] = ()


def changes_of_one(items: Iterable[Item]) -> list[list[Item]]:
    """Return those that change a Case which is there, by Case, in their order; without those that are alone."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        if item.there and item.draft.key is not None:
            groups.setdefault(item.draft.key, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def merged(changes: Sequence[Item]) -> Item:
    """Return the one change that leaves a Case as all of these do one after the other. It is not mapped a second time:
    its record is that of the last."""
    drafts = [item.draft for item in changes]
    draft = replace(
        drafts[-1],
        fields={name: value for each in drafts for name, value in each.fields.items()},
        looked_up=tuple(dict.fromkeys(wanted for each in drafts for wanted in each.looked_up)),
        only_key=all(each.only_key for each in drafts),
    )
    return replace(changes[-1], draft=draft, refreshed=True)


def created(case_id: str | None, *, already: bool) -> Decided:
    return Decided(ALREADY if already else DONE, case_id or "")


def outcome_of(failure: Failure) -> Outcome:
    """Return the outcome of a record that could not be decoded, mapped or sent."""
    return Dead(failure) if failure.kind is Kind.REJECT else Again(failure)


def settle(unit: Unit, decided: Mapping[Decoded, Decided], failure: Failure | None) -> Settled:
    """Return what became of a message; `failure` is why records without a decision were not sent."""
    if unit.outcome is not None:
        return Settled(unit, unit.outcome)
    if len(unit.records) == 1 and (only := decided.get(unit.records[0])) is not None:  # nearly always
        return Settled(unit, only.outcome, (only,))
    rest = None if failure is None else Decided(Again(failure))
    records = [each for record in unit.records if (each := decided.get(record, rest)) is not None]
    assert len(records) == len(unit.records), "a record without an outcome"
    if failure is not None and not records:
        return Settled(unit, Again(failure))
    return Settled(unit, message_outcome([each.outcome for each in records]), records)


def message_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a message: the worst of its records."""
    if not outcomes:
        return EMPTY
    for position, outcome in enumerate(outcomes):
        if isinstance(outcome, Dead):
            return replace(outcome, failure=_located(outcome.failure, position, outcomes))
    again = next((outcome for outcome in outcomes if isinstance(outcome, Again)), None)
    if again is not None:
        return again
    assert all(isinstance(outcome, Done) for outcome in outcomes), "a record without an outcome"
    return ALREADY if all(outcome is ALREADY for outcome in outcomes) else DONE


def _located(failure: Failure, position: int, outcomes: Sequence[Outcome]) -> Failure:
    """Name the record among several, and say how many of them are Cases."""
    if len(outcomes) == 1:
        return failure
    cases = sum(1 for outcome in outcomes if isinstance(outcome, Done))
    where = f"record {position} (from 0) of {len(outcomes)}, {cases} of which are Cases"
    return replace(failure, detail=f"{where}: {failure.detail}" if failure.detail else where)

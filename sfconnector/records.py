"""One record of a message on its way to become a Case, and what a whole message's outcome is. Pure."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from connectorlib.errors import Failure
from connectorlib.messages import ALREADY, DONE, Again, Dead, Delivery, Done, Outcome

if TYPE_CHECKING:
    from sfconnector.mapping import Decoded, Draft


@dataclass(slots=True, eq=False)
class Item:
    """A record. It has a `draft` once it is mapped, and an `outcome` once it is decided."""

    delivery: Delivery
    decoded: "Decoded"
    draft: "Draft | None" = None
    outcome: Outcome | None = None
    #: Of the Case that it became, or that was there before; empty if nobody knows.
    case_id: str = ""
    #: Whether its looked-up references were asked for a second time.
    looked_up_anew: bool = False

    @property
    def exact_key(self) -> str | None:
        """Its external id, as it is sent."""
        return self.draft.key if self.draft else None

    @property
    def key(self) -> str | None:
        """Its external id as Salesforce compares it: without case (a field can be made to, and mostly is not)."""
        return None if self.exact_key is None else self.exact_key.casefold()

    def done(self, case_id: str | None, *, already: bool) -> None:
        self.case_id = case_id or ""
        self.outcome = ALREADY if already else DONE


@dataclass(slots=True, eq=False)
class Unit:
    """A message and its records. A body that is a list has several, which share one outcome."""

    delivery: Delivery
    items: list[Item] = field(default_factory=list)
    #: Of a message that could not even be decoded.
    outcome: Outcome | None = None

    def verdict(self) -> Outcome:
        """Return the outcome of the message: the worst of its records."""
        if self.outcome is not None:
            return self.outcome
        if len(self.items) == 1 and isinstance(self.items[0].outcome, Done):  # nearly always
            return self.items[0].outcome
        outcomes = [item.outcome for item in self.items]
        for position, outcome in enumerate(outcomes):
            if isinstance(outcome, Dead):
                return Dead(self._located(outcome.failure, position), outcome.reason, outcome.attempts)
        again = next((outcome for outcome in outcomes if isinstance(outcome, Again)), None)
        if again is not None:
            return again
        assert all(isinstance(outcome, Done) for outcome in outcomes), "a record without an outcome"
        return ALREADY if outcomes and all(outcome is ALREADY for outcome in outcomes) else DONE

    def _located(self, failure: Failure, position: int) -> Failure:
        """Say which record of several it was, and what became of the others."""
        if len(self.items) == 1:
            return failure
        cases = sum(1 for item in self.items if isinstance(item.outcome, Done))
        where = f"record {position} (from 0) of {len(self.items)}, {cases} of which are Cases"
        return replace(failure, detail=f"{where}: {failure.detail}" if failure.detail else where)

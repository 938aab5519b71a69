"""Which messages are for a flow: `accept_when` and `ignore_when`. The others are acknowledged and counted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connectorlib.errors import Failed
from connectorlib.expressions import Scope, compile_condition
from connectorlib.formats import compile_format, records_of
from connectorlib.messages import EMPTY, IGNORED, NOT_ACCEPTED, Delivery, Done
from connectorlib.shared_settings import Conditions, Limits

if TYPE_CHECKING:
    from connectorlib.pipeline.pump import Router


class Admission:
    """Decides about the records of a message, one by one. Pure; any thread may use it."""

    def __init__(self, conditions: Conditions, settings: Mapping[str, Any], limits: Limits) -> None:
        """`settings` is the section `format`."""
        self._accept = compile_condition(conditions.accept_when) if conditions.accept_when else None
        self._ignore = compile_condition(conditions.ignore_when) if conditions.ignore_when else None
        self._format = compile_format(settings, limits)
        used = [each for each in (self._accept, self._ignore) if each is not None]
        parts = [part for condition in used for each in condition.expressions for part in each.parts]
        self._reads_body = any(not part.source or part.source == "index" for part in parts)

    def __call__(self, delivery: Delivery) -> Done | None:
        """Return how a message counts that is not for this flow, None if it is; set which of its records are left out.

        Raise Failed (reject) if a condition cannot be evaluated. A body that cannot be decoded is admitted, for the
        sink to reject.
        """
        if not self._reads_body:
            return self._verdict({}, Scope(delivery, {}, fmt=self._format))
        try:
            delivery.records = records_of(delivery, self._format)
        except Failed:
            return None
        verdicts = [self._verdict(*each) for each in self._scoped(delivery)]
        delivery.left_out = frozenset(at for at, verdict in enumerate(verdicts) if verdict is not None)
        if not verdicts:
            return EMPTY
        return verdicts[0] if len(delivery.left_out) == len(verdicts) else None

    def reasons(self, delivery: Delivery) -> list[str]:
        """Return for each record which condition decides about it, for a person. Raise Failed (reject) if the body
        cannot be decoded or a condition cannot be evaluated."""
        if self._reads_body:
            delivery.records = records_of(delivery, self._format)
            return [self._reason(*each) for each in self._scoped(delivery)]
        return [self._reason({}, Scope(delivery, {}, fmt=self._format))]

    def _scoped(self, delivery: Delivery) -> Iterator[tuple[Any, Scope]]:
        """Yield each record, and what it is evaluated in until the next."""
        records = delivery.records or ()
        scope = Scope(delivery, records[0] if len(records) == 1 else records, fmt=self._format)
        for scope.index, record in enumerate(records):
            yield record, scope

    def _verdict(self, record: Any, scope: Scope) -> Done | None:
        if self._accept is not None and not self._accept.matches(record, scope):
            return NOT_ACCEPTED
        if self._ignore is not None and self._ignore.matches(record, scope):
            return IGNORED
        return None

    def _reason(self, record: Any, scope: Scope) -> str:
        reasons = []
        if self._accept is not None:
            holds = self._accept.matches(record, scope)
            reasons.append(f"accept_when {_holds(holds)}: {self._accept.reason(record, scope)}")
            if not holds:
                return reasons[0]
        if self._ignore is not None:
            holds = self._ignore.matches(record, scope)
            reasons.append(f"ignore_when {_holds(holds)}: {self._ignore.reason(record, scope)}")
        return "; ".join(reasons)


def admitting(conditions: Conditions, settings: Mapping[str, Any], limits: Limits) -> Admission | None:
    """Return what decides which messages are for a flow; None if all of them are."""
    return Admission(conditions, settings, limits) if conditions.accept_when or conditions.ignore_when else None


def with_admission(admission: Admission | None, route: "Router | None", lanes: int) -> "Router | None":
    """Return a router that asks the admission first; without a router any of the lanes may have what is admitted."""
    if admission is None:
        return route
    every = range(lanes)

    def admitted(delivery: Delivery) -> Sequence[int] | Done:
        left_out = admission(delivery)
        if left_out is not None:
            return left_out
        return every if route is None else route(delivery)

    return admitted


def _holds(holds: bool) -> str:
    return "holds" if holds else "does not hold"

"""From a message to the rows of its statements: decode, find the records, evaluate, bind. Pure.

Everything that can be compiled is compiled once, into a Plan that any number of connections share; per message only
closures run. A body is decoded once and a mapping evaluated once per record, before anything is written. Only what
depends on `$result` is evaluated when the statement before it has run, each time that it runs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain, repeat
from typing import Any, Self, TypeVar

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure
from connectorlib.expressions import (
    Scope,
)
from connectorlib.formats import Format, compile_format, records_of, records_together
from connectorlib.formats.content import MOST_UNPACKED
from connectorlib.limits import Effort
from connectorlib.messages import LATER, Delivery, Later
from connectorlib.shared_settings import Limits
from dbconnector.bound_write import BinderOf, BoundWrite, Execution, Row, SetOf, no_set
from dbconnector.dialects.base import Dialect
from dbconnector.inbox_table import Inbox, Key
from dbconnector.settings import DbConfig, Write

#: What plain fields are evaluated with: they look at nothing but their record.
_NOTHING = Scope(None)
#: Bytes of a body that decodes faster than a clock is read.
SMALL = 65_536
#: So many rows are bound together.
TOGETHER = 50

T = TypeVar("T")

#: What the named statements of a record have returned so far.
Results = dict[str, Mapping[str, Any] | None]


@dataclass(slots=True)
class Unit:
    """One message, ready to write: all of its statements, or none."""

    delivery: Delivery
    #: None: no inbox, or a message that is accepted without a key.
    key: Key | None
    #: For each record the rows of each write, None where they depend on `$result`; without rows there are no records.
    rows: Sequence[Sequence[Sequence[Row] | None]]
    #: What the rows that depend on `$result` are evaluated from: each record and its position in the body.
    records: Sequence[tuple[int, Any]] = ()
    scope: Scope | None = None


#: A message, its key, and its only record, of which each write takes plain fields.
_Plain = tuple[Delivery, Key | None, Any]


class Plan:
    """All writes of a configuration, compiled, and how messages become units of them."""

    def __init__(self, writes: Sequence[Write], fmt: Format, limits: Limits, inbox: Inbox | None = None) -> None:
        self.writes = [BoundWrite(write, index) for index, write in enumerate(writes)]
        self.inbox = inbox
        #: Whether the rows of many messages go into one statement: of an INSERT, of an UPDATE or DELETE by key.
        self.in_bulk = all(write.in_bulk for write in self.writes)
        self.in_sets = False
        #: The names of the writes whose results others use.
        self.results = frozenset[str]().union(*(write.uses_results for write in self.writes))
        self._single = all(write.single and not write.uses_results for write in self.writes)
        self._plain = all(write.plain for write in self.writes)
        self._by_column = False
        #: Whether some statement runs for some messages only.
        self._chooses = any(write.when for write in writes)
        self._format = fmt
        self._limits = limits

    def bound(self, binder_of: BinderOf, set_of: SetOf = no_set) -> Self:
        """Return the plan for one connection. Raise Failed if its binders cannot be had."""
        plan = copy(self)
        plan.writes = [write.bound(binder_of(write.statement), set_of(write.statement)) for write in self.writes]
        # Between two statements for each message the order of the messages could matter.
        plan.in_sets = len(plan.writes) == 1 and plan.writes[0].in_sets
        plan._by_column = all(write.by_column for write in plan.writes)
        return plan

    def units(self, deliveries: Sequence[Delivery]) -> Sequence[Unit | Failed | Later]:
        """Return for each message what `unit` returns or raises. Rows of plain fields are bound column by column, which
        takes half the time. Once messages have unpacked to as much as a call may hold, the rest has to wait."""
        found: list[Unit | Failed | Later | _Plain] = []
        unpacked = 0
        for part in _parts(deliveries):
            if (records := self._decoded(part)) is not None:
                found += zip(part, repeat(None), records)
                continue
            for delivery in part:
                found.append(self._unit_or_plain(delivery) if unpacked < MOST_UNPACKED else LATER)
                unpacked += delivery.unpacked
        plain = [each for each in found if isinstance(each, tuple)]
        bound = chain.from_iterable(map(self._together, _parts(plain)))
        return [next(bound) if isinstance(each, tuple) else each for each in found]

    def _decoded(self, deliveries: Sequence[Delivery]) -> Sequence[Any] | None:
        """Return the records of messages whose rows are bound column by column, if they can be decoded together."""
        if not self._by_column or self.inbox is not None or max(len(each.body) for each in deliveries) >= SMALL:
            return None
        return records_together(deliveries, self._format)

    def _unit_or_plain(self, delivery: Delivery) -> Unit | Failed | _Plain:
        """Return a message, decoded, that has only a row of plain fields to be bound; any other as a unit."""
        try:
            if not self._by_column or len(delivery.body) >= SMALL:
                return self.unit(delivery)
            records = records_of(delivery, self._format)
            if len(records) != 1 or delivery.unpacked >= SMALL:
                return self._unit_of(delivery, records, None)
            if self.inbox is None:
                return delivery, None, records[0]
            return delivery, self.inbox.key(records[0], Scope(delivery, records[0], fmt=self._format)), records[0]
        except Failed as failed:
            return failed

    def _together(self, plain: Sequence[_Plain]) -> Iterable[Unit | Failed]:
        deliveries, keys, records = zip(*plain, strict=True)
        rows = [found for write in self.writes if (found := write.rows_of(records)) is not None]
        if len(rows) == len(self.writes):
            return map(Unit, deliveries, keys, zip(zip(*map(zip, rows), strict=True)))
        if len(plain) == 1:
            try:
                return [self._unit_of(deliveries[0], records, None)]
            except Failed as failed:
                return [failed]
        half = len(plain) // 2
        return chain(self._together(plain[:half]), self._together(plain[half:]))

    def unit(self, delivery: Delivery) -> Unit:
        """Return the message as a unit. Raise Failed (reject) if it cannot be decoded, mapped or bound."""
        effort = None if self._plain and len(delivery.body) < SMALL else Effort(self._limits)
        records = records_of(delivery, self._format)
        if effort is not None:
            effort.check()
        return self._unit_of(delivery, records, effort)

    def _unit_of(self, delivery: Delivery, records: Sequence[Any], effort: Effort | None) -> Unit:
        """As `unit`, given the records of the message. None: its effort needs no limit, unless it was unpacked."""
        if effort is None and delivery.unpacked >= SMALL:
            effort = Effort(self._limits)
        root = records[0] if len(records) == 1 else records
        if effort is None and self.inbox is None and root is not records:  # hot path
            return Unit(delivery, None, [[[write.row(root, _NOTHING)] for write in self.writes]])
        scope = Scope(delivery, root, fmt=self._format, effort=effort)
        key = self.inbox.key(root, scope) if self.inbox else None
        if self._single and root is not records:  # one row per write is no growth
            return Unit(delivery, key, [[[write.row(root, scope)] for write in self.writes]])
        chosen = [(at, record) for at, record in enumerate(records) if at not in delivery.left_out]
        rows = [self._rows(record, index, scope) for index, record in chosen]
        nothing = not any(each is None or each for writes in rows for each in writes)
        if nothing and not (chosen and self._chooses):  # where `when` leaves it out, that is what it is for
            return Unit(delivery, key, ())
        return Unit(delivery, key, rows, chosen, scope) if self.results else Unit(delivery, key, rows)

    def _rows(self, record: Any, index: int, scope: Scope) -> Sequence[Sequence[Row] | None]:
        rows: list[Sequence[Row] | None] = []
        for write in self.writes:
            scope.root, scope.index = record, index
            rows.append(None if write.uses_results else [*write.rows(record, scope)])
        return rows

    def is_due_to_a_constant(self, failure: Failure) -> bool:
        """Return whether a refusal is due to the configuration: whatever the message, its value is the same."""
        return any(write.place == failure.place and write.is_due_to_a_constant(failure.text) for write in self.writes)

    def bulk(self, units: Sequence[Unit], dialect: Dialect, rows_at_once: int) -> Iterator[Execution]:
        """Yield the statements that write all units, write by write."""
        for write in self.writes:
            rows = [row for unit in units for record in unit.rows for row in record[write.index] or ()]
            yield from write.executions(rows, dialect, rows_at_once)

    def steps(self, unit: Unit) -> Iterator[tuple[BoundWrite, Row, Results]]:
        """Yield the executions of a unit one by one, in order. The caller puts what a named statement has returned
        into the results before it asks for the next."""
        effort = Effort(self._limits)
        effort.rest()  # while a statement runs
        for index, rows_of_writes in enumerate(unit.rows):
            results: Results = {}
            for write, rows in zip(self.writes, rows_of_writes, strict=True):
                if rows is None:
                    with effort:
                        rows = _dependent(write, unit, index, results, effort)
                for row in rows:
                    yield write, row, results


def _dependent(write: BoundWrite, unit: Unit, index: int, results: Results, effort: Effort) -> Sequence[Row]:
    (position, record), scope = unit.records[index], unit.scope
    assert scope is not None
    scope.root, scope.index, scope.results, scope.effort = record, position, results, effort
    return [*write.rows(record, scope)]


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items as they are worked on together."""
    return (items[at : at + TOGETHER] for at in range(0, len(items), TOGETHER))


def compile_plan(config: DbConfig) -> Plan:
    """Return the writes of a configuration, compiled."""
    inbox = Inbox(config.idempotency, config.name) if config.idempotency else None
    return Plan(config.database.write, compile_format(config.format, config.limits), config.limits, inbox)

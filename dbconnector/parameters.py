"""From a message to the rows of its statements: decode, find the records, evaluate, bind. Pure.

Everything that can be compiled is compiled once, into a Plan that any number of connections share; per message only
closures run. A body is decoded once and a mapping evaluated once per record, before anything is written. Only what
depends on `$result` is evaluated when the statement before it has run, each time that it runs.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import Any, Self

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import (
    MISSING,
    Expression,
    Scope,
    compile_condition,
    compile_expression,
    describe_missing,
    elements_of,
)
from connectorlib.formats import Format, compile_format, records_of
from connectorlib.formats.content import MOST_UNPACKED
from connectorlib.limits import Effort
from connectorlib.messages import LATER, Delivery, Later
from connectorlib.shared_settings import Limits
from dbconnector.binder import RowBinder
from dbconnector.bisect import statements
from dbconnector.columns import plain_name
from dbconnector.dialects.base import Dialect
from dbconnector.inbox_table import Inbox, Key
from dbconnector.settings import DbConfig, Write
from dbconnector.sql import Statement, compile_statement

#: What plain fields are evaluated with: they look at nothing but their record.
_NOTHING = Scope(None)
#: Bytes of a body that decodes faster than a clock is read.
SMALL = 65_536
#: So many rows are bound together.
TOGETHER = 50

Row = tuple[Any, ...]
Binder = Callable[[Sequence[Any]], Row]
#: Given a statement, returns what makes evaluated values fit for its parameters.
BinderOf = Callable[[Statement], RowBinder]


class BoundWrite:
    """One compiled entry of `database.write`, and what binds its values for one connection."""

    def __init__(self, write: Write, index: int) -> None:
        self.index = index
        self.place = write.place(index)
        self.name = write.name
        self.must_change = write.must_change
        self.statement = compile_statement(write.statement)
        self._multi_row = self.statement.multi_row if write.multi_row else None
        self._sql = {1: self.statement.sql}
        self.expressions = [(name, compile_expression(write.values.get(name, name))) for name in self.statement.names]
        self.each = compile_expression(write.for_each) if write.for_each is not None else None
        condition = compile_condition(write.when) if write.when else None
        self._when = condition.matches if condition else None
        expressions = [expression for _, expression in self.expressions]
        used = [*expressions, *(condition.expressions if condition else ()), *([self.each] if self.each else [])]
        self.uses_results = frozenset[str]().union(*(expression.uses_results for expression in used))
        #: Exactly one row per record.
        self.single = self.each is None and self._when is None
        #: One row of plain fields per record, for which the size of the body is limit enough.
        self.plain = self.single and all(expression.field for expression in expressions)
        self._constants = _constants(self.statement, expressions)
        self._take = _take_all(expressions)
        self._evaluate = _evaluate_all(expressions, self._take)
        self._bind: Binder = tuple
        self._binder: RowBinder | None = None

    @property
    def in_bulk(self) -> bool:
        """Whether the rows of many messages may go into one statement (docs/architecture.md)."""
        return bool(self._multi_row) and not (self._when or self.must_change or self.uses_results)

    def is_due_to_a_constant(self, text: str) -> bool:
        """Return whether the database names columns in the text of a refusal, and each of them that this statement
        stores gets the same value from every message."""
        named = {column for column in self._constants if _names(text, column)}
        return bool(named) and all(self._constants[column] for column in named)

    def bound(self, bind: Binder) -> Self:
        """Return this write for a connection: what its columns take is known only once connected."""
        write = copy(self)
        write._bind = bind
        write._binder = bind if isinstance(bind, RowBinder) else None
        return write

    def sql(self, rows: int) -> str:
        """Return the statement that takes so many rows."""
        if rows not in self._sql:
            assert self._multi_row is not None
            self._sql[rows] = self._multi_row.sql(rows)
        return self._sql[rows]

    def rows(self, record: Any, scope: Scope) -> Iterator[Row]:
        """Yield the parameters of every execution that this record asks for. Raise Failed (reject) for bad ones."""
        effort = scope.effort
        try:
            items = self._items(record, scope)
            if effort is not None:
                effort.count(self.index, len(items))
        except Failed as failed:
            raise self._located(failed) from None
        for index, item in enumerate(items):
            if self.each is not None:
                scope.index = index
            row = self.row(item, scope)
            if effort is not None:
                try:
                    effort.grow(row)
                except Failed as failed:
                    raise self._located(failed) from None
            yield row

    def row(self, record: Any, scope: Scope) -> Row:
        """Return the parameters of one execution. Raise Failed if a value is missing or cannot be bound: reject, or
        configuration if it is a constant that the column does not take."""
        values: Sequence[Any] = ()
        try:
            values = self._evaluate(record, scope)
            return self._bind(values)  # refuses MISSING, like every type that it does not know
        except Failed as failed:
            if any(value is MISSING for value in values):
                raise self._missing(values, record, scope) from None
            raise self._located(self._sourced(failed, record, scope)) from None

    @property
    def by_column(self) -> bool:
        """Whether the values of many records can be bound together (`rows_of`)."""
        return self.plain and self._take is not None and self._binder is not None

    def rows_of(self, records: Sequence[Any]) -> list[Row] | None:
        """Return what `row` returns for each of these records; None if it would raise for one of them."""
        assert self._take is not None
        assert self._binder is not None
        try:
            return self._binder.together(zip(*map(self._take, records), strict=True))
        except (LookupError, TypeError):  # a field is missing, or a record is no object
            return None

    def _items(self, record: Any, scope: Scope) -> Sequence[Any]:
        """Return the items to run the statement for: none if `when` does not hold."""
        if self._when is not None and not self._when(record, scope):
            return ()
        if self.each is None:
            return (record,)
        items = self.each.evaluate(record, scope)
        if items is MISSING:
            detail = f"{self.place}.for_each <- {describe_missing(self.each, record, scope)}"
            by_target = bool(self.each.uses_results)
            raise reject("missing-field", "nothing to repeat for", place=self.place, detail=detail, by_target=by_target)
        return elements_of(items)

    def _located(self, failed: Failed) -> Failed:
        failure = failed.failure
        return Failed(replace(failure, place=self.place, detail=failure.detail or self.place))

    def _missing(self, values: Sequence[Any], record: Any, scope: Scope) -> Failed:
        name, expression = self.expressions[[value is MISSING for value in values].index(True)]
        detail = f"{self.place}.values.{name} <- {describe_missing(expression, record, scope)}"
        by_target = bool(expression.uses_results)
        return reject("missing-field", f"no value for :{name}", place=self.place, detail=detail, by_target=by_target)

    def _sourced(self, failed: Failed, record: Any, scope: Scope) -> Failed:
        """Return a failure with the parameter that it came from; the hot path does not keep track of it."""
        failure = failed.failure
        for position, (name, expression) in enumerate(self.expressions):
            if self._causes(failure.code, position, expression, record, scope):
                source = expression.paths[0] if expression.paths else "a constant"
                detail = failure.detail or f"{self.place}.values.{name} <- {source}: {failure.text}"
                kind = Kind.CONFIGURATION if failure.by_target and not expression.parts else failure.kind
                by_target = failure.by_target or bool(expression.uses_results)
                return Failed(replace(failure, kind=kind, detail=detail, by_target=by_target))
        return failed

    def _causes(self, code: str, position: int, expression: Expression, record: Any, scope: Scope) -> bool:
        """Return whether this expression fails, or its value alone, with nulls for the others, cannot be bound."""
        try:
            value = expression.evaluate(record, scope)
            if code == "bad-value":
                self._bind([value if at == position else None for at in range(len(self.expressions))])
        except Failed:
            return True
        return False


def _constants(statement: Statement, expressions: Sequence[Expression]) -> Mapping[str, bool]:
    """Return the columns that a statement stores, and whether each gets a constant."""
    found = {plain_name(column): True for column in statement.literals}
    for target, expression in zip(statement.targets, expressions, strict=True):
        if target is not None and target.stored:
            found[plain_name(target.column)] = not expression.parts
    return found


def _names(text: str, column: str) -> bool:
    """Whether the text of a database names a column: `column "c"`, `Key (a, c)=`, `t.c`, not a word of a sentence."""
    name = re.escape(column)
    quoted = rf"(?:[\"'`(.\[]|, ){name}[\"'`).\],]"
    return re.search(rf"{quoted}|\.{name}\b", text, re.IGNORECASE) is not None


def _take_all(expressions: Sequence[Expression]) -> Callable[[Any], Sequence[Any]] | None:
    """Return what takes all values out of a record in one go, if each of several is just a field of it."""
    fields = [expression.field for expression in expressions]
    return None if len(fields) < 2 or None in fields else itemgetter(*fields)


def _evaluate_all(
    expressions: Sequence[Expression], take: Callable[[Any], Sequence[Any]] | None
) -> Callable[[Any, Scope], Sequence[Any]]:
    """Return what evaluates all of them: in one go if that is possible and none is missing."""
    evaluates = [expression.evaluate for expression in expressions]

    def one_by_one(record: Any, scope: Scope) -> Sequence[Any]:
        return [evaluate(record, scope) for evaluate in evaluates]

    if take is None:
        return one_by_one

    def at_once(record: Any, scope: Scope) -> Sequence[Any]:
        try:
            return take(record)
        except (LookupError, TypeError):
            return one_by_one(record, scope)

    return at_once


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
        self.in_bulk = all(write.in_bulk for write in self.writes)
        #: The names of the writes whose results others use.
        self.results = frozenset[str]().union(*(write.uses_results for write in self.writes))
        self._single = all(write.single and not write.uses_results for write in self.writes)
        self._plain = all(write.plain for write in self.writes)
        self._by_column = False
        #: Whether some statement runs for some messages only.
        self._chooses = any(write.when for write in writes)
        self._format = fmt
        self._limits = limits

    def bound(self, binder_of: BinderOf) -> Self:
        """Return the plan for one connection. Raise Failed if its binders cannot be had."""
        plan = copy(self)
        plan.writes = [write.bound(binder_of(write.statement)) for write in self.writes]
        plan._by_column = all(write.by_column for write in plan.writes)
        return plan

    def units(self, deliveries: Sequence[Delivery]) -> Sequence[Unit | Failed | Later]:
        """Return for each message what `unit` returns or raises. Rows of plain fields are bound column by column, which
        takes half the time. Once messages have unpacked to as much as a call may hold, the rest has to wait."""
        found: list[Unit | Failed | Later | _Plain] = []
        unpacked = 0
        for delivery in deliveries:
            found.append(self._unit_or_plain(delivery) if unpacked < MOST_UNPACKED else LATER)
            unpacked += delivery.unpacked
        plain = [each for each in found if isinstance(each, tuple)]
        parts = (plain[at : at + TOGETHER] for at in range(0, len(plain), TOGETHER))
        bound = chain.from_iterable(map(self._together, parts))
        return [next(bound) if isinstance(each, tuple) else each for each in found]

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

    def bulk(self, units: Sequence[Unit], dialect: Dialect, rows_at_once: int) -> Iterator[tuple[str, str, list[Any]]]:
        """Yield place, SQL and parameters of the statements that write all units, statement by statement."""
        for write in self.writes:
            rows = [row for unit in units for record in unit.rows for row in record[write.index] or ()]
            largest = min(rows_at_once, dialect.rows_at_once(len(write.statement.names)))
            for sql, parameters in statements(rows, largest, write.sql):
                yield write.place, sql, parameters

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


def compile_plan(config: DbConfig) -> Plan:
    """Return the writes of a configuration, compiled."""
    inbox = Inbox(config.idempotency, config.name) if config.idempotency else None
    return Plan(config.database.write, compile_format(config.format, config.limits), config.limits, inbox)

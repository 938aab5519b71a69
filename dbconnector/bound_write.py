"""One entry of `database.write`, compiled: from a record to rows, and from rows to statements. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from operator import itemgetter
from typing import Any, NamedTuple, Self

from connectorlib.errors import Failed, Kind, reject
from connectorlib.expressions import (
    MISSING,
    Expression,
    Scope,
    compile_condition,
    compile_expression,
    describe_missing,
    elements_of,
)
from dbconnector.binder import RowBinder
from dbconnector.bisect import runs, statements
from dbconnector.columns import plain_name
from dbconnector.dialects.base import Dialect
from dbconnector.dialects.row_sets import RowSet
from dbconnector.settings import Write
from dbconnector.sql import Statement, compile_statement

Row = tuple[Any, ...]
Binder = Callable[[Sequence[Any]], Row]
#: Given a statement, returns what makes evaluated values fit for its parameters.
BinderOf = Callable[[Statement], RowBinder]
#: Given a statement, returns how it is run for many rows at once, if it is.
SetOf = Callable[[Statement], RowSet | None]


class Execution(NamedTuple):
    """One statement for the rows of one or more messages. `least`: how many rows it must change."""

    place: str
    sql: str
    parameters: Sequence[Any]
    least: int = 0


def no_set(_statement: Statement) -> None:
    """Every statement runs row by row."""


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
        self._shares = write.multi_row and not (self._when or self.uses_results)
        self._row_set: RowSet | None = None

    @property
    def in_bulk(self) -> bool:
        """Whether the rows of many messages may go into one statement, in their order (docs/architecture.md)."""
        return self._shares and self._multi_row is not None and not self.must_change

    @property
    def in_sets(self) -> bool:
        """Whether the rows of many messages may go into one statement if there is no other for each message."""
        return self._shares and self._row_set is not None and (self._row_set.one_row or not self.must_change)

    def is_due_to_a_constant(self, text: str) -> bool:
        """Return whether the database names columns in the text of a refusal, and each of them that this statement
        stores gets the same value from every message."""
        named = {column for column in self._constants if _names(text, column)}
        return bool(named) and all(self._constants[column] for column in named)

    def bound(self, bind: Binder, row_set: RowSet | None = None) -> Self:
        """Return this write for a connection: what its columns take is known only once connected."""
        write = copy(self)
        write._row_set = row_set
        write._bind = bind
        write._binder = bind if isinstance(bind, RowBinder) else None
        return write

    def executions(self, rows: Sequence[Row], dialect: Dialect, most: int) -> Iterator[Execution]:
        """Yield the statements that together write all rows, at most so many with each."""
        if self._row_set is not None:
            for sql, parameters, count in self._row_set.executions(self.statement.sql, rows, most):
                yield Execution(self.place, sql, parameters, count if self.must_change else 0)
            return
        largest = min(most, dialect.rows_at_once(len(self.statement.names)))
        key = self._multi_row.conflict if self._multi_row is not None and dialect.one_row_a_key else ()
        for run in runs(rows, [tuple([row[at] for at in key]) for row in rows]) if key else (rows,):
            for sql, parameters in statements(run, largest, self.sql):
                yield Execution(self.place, sql, parameters)

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


def no_row(place: str) -> Failed:
    """Return the failure of a statement that had to change a row."""
    return reject("no-row", "the statement changed no row", place=place, by_target=True)


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

"""From a message to the rows of its statements: decode, find the records, evaluate, bind.

Everything that can be compiled is compiled once, at the start; per message only closures run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, NamedTuple

from connectorlib.errors import Failed, reject
from connectorlib.expressions import (
    MISSING,
    Expression,
    Scope,
    compile_expression,
    compile_tests,
    describe_missing,
    elements_of,
)
from connectorlib.formats import Format
from connectorlib.limits import Effort
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits
from dbconnector.settings import Write
from dbconnector.sql import Statement, compile_statement

#: Bytes of a body that is decoded before anybody could look at a clock.
SMALL = 65_536

Row = tuple[Any, ...]
Binder = Callable[[Sequence[Any]], Row]
#: Given a statement and its place, returns what turns evaluated values into what the driver takes.
BinderOf = Callable[[Statement], Binder]


class BoundWrite:
    """One compiled entry of `database.write`."""

    def __init__(self, write: Write, index: int) -> None:
        self.index = index
        self.place = write.place(index)
        self.name = write.name
        self.must_change = write.must_change
        self.statement = compile_statement(write.statement)
        self.multi_row = self.statement.multi_row if write.multi_row else None
        self.expressions = [
            (name, compile_expression(write.values[name]) if name in write.values else compile_expression(name))
            for name in self.statement.names
        ]
        self.each = compile_expression(write.for_each) if write.for_each is not None else None
        matches, tested = compile_tests(write.when)
        self.when = matches if write.when else None
        used = [expression for _, expression in self.expressions] + [*tested, *([self.each] if self.each else [])]
        self.uses_results = frozenset[str]().union(*(expression.uses_results for expression in used))
        #: One row for each record, always.
        self.single = self.each is None and self.when is None
        #: It makes one row of fields of the record, for which the size of a body is limit enough.
        self.plain = self.single and all(expression.field for _, expression in self.expressions)
        self._values = _values_of([expression for _, expression in self.expressions])
        self._bind: Binder = tuple

    @property
    def in_bulk(self) -> bool:
        """Whether a batch may run this statement for all messages at once (design: what may be rearranged)."""
        return bool(self.multi_row) and not (self.when or self.must_change or self.uses_results)

    def bind_with(self, binder: Binder) -> None:
        """Use another connection's binder: what a column takes is known only once connected."""
        self._bind = binder

    def rows(self, record: Any, scope: Scope) -> Iterator[Row]:
        """Yield the parameters of every execution that this record asks for. Raise Failed (reject) for bad ones."""
        effort = scope.effort
        try:
            items = self._wanted(record, scope)
            if effort is not None:
                effort.count(self.index, len(items))
        except Failed as failed:
            raise self._here(failed) from None
        for index, item in enumerate(items):
            if self.each is not None:
                scope.index = index
            row = self.row(item, scope)
            if effort is not None:
                self._add(row, effort)
            yield row

    def _add(self, row: Row, effort: Effort) -> None:
        try:
            effort.grow(row)
        except Failed as failed:
            raise self._here(failed) from None

    def _here(self, failed: Failed) -> Failed:
        failure = failed.failure
        return Failed(replace(failure, place=self.place, detail=failure.detail or self.place))

    def _wanted(self, record: Any, scope: Scope) -> Sequence[Any]:
        """Return the items to run the statement for: none where `when` does not hold."""
        if self.when is not None and not self.when(record, scope):
            return ()
        return (record,) if self.each is None else self._items(self.each, record, scope)

    def row(self, record: Any, scope: Scope) -> Row:
        values: Sequence[Any] = ()
        try:
            values = self._values(record, scope)
            return self._bind(values)  # refuses MISSING, as it does every type that it does not know
        except Failed as failed:
            if any(value is MISSING for value in values):
                raise self._missing(values, record, scope) from None
            raise self._placed(failed, record, scope) from None

    def _items(self, each: Expression, record: Any, scope: Scope) -> Sequence[Any]:
        items = each.evaluate(record, scope)
        if items is MISSING:
            detail = f"{self.place}.for_each <- {describe_missing(each, record, scope)}"
            raise reject("missing-field", "nothing to repeat for", place=self.place, detail=detail)
        return elements_of(items)

    def _missing(self, values: Sequence[Any], record: Any, scope: Scope) -> Failed:
        name, expression = self.expressions[[value is MISSING for value in values].index(True)]
        detail = f"{self.place}.values.{name} <- {describe_missing(expression, record, scope)}"
        return reject("missing-field", f"no value for :{name}", place=self.place, detail=detail)

    def _placed(self, failed: Failed, record: Any, scope: Scope) -> Failed:
        """Return the failure with the parameter that it came from, which the hot path does not keep track of."""
        failure = failed.failure
        if failure.detail:
            return failed
        for position, (_, expression) in enumerate(self.expressions):
            try:
                value = expression.evaluate(record, scope)
            except Failed:
                break
            if failure.code == "bad-value" and not self._binds(position, value):
                break
        else:
            return Failed(replace(failure, place=self.place, detail=self.place))
        name = self.expressions[position][0]
        source = expression.paths[0] if expression.paths else "a constant"
        detail = f"{self.place}.values.{name} <- {source}: {failure.text}"
        return Failed(replace(failure, place=self.place, detail=detail))

    def _binds(self, position: int, value: Any) -> bool:
        """Return whether this value alone, with nulls beside it, can be bound."""
        try:
            self._bind([value if at == position else None for at in range(len(self.expressions))])
        except Failed:
            return False
        return True


def _values_of(expressions: Sequence[Expression]) -> Callable[[Any, Scope], Sequence[Any]]:
    """Return what evaluates all of them: in one go, if each is just a field of the record and none is missing."""
    evaluates = [expression.evaluate for expression in expressions]

    def one_by_one(record: Any, scope: Scope) -> Sequence[Any]:
        return [evaluate(record, scope) for evaluate in evaluates]

    fields = [expression.field for expression in expressions]
    if len(fields) < 2 or None in fields:
        return one_by_one
    take = itemgetter(*fields)

    def at_once(record: Any, scope: Scope) -> Sequence[Any]:
        try:
            values: Sequence[Any] = take(record)
        except (LookupError, TypeError):
            return one_by_one(record, scope)
        return values

    return at_once


#: What named statements of the record have returned so far; the writer fills it in.
Results = dict[str, Mapping[str, Any] | None]
Step = tuple[BoundWrite, Row, Results]


class Key(NamedTuple):
    """What makes two messages the same one."""

    #: SHA-256 of the text in hex, which is what the inbox holds: collations that ignore case would merge different ids.
    digest: str
    text: str


@dataclass(slots=True)
class Unit:
    """One message, ready to write: all of its statements, or none."""

    position: int
    delivery: Delivery
    #: None: no inbox, or a message accepted without a key.
    key: Key | None
    #: Per statement its rows (in bulk), or nothing and `steps` instead.
    rows: list[list[Row]]
    #: (statement, parameters) in order, where statements run message by message; lazy where `$result` is used.
    steps: Callable[[], Iterator[Step]] | None


class Plan:
    """All statements of a configuration, and how messages become units of them."""

    def __init__(self, writes: Sequence[Write], fmt: Format, limits: Limits) -> None:
        self.writes = [BoundWrite(write, index) for index, write in enumerate(writes)]
        self.in_bulk = all(write.in_bulk for write in self.writes)
        self.results = frozenset[str]().union(*(write.uses_results for write in self.writes))
        self._plain = all(write.plain for write in self.writes)
        self._format = fmt
        self._limits = limits

    def bind_with(self, binder_of: BinderOf) -> None:
        for write in self.writes:
            write.bind_with(binder_of(write.statement))

    def unit(self, position: int, delivery: Delivery, key_of: Callable[[Any, Scope], Key | None] | None) -> Unit:
        """Return the message as a unit. Raise Failed (reject) if it cannot be decoded, mapped or bound."""
        effort = None if self._plain and len(delivery.body) < SMALL else Effort(self._limits)
        records = self._format.decode(delivery.body)
        if effort is not None:
            effort.check()
        root = records[0] if len(records) == 1 else records
        scope = Scope(delivery, root, encoding=self._format.encoding, effort=effort)
        key = key_of(root, scope) if key_of else None
        if self.in_bulk:
            return Unit(position, delivery, key, self._bulk(records, scope), None)
        if self.results:
            return Unit(position, delivery, key, [], lambda: self._steps(records, delivery, Effort(self._limits)))
        steps = list(self._steps(records, delivery, effort))  # bound before anything is written
        return Unit(position, delivery, key, [], lambda: iter(steps))

    def _bulk(self, records: Sequence[Any], scope: Scope) -> list[list[Row]]:
        if len(records) == 1:
            return [
                [write.row(records[0], scope)] if write.single else [*write.rows(records[0], scope)]
                for write in self.writes
            ]
        rows: list[list[Row]] = [[] for _ in self.writes]
        for index, record in enumerate(records):
            scope.root, scope.index = record, index
            for write, its in zip(self.writes, rows, strict=True):
                its.extend(write.rows(record, scope))
                scope.index = index
        return rows

    def _steps(self, records: Sequence[Any], delivery: Delivery, effort: Effort | None) -> Iterator[Step]:
        for index, record in enumerate(records):
            scope = Scope(delivery, encoding=self._format.encoding, effort=effort)
            results: Results = {}
            scope.root, scope.results = record, results
            for write in self.writes:
                scope.index = index
                for row in write.rows(record, scope):
                    if effort is not None:
                        effort.rest()  # while it is written
                    yield write, row, results
                    if effort is not None:
                        effort.resume()

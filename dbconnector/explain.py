"""What a message would become, without the database: for `explain`, configuration tests and edited dead letters.
Imports no driver. What rows would become is `row_explanation`.

What only the database knows (types of columns, constraints, results of earlier statements) is not checked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectorlib.config.document import open_document
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import Expression, Scope, compile_condition
from connectorlib.formats import compile_format, records_of
from connectorlib.formats.body_position import RecordPath
from connectorlib.limits import Effort
from connectorlib.messages import Delivery
from connectorlib.pipeline.admission import admitting
from connectorlib.preflight.config_tests import config_tests_command
from connectorlib.preflight.explain_command import explain_command
from connectorlib.preflight.explanation import (
    NOTHING_GIVEN,
    Explanation,
    Given,
    condition_lines,
    ignored,
    note_lines,
    problems,
    rejected,
)
from dbconnector import config
from dbconnector.binder import RowBinder, make_binder
from dbconnector.bound_write import BinderOf, BoundWrite
from dbconnector.columns import UNKNOWN, ColumnType
from dbconnector.dialects.base import GENERIC
from dbconnector.dialects.conversions import Bindings
from dbconnector.inbox_table import Inbox, Key
from dbconnector.row_explanation import RowExplainer
from dbconnector.settings import DbConfig, Write
from dbconnector.sql import Statement
from dbconnector.sql_literal import literal, statement_lines

Row = Mapping[str, Any]
#: What a tests file begins with.
MESSAGE_TEST: Mapping[str, Any] = {
    "name": "a reading becomes a row",
    "message": {"message_id": "m-1", "body": {"device": "pump-3", "value": 4.25}},
    "rows": [{"device": "pump-3", "value": 4.25}],
}
ROW_TEST: Mapping[str, Any] = {
    "name": "a row becomes a message",
    "row": {"id": 7, "device": "pump-3"},
    "published": {"routing_key": "command.pump-3", "body": {"id": 7, "device": "pump-3"}},
}


def checker(file: str) -> Callable[[Delivery], list[str] | None] | None:
    """Given a configuration file, return what finds the problems of a message, or None for one from another queue; None
    if it is not one of dbconnector. Raise ConfigurationError for mistakes in it."""
    if "database" not in open_document(file, {}, resolve_secrets=False).data:
        return None
    offline = opened(file)
    queues = offline.queues("", "") if offline.settings.database.write else []
    return lambda delivery: offline.problems(delivery) if delivery.queue in queues else None


def opened(file: str) -> "Offline":
    """Given a configuration file, return what explains messages. Raise Failed for mistakes in it."""
    return Offline(config.load(file, resolve_secrets=False))


def bind_generic(statement: Statement) -> RowBinder:
    """Return a binder that refuses the values that no database takes."""
    return make_binder(_ANY, [UNKNOWN] * len(statement.names), statement.names)


def _structures(column: ColumnType) -> Bindings:
    """Lists and objects are for arrays and columns of JSON."""
    return {**GENERIC.own_bindings(column), list: None, dict: None}


_ANY = replace(GENERIC, own_bindings=_structures)


class Offline:
    """Explains messages by the writes of one configuration. `binder_of` returns what checks a statement's values."""

    def __init__(self, settings: DbConfig, binder_of: BinderOf = bind_generic) -> None:
        self.settings = settings
        self.format = settings.format
        self._source = settings.source
        self._format = compile_format(settings.format, settings.limits)
        self._limits = settings.limits
        self._admission = admitting(settings.conditions, settings.format, settings.limits)
        self._writes = [_OfflineWrite(write, at, binder_of) for at, write in enumerate(settings.database.write)]
        self._inbox = Inbox(settings.idempotency, settings.name) if settings.idempotency else None

    def queues(self, exchange: str, routing_key: str) -> Sequence[str]:
        """Return the only queue that there is."""
        return [self._source.queue] if self._source else [""]

    def format_of(self, delivery: Delivery) -> Mapping[str, Any]:
        return self.format

    def problems(self, delivery: Delivery) -> list[str]:
        """Return what would dead-letter this message."""
        return problems(self.explain(delivery))

    def explain(self, delivery: Delivery, given: Given = NOTHING_GIVEN) -> Explanation:
        """Return the statements that a message would run, with their values, or why it would be rejected. Raise Failed
        if the configuration writes none."""
        if not self._writes:
            hint = "; `explain --row` is for rows that are published" if self.settings.database.select else ""
            text = f"{self.settings.file}: database.write is missing: it is required to write messages{hint}"
            raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))
        effort = Effort(self._limits)
        rows: dict[str, list[Row]] = {}
        chosen: list[str] = []
        try:
            reasons = self._admission.reasons(delivery) if self._admission else []
            if self._admission and (left_out := self._admission(delivery)):
                return ignored(left_out, reasons)
            records = records_of(delivery, self._format)
            root = records[0] if len(records) == 1 else records
            scope = Scope(delivery, root, now=given.now, fmt=self._format, effort=effort)
            key = self._inbox.key(root, scope) if self._inbox else None
            for number, record in enumerate(records):
                if number in delivery.left_out:
                    continue
                scope.root = record
                for write in self._writes:
                    scope.index = number
                    if reason := write.reason(record, scope):
                        chosen.append(f"record {number}: {reason}" if len(records) > 1 else reason)
                    for row in write.rows(record, scope, RecordPath(number)):
                        rows.setdefault(write.place, []).append(row)
        except Failed as failed:
            return rejected(failed.failure, failed.element if isinstance(failed, _Located) else None)
        return self._explanation(rows, key, [*note_lines(chosen), *condition_lines(reasons)])

    def explain_rows(self, rows: Sequence[Mapping[str, Any]], given: Given = NOTHING_GIVEN) -> Sequence[Explanation]:
        """Return the messages that rows of `select` would become. Raise Failed if the configuration publishes none,
        ValueError for a value that is not of its type, and for rows of different columns."""
        return RowExplainer(self.settings).explain_records(rows, given)

    def query_lines(self) -> Iterator[str]:
        """Yield the query that `follow` makes of the configured one."""
        return RowExplainer(self.settings).query_lines()

    def example(self) -> Mapping[str, Any]:
        """Return one test to begin with."""
        return MESSAGE_TEST if self._writes else ROW_TEST

    def _explanation(self, rows: Mapping[str, list[Row]], key: Key | None, conditions: Sequence[str]) -> Explanation:
        lines: list[str] = []
        for write in self._writes:
            if write.place in rows:
                lines += ["", *write.lines(rows[write.place])]
        if key is not None and self._inbox is not None:
            lines += ["", f"at most once: its key in {self._inbox.table} is {literal(key.text)}"]
        lines += conditions
        count = sum(map(len, rows.values()))
        title = (
            f"would be written by {count} {'statement' if count == 1 else 'statements'}" if count else "writes nothing"
        )
        data: dict[str, Any] = {"rows": rows}
        return Explanation(title, lines, data if key is None else {**data, "key": key.text})


class _Located(Failed):
    """A failure, and the record or element of `for_each` that caused it."""

    def __init__(self, failure: Failure, element: RecordPath) -> None:
        super().__init__(failure)
        self.element = element


class _OfflineWrite:
    """One entry of `database.write`. A result of the database is shown by its name."""

    def __init__(self, write: Write, index: int, binder_of: BinderOf) -> None:
        self.place = write.place(index)
        self._text = write.statement
        self._predicted = _predict(write)
        compiled = BoundWrite(self._predicted.write, index)
        self._steps = _steps_of(compiled.each)
        names = compiled.statement.names
        bind = binder_of(compiled.statement)

        def checked(values: Sequence[Any]) -> tuple[Any, ...]:
            known = zip(names, values, strict=True)
            bind([None if name in self._predicted.from_database else value for name, value in known])
            return tuple(values)

        self._write = compiled.bound(checked)
        #: Whether it is run, as far as that is known without the database.
        self._when = compile_condition(self._predicted.write.when) if self._predicted.write.when else None

    def reason(self, record: Any, scope: Scope) -> str:
        """Return whether `when` holds for a record and why, for a person; "" where there is none."""
        if self._when is None:
            return ""
        holds = "holds" if self._when.matches(record, scope) else "does not hold"
        return f"{self.place}: when {holds}: {self._when.reason(record, scope)}"

    def rows(self, record: Any, scope: Scope, element: RecordPath) -> Iterator[Row]:
        """Yield the values of each execution by name, as the mapping gives them. Raise Failed or _Located."""
        number = 0
        try:
            for row in self._write.rows(record, scope):
                yield dict(zip(self._write.statement.names, row, strict=True))
                number += 1
        except Failed as failed:
            if self._steps is not None and scope.index == number:
                element = RecordPath(element.record, (*self._steps, number))
            raise _Located(failed.failure, element) from None

    def lines(self, rows: Sequence[Row]) -> Iterator[str]:
        """Yield the statement and its values as lines."""
        yield f"{self.place}{f', {len(rows)} times' if len(rows) > 1 else ''}{self._predicted.note}"
        yield from statement_lines(self._text, rows, self._predicted.from_database)


@dataclass(frozen=True, slots=True)
class _Predicted:
    """A write as far as it is known without the database."""

    write: Write
    #: The parameters whose value an earlier statement returns, and the path of that value.
    from_database: Mapping[str, str]
    note: str


def _predict(write: Write) -> _Predicted:
    """Replace every result of the database by its path."""
    compiled = BoundWrite(write, 0)
    results = {
        name: next(path for path in expression.paths if path.startswith("$result"))
        for name, expression in compiled.expressions
        if expression.uses_results
    }
    values = {**write.values, **{name: {"value": path} for name, path in results.items()}}
    found, note = replace(write, values=values), ""
    if compiled.each is not None and compiled.each.uses_results:
        found, note = replace(found, for_each=None), " (repeated for what the database returns)"
    asked = compile_condition(write.when).expressions if write.when else ()
    if any(expression.uses_results for expression in asked):
        found, note = replace(found, when={}), f"{note} (if what the database returns is so)"
    return _Predicted(found, results, note)


def _steps_of(each: Expression | None) -> tuple[str | int, ...] | None:
    """Return the path of the `for_each` list in the record; None if there is none, or it is made of several parts."""
    if each is None or len(each.parts) != 1 or each.parts[0].source not in (None, ""):
        return None
    return each.parts[0].steps


explain = explain_command("dbconnector", "db.config", opened, rows=True)
test = config_tests_command("dbconnector", "db.config", opened)

"""Compiles a WHERE condition to a test of a record. As in an org, text is compared ignoring case, and an id of 15
characters equals that of 18."""

import operator
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any

from sfconnector.sandbox import field_values, ids, soql_parser
from sfconnector.sandbox.objects import NUMBERS, Catalog, OrgField, SObject
from sfconnector.sandbox.refusals import refused
from sfconnector.sandbox.store import Record, Store

Test = Callable[[Record], bool]

_APPEND = (
    "If you are attempting to use a custom {kind}, be sure to append the '__{suffix}' after the {name}. Please"
    " reference your WSDL or the describe call for the appropriate names."
)
NO_COLUMN = "No such column '{}' on entity '{}'. " + _APPEND.format(kind="field", suffix="c", name="custom field name")
NO_RELATION = "Didn't understand relationship '{}' in field path. " + _APPEND.format(
    kind="relationship", suffix="r", name="custom relationship name"
)
NO_OBJECT = "sObject type '{}' is not supported. " + _APPEND.format(kind="object", suffix="c", name="entity name")

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_DAYS = {"TODAY": (0, 1), "YESTERDAY": (-1, 0), "TOMORROW": (1, 2)}


class Paths:
    """Resolves paths from one object to fields, and reads the values from records."""

    def __init__(
        self, catalog: Catalog, store: Store, sobject: SObject, text: str, hidden: Collection[str] = ()
    ) -> None:
        """`hidden` are records whose fields are not told."""
        self.hidden = hidden
        self.catalog = catalog
        self.store = store
        self.sobject = sobject
        self.text = text

    def steps(self, path: soql_parser.FieldPath) -> tuple[list[OrgField], SObject, OrgField]:
        """Return the reference fields of a path, the last object and the field. Raise ApiError."""
        names = path.names
        if len(names) > 1 and names[0].lower() == self.sobject.name.lower():
            names = names[1:]  # the name of the object itself
        steps, at = [], self.sobject
        for name in names[:-1]:
            known = at.relation(name)
            if known is None:
                raise soql_parser.refusal(self.text, path.at, NO_RELATION.format(name), "INVALID_FIELD")
            steps.append(known)
            at = self._parent(known, names[-1], path)
        field = at.field(names[-1])
        if field is None:
            raise soql_parser.refusal(self.text, path.at, NO_COLUMN.format(names[-1], at.name), "INVALID_FIELD")
        return steps, at, field

    def _parent(self, known: OrgField, name: str, path: soql_parser.FieldPath) -> SObject:
        """Return the parent object; of several, one that has the field."""
        parents = [parent for each in known.refers_to if (parent := self.catalog.find(each))]
        if not parents:  # the schema lacks the parent object
            raise soql_parser.refusal(self.text, path.at, NO_RELATION.format(known.relationship), "INVALID_FIELD")
        return next((parent for parent in parents if parent.field(name)), parents[0])

    def parent_of(self, record: Record, step: OrgField) -> Record | None:
        wanted = record.get(step.name)
        parent = self.catalog.by_prefix.get(wanted[:3]) if wanted else None
        found = self.store.get(parent, wanted) if parent is not None and wanted else None
        return None if found is None or found.get("IsDeleted") or wanted in self.hidden else found

    def reader(self, path: soql_parser.FieldPath) -> tuple[OrgField, Callable[[Record], Any]]:
        """Return the field of a path, and a function that reads it from a record (None if a parent is missing)."""
        steps, _, field = self.steps(path)
        name = field.name
        default = False if field.type == "boolean" else None

        def read(record: Record) -> Any:
            at: Record | None = record
            for step in steps:
                at = self.parent_of(at, step) if at is not None else None
            return at.get(name, default) if at is not None else None

        return field, read


def compile_condition(condition: soql_parser.Condition, paths: Paths, now: datetime) -> Test:
    """Given a condition, return a test of a record. Raise ApiError for unknown fields and values of a wrong type."""
    match condition:
        case soql_parser.Every(parts):
            tests = [compile_condition(part, paths, now) for part in parts]
            return lambda record: all(test(record) for test in tests)
        case soql_parser.Some(parts):
            tests = [compile_condition(part, paths, now) for part in parts]
            return lambda record: any(test(record) for test in tests)
        case soql_parser.Not(part):
            inside = compile_condition(part, paths, now)
            return lambda record: not inside(record)
        case soql_parser.Compare():
            return _compare(condition, paths, now)


def _compare(compare: soql_parser.Compare, paths: Paths, now: datetime) -> Test:
    field, read = paths.reader(compare.path)
    if not field.filterable:
        text = f"field '{field.name}' can not be filtered in a query call"
        raise soql_parser.refusal(paths.text, compare.path.at, text, "INVALID_FIELD")
    if compare.operator == "like":
        return _like(field, read, compare.values[0])
    day = _day(compare.values[0], now) if compare.operator not in ("in", "not in") else None
    if day is not None and field.type in ("date", "datetime"):
        return _within(compare.operator, partial(_comparable, field), read, day)
    wanted = [_literal(field, literal, compare.operator) for literal in compare.values]
    if compare.operator in ("=", "in"):
        known = frozenset(wanted)
        return lambda record: _comparable(field, read(record)) in known
    if compare.operator in ("!=", "not in"):
        known = frozenset(wanted)
        return lambda record: _comparable(field, read(record)) not in known
    return _ordered(_ORDERS[compare.operator], partial(_comparable, field), read, wanted[0])


def _ordered(
    order: Callable[[Any, Any], bool], comparable: Callable[[Any], Any], read: Callable[[Record], Any], limit: Any
) -> Test:
    def test(record: Record) -> bool:
        value = comparable(read(record))
        return value is not None and limit is not None and order(value, limit)

    return test


def _within(
    sign: str, comparable: Callable[[Any], Any], read: Callable[[Record], Any], day: tuple[datetime, datetime]
) -> Test:
    """Compare with a range of days: `<` is before the start, `>` after the end."""
    start, end = day

    def test(record: Record) -> bool:
        value = comparable(read(record))
        if value is None:
            return sign == "!="
        inside = bool(start <= value < end)
        answers = {"=": inside, "!=": not inside, "<": value < start, ">": value >= end, "<=": value < end}
        return bool(answers.get(sign, value >= start))

    return test


def _day(literal: soql_parser.Literal, now: datetime) -> tuple[datetime, datetime] | None:
    if literal.kind != "days":
        return None
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    name, _, number = literal.value.partition(":")
    if name in _DAYS:
        first, last = _DAYS[name]
    else:
        count = int(number)
        first, last = (-count, 1) if name.startswith("LAST") else (1, count + 1)
    return today + timedelta(days=first), today + timedelta(days=last)


def _like(field: OrgField, read: Callable[[Record], Any], literal: soql_parser.Literal) -> Test:
    if (
        literal.kind != "string"
        or field.type in NUMBERS
        or field.type in ("boolean", "date", "datetime", "id", "reference")
    ):
        text = f"invalid operator on {field.type} field" if literal.kind == "string" else _expected(field)
        raise refused("INVALID_QUERY_FILTER_OPERATOR", text, None)
    pattern = "".join(
        ".*" if part == "%" else "." if part == "_" else re.escape(part[-1])
        for part in re.findall(r"\\[%_\\]|.", literal.value, re.DOTALL)
    )
    matches = re.compile(pattern, re.DOTALL | re.IGNORECASE).fullmatch
    return lambda record: (value := read(record)) is not None and matches(value) is not None


def _comparable(field: OrgField, value: Any) -> Any:
    """Return a record's value in the form that is compared."""
    if value is None:
        return None
    if field.type in ("date", "datetime"):
        return field_values.moment(value)
    if field.type in ("id", "reference") or not isinstance(value, str):
        return value
    return value.lower()


def _expected(field: OrgField) -> str:
    kind = "string" if field.type not in (*NUMBERS, "boolean", "date", "datetime") else field.type
    kind = {"datetime": "dateTime", "currency": "double", "percent": "double"}.get(kind, kind)
    quotes = "should be" if kind == "string" else "should not be"
    text = f"value of filter criterion for field '{field.name}' must be of type {kind} and {quotes} enclosed in quotes"
    return text


def _literal(field: OrgField, literal: soql_parser.Literal, sign: str) -> Any:
    """Given the value of a condition, return it in the form of `_comparable`. Raise ApiError for a wrong type."""
    if literal.kind == "null":
        return None
    if field.type in NUMBERS:
        if literal.kind == "number":
            return float(literal.value) if field.type != "int" else literal.value
    elif field.type == "boolean":
        if literal.kind == "boolean" and sign not in _ORDERS:
            return literal.value
    elif field.type in ("date", "datetime"):
        if literal.kind == field.type:
            return _moment(literal)
    elif literal.kind == "string":
        return _text(field, literal)
    raise refused("INVALID_FIELD", _expected(field), None)


def _moment(literal: soql_parser.Literal) -> datetime:
    try:
        return field_values.moment(literal.value)
    except ValueError:
        raise refused("MALFORMED_QUERY", f"invalid date: {literal.value}", None) from None


def _text(field: OrgField, literal: soql_parser.Literal) -> Any:
    text = literal.value
    if field.type not in ("id", "reference"):
        return text.lower()
    if text == "":
        return None
    wanted = ids.full(text)
    if wanted is None:
        raise refused("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {text}", None)
    return wanted

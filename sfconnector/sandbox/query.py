"""Runs a query: columns, parents, order, LIMIT and OFFSET. Returns records as the REST API writes them."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

from sfconnector.sandbox import soql_parser, where
from sfconnector.sandbox.objects import Catalog, OrgField, SObject
from sfconnector.sandbox.refusals import refused
from sfconnector.sandbox.store import Record, Store

MAX_OFFSET = 2000
MAX_WITH_ALL_FIELDS = 200

WriteRow = Callable[[Record], dict[str, Any]]


class Rows(list[dict[str, Any]]):
    """The records of an answer. `total` is totalSize, which a plain COUNT() answers without records."""

    def __init__(self, rows: Iterable[dict[str, Any]], total: int | None = None) -> None:
        super().__init__(rows)
        self.total = len(self) if total is None else total


def attributes(sobject: str, record_id: str, version: str) -> dict[str, str]:
    return {"type": sobject, "url": f"/services/data/v{version}/sobjects/{sobject}/{record_id}"}


def run(
    text: str,
    catalog: Catalog,
    store: Store,
    *,
    now: datetime,
    version: str,
    with_deleted: bool = False,
    hidden: Collection[str] = (),
) -> Rows:
    """Return the records that a statement selects, without those that are hidden. Raise ApiError."""
    query = soql_parser.parse(text)
    sobject = catalog.find(query.sobject)
    if sobject is None:
        raise soql_parser.refusal(text, query.sobject_at, where.NO_OBJECT.format(query.sobject), "INVALID_TYPE")
    paths = where.Paths(catalog, store, sobject, text, hidden)
    columns = _columns(query, sobject)
    counts = [column for column in columns if isinstance(column, soql_parser.Count)]
    write = _writer([column for column in columns if isinstance(column, soql_parser.FieldPath)], paths, version)
    table = store.table(sobject)
    found = list(table.records.values() if with_deleted else table.live())
    if hidden:
        found = [record for record in found if record["Id"] not in hidden]
    if query.where is not None:
        test = where.compile_condition(query.where, paths, now)
        found = [record for record in found if test(record)]
    _sort(found, query, paths)
    if query.offset > MAX_OFFSET:
        raise refused("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}", None)
    if counts:
        return _counted(query, columns, counts, found, paths)
    return Rows(write(record) for record in found[query.offset :][: query.limit])


def _columns(query: soql_parser.Query, sobject: SObject) -> list[soql_parser.FieldPath | soql_parser.Count]:
    columns: list[soql_parser.FieldPath | soql_parser.Count] = []
    seen = set()
    for column in query.columns:
        if not isinstance(column, soql_parser.AllFields):
            columns.append(column)
        elif column.scope != "standard" and (query.limit is None or query.limit > MAX_WITH_ALL_FIELDS):
            message = f"The SOQL FIELDS function must have a LIMIT of at most {MAX_WITH_ALL_FIELDS}"
            raise soql_parser.refusal(query.text, column.at, message)
        else:
            columns += [
                soql_parser.FieldPath((name,), column.at)
                for name in sobject.fields
                if column.scope == "all" or name.endswith("__c") == (column.scope == "custom")
            ]
    for column in columns:
        if isinstance(column, soql_parser.FieldPath):
            if str(column).lower() in seen:
                raise soql_parser.refusal(query.text, column.at, f"duplicate field selected: {column}", "INVALID_FIELD")
            seen.add(str(column).lower())
    return columns


def _writer(columns: list[soql_parser.FieldPath], paths: where.Paths, version: str) -> WriteRow:
    """Return a function that renders a record with these columns; those of a parent are a nested object."""
    plain: list[OrgField] = []
    deeper: list[tuple[list[OrgField], OrgField]] = []
    for column in columns:
        steps, _, field = paths.steps(column)
        if not steps:
            plain.append(field)
        else:
            deeper.append((steps, field))

    def write(record: Record) -> dict[str, Any]:
        written = render(plain, paths.sobject.name, record, version)
        for steps, field in deeper:
            _write_deeper(written, record, steps, field)
        return written

    def _write_deeper(written: dict[str, Any], record: Record, steps: list[OrgField], field: OrgField) -> None:
        at: Record | None = record
        for step in steps:
            assert at is not None
            at = paths.parent_of(at, step)
            name = step.relationship or ""
            if at is None:
                written[name] = None
                return
            kind = paths.catalog.by_prefix[at["Id"][:3]].name
            written = written.setdefault(name, {"attributes": attributes(kind, at["Id"], version)})
        written[field.name] = value_of(field, at or {})

    return write


def value_of(field: OrgField, record: Record) -> Any:
    return record.get(field.name, False if field.type == "boolean" else None)


def render(fields: Iterable[OrgField], sobject: str, record: Record, version: str) -> dict[str, Any]:
    written: dict[str, Any] = {"attributes": attributes(sobject, record["Id"], version)}
    for field in fields:
        written[field.name] = value_of(field, record)
    return written


def _sort(found: list[Record], query: soql_parser.Query, paths: where.Paths) -> None:
    """Sort in place; equal records stay in order of creation."""
    for order in reversed(query.order):
        field, read = paths.reader(order.path)
        if not field.sortable:
            text = f"field '{field.name}' can not be sorted in a query call"
            raise soql_parser.refusal(query.text, order.path.at, text)

        def key(record: Record, read: Callable[[Record], Any] = read) -> Any:
            value = read(record)
            return value.lower() if isinstance(value, str) else value

        nulls = [record for record in found if read(record) is None]
        others = sorted((record for record in found if read(record) is not None), key=key, reverse=order.descending)
        found[:] = nulls + others if order.nulls_first else others + nulls


def _counted(
    query: soql_parser.Query,
    columns: list[soql_parser.FieldPath | soql_parser.Count],
    counts: list[soql_parser.Count],
    found: list[Record],
    paths: where.Paths,
) -> Rows:
    if counts[0].path is None:
        if len(columns) > 1:
            raise soql_parser.refusal(query.text, counts[0].at, "unexpected token: 'COUNT'")
        rest = found[query.offset :][: query.limit]
        return Rows([], total=len(rest))
    counted: dict[str, Any] = {"attributes": {"type": "AggregateResult"}}
    unnamed = 0
    for column in columns:
        if not isinstance(column, soql_parser.Count) or column.path is None:
            name = str(column) if isinstance(column, soql_parser.FieldPath) else "COUNT"
            raise soql_parser.refusal(query.text, column.at, f"Field must be grouped or aggregated: {name}")
        _, read = paths.reader(column.path)
        alias = column.alias
        if alias is None:
            alias, unnamed = f"expr{unnamed}", unnamed + 1
        counted[alias] = sum(read(record) is not None for record in found)
    return Rows([counted])

"""What rows of the query would become, without broker and database: for `explain --row`, configuration tests and
`select --dry-run`. Imports no driver."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.formats import compile_format
from connectorlib.messages import Outgoing
from connectorlib.preflight.explanation import NOTHING_GIVEN, Explanation, Given, Rejection, indented_json
from connectorlib.values.types import TYPES
from dbconnector.columns import plain_name
from dbconnector.dialects import GENERIC, Dialect, find_driver
from dbconnector.mark_parameters import ERROR, ON_FAILED, ON_SENT, error_text, positions
from dbconnector.odbc.connection_string import split_connection
from dbconnector.row_group import RowGroups
from dbconnector.row_message import MessageMapping, Record
from dbconnector.settings import Connection, DbConfig, Follow, Select
from dbconnector.sql import compile_statement, page_interval
from dbconnector.sql_literal import literal, statement_lines
from dbconnector.watermark import message_id_of

Row = Sequence[Any]
#: Stands for what only a run knows.
RANDOM_ID = "(a random UUID)"
WHY = "<why it failed>"
#: Characters of a body in the text; the data has all of them.
MOST_BODY = 4000


def typed_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Given a row as JSON has it, return its values: `{"type": "timestamp", "value": "…"}` is one of that type. Raise
    ValueError, with the column, for a value that is none of its type."""
    found = {}
    for name, value in row.items():
        try:
            found[name] = _typed(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


def _typed(value: Any) -> Any:
    if not isinstance(value, Mapping) or value.keys() != {"type", "value"} or value["type"] not in TYPES:
        return value
    return value["value"] if value["type"] == "json" else TYPES[value["type"]](value["value"])


class RowExplainer:
    """Explains rows by `database.select` and `broker.destination` of one configuration. Raise Failed without them."""

    def __init__(self, settings: DbConfig) -> None:
        for path, section in (
            ("database.select", settings.database.select),
            ("broker.destination", settings.destination),
        ):
            if section is None:
                text = f"{settings.file}: {path} is missing: it is required to publish rows"
                raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))
        assert settings.destination is not None
        assert settings.database.select is not None
        self._select = settings.database.select
        self._follow = self._select.follow
        self._name = settings.name
        self._dialect = _dialect_of(settings.database.connection)
        self._rows, self._most_bytes = settings.destination.rows, settings.limits.body_bytes
        fmt = compile_format(settings.format, settings.limits)
        self._mapping = MessageMapping(settings.destination, fmt, self._message_id, settings.database.clock)

    def explain(self, columns: Sequence[str], rows: Sequence[Row], given: Given = NOTHING_GIVEN) -> list[Explanation]:
        """Return what the rows would become in turn: each a message, or with `destination.rows` several together. Raise
        Failed for a mistake of the configuration that concerns all."""
        if self._rows is not None:
            return list(self._grouped(columns, rows, given))
        make = self._mapping.maker(columns, now=given.now)
        found = []
        for row in rows:
            try:
                self._demand_key(columns)
                found.append(self._published(make(row), columns, [row]))
            except Failed as failed:
                found.append(self._rejected(failed.failure, columns, row))
        return found

    def _grouped(self, columns: Sequence[str], rows: Sequence[Row], given: Given) -> Iterator[Explanation]:
        most = self._rows if isinstance(self._rows, int) else None
        groups = RowGroups(
            self._mapping, columns, most_rows=most, most_bytes=self._most_bytes, keep=lambda row: row, now=given.now
        )
        for row in rows:
            try:
                self._demand_key(columns)
                complete = groups.add(tuple(row))
            except Failed as failed:
                yield self._rejected(failed.failure, columns, row)
                continue
            if complete:
                yield self._published(complete[0], columns, complete[1].rows)
        if last := groups.close():
            yield self._published(last[0], columns, last[1].rows)

    def explain_records(self, records: Sequence[Record], given: Given = NOTHING_GIVEN) -> list[Explanation]:
        """Return what rows would become, given as JSON has them. Raise ValueError for a wrong value, and for rows of
        different columns."""
        values = [typed_row(each) for each in records]
        columns = tuple(values[0])
        for number, each in enumerate(values):
            if each.keys() != values[0].keys():
                raise ValueError(f"row {number} has the columns {', '.join(each)}, row 0 has {', '.join(columns)}")
        try:
            return self.explain(columns, [tuple(each[name] for name in columns) for each in values], given)
        except Failed as failed:
            return [Explanation("rejected", rejection=Rejection(failed.failure))]

    def query_lines(self) -> Iterator[str]:
        """Yield the query that `follow` runs, for the configuration as a whole."""
        if self._follow is not None:
            yield from _follow_lines(self._select, self._follow, self._dialect)

    def _message_id(self, record: Record) -> str:
        if self._follow is None:
            return RANDOM_ID
        return message_id_of(self._name, (*self._follow.key, self._follow.column), record)

    def _demand_key(self, columns: Sequence[str]) -> None:
        """Raise Failed if a column of the followed key is not in the row."""
        follow, lower = self._follow, {column.lower() for column in columns}
        wanted = (*follow.key, follow.column) if follow is not None else ()
        if missing := [name for name in wanted if plain_name(name).lower() not in lower]:
            text = f"{missing[0]} is no column of the query; they are {', '.join(columns)}"
            raise Failed(Failure(Kind.CONFIGURATION, "key", text, "select.follow"))

    def _published(self, message: Outgoing, columns: Sequence[str], rows: Sequence[Row]) -> Explanation:
        count = "" if self._rows is None else f", with {len(rows)} {'row' if len(rows) == 1 else 'rows'}"
        data: dict[str, Any] = {"published": _as_data(message)}
        lines = ["", *_property_lines(message), "", *_body_lines(data["published"])]
        if self._select.on_sent is not None:
            values = [_parameters(self._select.on_sent, ON_SENT, columns, row) for row in rows]
            data[ON_SENT] = values[0] if self._rows is None else values
            lines += ["", "on_sent, once the broker has confirmed it"]
            lines += statement_lines(self._select.on_sent, values)
        if self._select.on_failed is not None:
            values = [_parameters(self._select.on_failed, ON_FAILED, columns, row) for row in rows]
            lines += ["", "on_failed, if no queue takes it"]
            lines += statement_lines(self._select.on_failed, values, {ERROR: WHY})
        if self._select.on_sent is None and self._follow is None:
            lines += ["", "nothing marks the row: every run publishes it again"]
        return Explanation(f"would be published to {_route(message)}{count}", lines, data)

    def _rejected(self, failure: Failure, columns: Sequence[str], row: Row) -> Explanation:
        rejection = Rejection(replace(failure, detail=failure.detail or failure.place))
        if failure.kind is not Kind.REJECT or self._select.on_failed is None:
            return Explanation("rejected", ["", "reading would stop here"], rejection=rejection)
        values = _parameters(self._select.on_failed, ON_FAILED, columns, row, error_text(failure))
        lines = ["", "on_failed", *statement_lines(self._select.on_failed, [values])]
        return Explanation("rejected", lines, {ON_FAILED: values}, rejection)


def _parameters(text: str, place: str, columns: Sequence[str], row: Row, error: str = "") -> dict[str, Any]:
    """Return the parameters of a statement by name. Raise Failed if one is no column."""
    names = compile_statement(text).names
    found = positions(names, columns, place)
    return {name: error if at is None else row[at] for name, at in zip(names, found, strict=True)}


# -- the message


def _route(message: Outgoing) -> str:
    if message.exchange:
        return f"exchange {message.exchange} with routing key {literal(message.routing_key)}"
    return f"queue {message.routing_key}, through the default exchange"


def _as_data(message: Outgoing) -> dict[str, Any]:
    """Return a message in the words of a tests file."""
    data = {"exchange": message.exchange, "routing_key": message.routing_key, **message.properties}
    return {**data, **_content(message)}


def _content(message: Outgoing) -> dict[str, Any]:
    """Return the body as a JSON value where it is JSON, as text where it is text, else in base64."""
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(message.body).decode()}
    kind = str(message.properties.get("content_type", "")).partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return {"body": json.loads(text, parse_float=Decimal)}
        except ValueError:
            pass
    return {"body": text}


def _property_lines(message: Outgoing) -> Iterator[str]:
    pairs = [(name, value) for name, value in message.properties.items() if name != "headers"]
    pairs += [(f"header {name}", literal(value)) for name, value in message.properties.get("headers", {}).items()]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        yield f"  {name:{width}}  {value}{' (milliseconds)' if name == 'expiration' else ''}"


def _body_lines(data: Mapping[str, Any]) -> Iterator[str]:
    if "base64" in data:
        text = f"(base64) {data['base64']}"
    else:
        body = data["body"]
        text = body if isinstance(body, str) else indented_json(body)
    more = len(text) - MOST_BODY
    yield from (f"  {line}" for line in text[:MOST_BODY].splitlines())
    if more > 0:
        yield f"  and {more} more characters (--json has all)"


# -- follow


def _follow_lines(select: Select, follow: Follow, dialect: Dialect) -> Iterator[str]:
    order = (follow.column, *follow.key)
    paging = page_interval(select.query, order, low=":low", high=":horizon", rows=select.fetch, words=dialect.paging)
    yield f"follow, what each round reads: from :low, {follow.overlap_s:g} s before the watermark, to :horizon"
    yield from (f"  {line.strip()}" for line in paging.first.splitlines() if line.strip())


def _dialect_of(connection: Connection) -> Dialect:
    """Return the dialect that the driver's name tells; which it is, a live server says for certain."""
    try:
        keywords = split_connection(connection) if isinstance(connection, str) else connection
    except ValueError:
        return GENERIC
    return find_driver(next((str(value) for key, value in keywords.items() if key.lower() == "driver"), ""))[0]

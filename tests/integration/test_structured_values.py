"""Lists in arrays, and JSON in columns of JSON: written as messages have them, and told as messages have them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from connectorlib.errors import Failed
from connectorlib.formats import compile_format
from connectorlib.messages import Dead, Done
from connectorlib.shared_settings import Destination, Limits
from dbconnector.mark_rows import RowMark
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.row_message import MessageMapping
from dbconnector.row_source import RowSource
from dbconnector.settings import DatabaseSettings, Select, Write
from dbconnector.sink import DatabaseSink
from dbconnector.wall_clock import WallClock
from tests.integration.test_values import config, delivery, tried
from tests.services.database import Database as Server

ARRAYS = {
    "whole": ("integer[]", [1, None, -2]),
    "grid": ("integer[]", [[1, 2], [3, None]]),
    "words": ("text[]", ["a b", "", None, "NULL", 'q"q', "b\\s", "c,d", "{e}", " ", "x\ny", "é🦉"]),
    "exact": ("numeric[]", [Decimal("1.50"), Decimal("12345678901234567890.123456789")]),
    "moments": ("timestamptz[]", ["2026-01-02T03:04:05+00:00"]),
    "truths": ("boolean[]", [True, False, None]),
    "none": ("text[]", []),
    "objects": ("jsonb[]", [{"a": [1, Decimal("2.50")]}, None]),
}
DOCUMENT = {"a": [1, Decimal("2.50"), None], "b": {"c": 'é"\\'}, "d": Decimal("12345678901234567890.123456789")}
JSON_TYPES = {"postgresql": ("json", "jsonb"), "mariadb": ("json",), "sqlite": ("json",)}


@pytest.fixture
def odbc(database: Server) -> Iterator[Database]:
    with closing(Database(DatabaseSettings(database.connection))) as odbc:
        yield odbc


def sent(server: Server, odbc: Database, table: str, *records: dict[str, Any]) -> list[Any]:
    """Write records as messages of JSON; return what became of each."""
    names = ", ".join(records[0])
    statement = f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in records[0])})"
    bodies = [json_of(record).encode() for record in records]
    sink = DatabaseSink(compile_plan(config(server, "json", Write(statement))), odbc)
    return tried(sink, [delivery(number, body) for number, body in enumerate(bodies)])


def json_of(value: Any) -> str:
    text = json.dumps(value, default=lambda number: f"<{number}>")
    return text.replace('"<', "").replace('>"', "")


def told(
    odbc: Database, query: str, format_name: str = "json", clock: WallClock | None = None
) -> Iterator[bytes | str]:
    """Yield the message of each row, or why there is none."""
    odbc.connect()
    fmt = compile_format({"type": format_name}, Limits())
    mapping = MessageMapping(Destination("rows", routing_key="row"), fmt, clock=clock)
    for columns, rows in RowSource(Select(query), odbc, {}).all():
        make = mapping.maker(columns)
        for row in rows:
            try:
                yield make(row).body
            except Failed as failed:
                yield failed.failure.text


def read(body: bytes | str) -> Any:
    return json.loads(body, parse_float=Decimal)


@pytest.mark.parametrize("database", ["postgresql", "postgresql-ansi"], indirect=True)
def test_lists_are_arrays_of_postgresql(database: Server, odbc: Database) -> None:
    """Both ways, with null, quotes, braces and the word NULL in them; and a statement of on_sent takes them as they
    were read, also where nothing is known of its parameter."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in ARRAYS.items())
    database.execute(f"CREATE TABLE a (id integer, {columns}, seen boolean)")
    record = {"id": 1} | {name: value for name, (_, value) in ARRAYS.items()}
    assert all(isinstance(each, Done) for each in sent(database, odbc, "a", record))
    outcomes = sent(database, odbc, "a", {"id": 2, "grid": [[1], [2, 3]]}, {"id": [3], "grid": None})
    assert [each.failure.code for each in outcomes if isinstance(each, Dead)] == ["bad-value", "bad-value"]
    (stored,) = database.rows(f"SELECT {', '.join(ARRAYS)} FROM a")
    expected = [value for _, value in ARRAYS.values()]
    assert [*map(plain, stored)] == [*map(plain, expected)]
    (body,) = told(odbc, f"SELECT {', '.join(ARRAYS)} FROM a")
    assert read(body) == {name: value for name, (_, value) in ARRAYS.items()}
    (as_text,) = told(odbc, "SELECT whole FROM a", "xml")
    assert b"<whole>{1,NULL,-2}</whole>" in bytes(as_text)  # type: ignore[arg-type]
    marked(odbc, "SELECT id, whole, words FROM a", "UPDATE a SET seen = true WHERE id = ANY(:whole) AND words = :words")
    assert database.rows("SELECT seen FROM a") == [(True,)]


def plain(value: Any) -> Any:
    """Return what psycopg reads, and what was sent, in one form."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, bool) or value is None:
        return value
    return float(value) if isinstance(value, int | float | Decimal) and value < 1000 else str(value).replace(" ", "T")


def marked(odbc: Database, query: str, statement: str) -> None:
    odbc.connect()
    mark = RowMark(statement, "on_sent", odbc)
    rows: list[Sequence[Any]] = []
    for columns, batch in RowSource(Select(query), odbc, {}).all():
        mark.bind(columns)
        rows += [mark.parameters(row) for row in batch]
    assert mark.run(rows) == len(rows)
    odbc.commit()


def test_json_in_a_column_is_json_in_a_message(database: Server, odbc: Database) -> None:
    """Both ways with all digits. What JSON for everybody cannot say is no message, and costs no other row; a column
    under another name is text where the database does not tell its type."""
    for kind in JSON_TYPES[database.kind]:
        table = f"of_{kind}"
        database.execute(f"CREATE TABLE {table} (id integer, doc {kind})")
        records = [{"id": 1, "doc": DOCUMENT}, {"id": 2, "doc": [1, "x"]}, {"id": 3, "doc": '"text of JSON"'}]
        assert all(isinstance(each, Done) for each in sent(database, odbc, table, *records))
        stored = [read(text) for (text,) in database.rows(f"SELECT CAST(doc AS char(200)) FROM {table} ORDER BY id")]
        assert stored == [DOCUMENT, [1, "x"], "text of JSON"]
        if kind == "json":
            database.execute(f'INSERT INTO {table} VALUES (4, \'{{"a": 1, "a": 2}}\')')
            database.execute(f"INSERT INTO {table} VALUES (5, NULL)")
        bodies = [*told(odbc, f"SELECT doc FROM {table} ORDER BY id")]
        assert [read(body)["doc"] for body in bodies[:3]] == stored
        if kind == "json":
            assert "'a' occurs twice" in str(bodies[3])
            assert read(bodies[4]) == {"doc": None}
        (as_text,) = told(odbc, f"SELECT doc AS document FROM {table} WHERE id = 2", "xml")
        assert b"<document>[1," in bytes(as_text)  # type: ignore[arg-type]

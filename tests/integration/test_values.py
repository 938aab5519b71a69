"""Nothing is changed silently: each value in each column is kept as it was sent, or refused with a reason; and it is
read as it stands there."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import lxml.etree
import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.formats import compile_format
from connectorlib.formats.registry import Format
from connectorlib.messages import Again, Dead, Delivery, Done, Outcome
from connectorlib.shared_settings import BrokerSettings, Destination, Limits, Source
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.row_message import Maker, MessageMapping
from dbconnector.row_source import RowSource
from dbconnector.settings import DatabaseSettings, DbConfig, Select, Write
from dbconnector.sink import DatabaseSink
from tests.integration import value_matrix as matrix
from tests.services.database import Database as Server

TYPES = {"postgresql": matrix.POSTGRESQL, "mariadb": matrix.MARIADB, "sqlite": matrix.SQLITE}
PREPARED = {
    "postgresql": (
        "CREATE TYPE colour AS ENUM ('', 'abc', 'a', 'b')",
        "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        "CREATE DOMAIN short AS varchar(5)",
    )
}
FORMATS: Mapping[str, Mapping[str, Any]] = {
    "json": {"type": "json"},
    "xml": {"type": "xml"},
    "delimited": {"type": "delimited", "header": True},
}
INSERT = "INSERT INTO {} (id, v) VALUES (:id, :v)"


class Written:
    """One table with a column of a type, the values that were sent there, and what became of each."""

    def __init__(self, server: Server, odbc: Database, number: int, type_name: str, format_name: str) -> None:
        self.server, self.type_name, self.format_name = server, type_name, format_name
        self.kind = TYPES[server.kind][type_name]
        self.table = f"{format_name}_{number}"
        server.execute(f"CREATE TABLE {self.table} (id integer NOT NULL PRIMARY KEY, v {type_name} NULL)")
        write = Write(INSERT.format(self.table), {"v": {"path": "v", "default": None}})
        self.sent = dict(enumerate(matrix.json_cells() if format_name == "json" else matrix.text_cells()))
        deliveries = [delivery(number, body(format_name, number, text)) for number, text in self.sent.items()]
        sink = DatabaseSink(compile_plan(config(server, format_name, write)), odbc)
        self.outcomes = dict(zip(self.sent, tried(sink, deliveries), strict=True))
        self.stored = dict(server.rows(f"SELECT id, {self.kind.read} FROM {self.table}"))

    def differences(self) -> Iterator[str]:
        for number, text in self.sent.items():
            outcome = self.outcomes[number]
            sent = json.loads(text, parse_float=Decimal) if self.format_name == "json" else text
            what = f"{self.server.variant} {self.format_name} {self.type_name}: {text}"
            if isinstance(outcome, Done):
                stored = self.stored.get(number, KeyError)
                if not both_null(sent, stored, self.kind.same):
                    yield f"{what} became {stored!r}"
            elif not isinstance(outcome, Dead) or not outcome.failure.text.strip() or number in self.stored:
                yield f"{what}: {outcome}"

    def misread(self, odbc: Database, format_name: str) -> Iterator[str]:
        """Read the rows as `select` does, in a format, and yield what differs from what stands there."""
        query = f"SELECT id, v FROM {self.table} ORDER BY id"
        odbc.connect()
        source = RowSource(Select(query), odbc, {})
        mapping = MessageMapping(Destination("rows", routing_key="row"), compiled(format_name))
        found: dict[int, Any] = {}
        for columns, rows in source.all():
            make = mapping.maker(columns)
            for row in rows:
                found[row[0]] = sent_on(make, row, format_name)
        what = f"{self.server.variant} {format_name} {self.type_name}"
        assert found.keys() == self.stored.keys(), what
        for number, value in found.items():
            stored = self.stored[number]
            if value is None and self.type_name.startswith("json"):
                stored = None if stored == "null" else stored  # JSON has one null
            if not (isinstance(value, Refused) or both_null(value, stored, self.kind.tells)):
                yield f"{what}: {stored!r} was read as {value!r}"

    def miscopied(self, odbc: Database) -> Iterator[str]:
        """Write every value once more, hand it on as a result, and yield what differs."""
        copy = f"copy_of_{self.table}"
        self.server.script(
            f"DELETE FROM {self.table}",
            f"CREATE TABLE {copy} (id integer NOT NULL PRIMARY KEY, v {self.type_name} NULL)",
        )
        insert = INSERT.format(self.table)
        values = {"v": {"path": "v", "default": None}}
        writes = [Write(insert + " RETURNING v", values, name="first")]
        if not odbc.driver.returning:
            select = f"SELECT v FROM {self.table} WHERE id = :id"
            writes = [Write(insert, values), Write(select, name="first")]
        writes.append(Write(INSERT.format(copy), {"v": "$result.first.v"}))
        good = [number for number in self.sent if isinstance(self.outcomes[number], Done)]
        sink = DatabaseSink(compile_plan(config(self.server, "json", *writes)), odbc)
        outcomes = tried(sink, [delivery(each, body("json", each, self.sent[each])) for each in good])
        copied = dict(self.server.rows(f"SELECT id, {self.kind.read} FROM {copy}"))
        for number, outcome in zip(good, outcomes, strict=True):
            if not (isinstance(outcome, Done) and copied[number] == self.stored[number]):
                what = f"{self.server.variant} {self.type_name}: {self.stored[number]!r}"
                yield f"{what} became {copied.get(number)!r}: {outcome}"


def compiled(format_name: str) -> Format:
    return compile_format(FORMATS[format_name], Limits())


def sent_on(make: Maker, row: Sequence[Any], format_name: str) -> Any:
    try:
        return field(format_name, make(row).body)
    except Failed as failed:
        return Refused(failed.failure.text)


def tried(sink: DatabaseSink, deliveries: Sequence[Delivery]) -> list[Outcome]:
    """Return the outcomes. What failed for no reason of its own is tried once more, as the pump does: MariaDB's driver
    fails now and then without an error."""
    outcomes = sink.handle(deliveries, lambda: True)
    again = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Again)]
    if again:
        for at, outcome in zip(again, sink.handle([deliveries[at] for at in again], lambda: True), strict=True):
            outcomes[at] = outcome
    return outcomes


class Refused(NamedTuple):
    reason: str


def both_null(value: Any, stored: Any, same: matrix.Same) -> bool:
    """Return whether two values are null, or else the same."""
    return stored is None if value is None else stored is not None and same(value, stored)


def field(format_name: str, body: bytes) -> Any:
    """Return the value that a reader of a message finds."""
    match format_name:
        case "json":
            return json.loads(body, parse_float=Decimal)["v"]
        case "xml":
            element = lxml.etree.fromstring(body).find("v")
            return None if element is None or element.get("nil") else element.text or ""
    (record,) = csv.DictReader(io.StringIO(body.decode(), newline=""))
    return record["v"] or ("" if body.rstrip().endswith(b',""') else None)


def config(server: Server, format_name: str, *writes: Write) -> DbConfig:
    return DbConfig(
        file="db.config",
        name="test",
        database=DatabaseSettings(server.connection, write=writes),
        broker=BrokerSettings(),
        source=Source("readings"),
        format=FORMATS[format_name],
    )


def delivery(number: int, body: bytes) -> Delivery:
    return Delivery(number, 1, "readings", "", "reading", False, BasicProperties(), body, 0.0)


def body(format_name: str, number: int, text: str) -> bytes:
    match format_name:
        case "json":
            return f'{{"id": {number}, "v": {text}}}'.encode()
        case "xml":
            return f"<reading><id>{number}</id><v>{escape(text)}</v></reading>".encode()
    quoted = text.replace('"', '""')
    return f'id,v\n{number},"{quoted}"\n'.encode()


@pytest.fixture
def odbc(database: Server) -> Iterator[Database]:
    database.script(*PREPARED.get(database.kind, ()))
    with closing(Database(DatabaseSettings(database.connection))) as odbc:
        yield odbc


#: The formats that a table is read in, by the one that it is written in.
READ = {"json": ["json"], "xml": ["xml", "delimited"]}


def test_formats_that_know_text_only_say_the_same_record() -> None:
    """So what is written from one of them is written alike from the other."""
    for number, text in enumerate(matrix.text_cells()):
        xml, delimited = (compiled(name).decode(body(name, number, text)) for name in READ["xml"])
        assert xml == delimited == [{"id": str(number), "v": text}]


@pytest.mark.parametrize("format_name", READ)
def test_every_value_is_kept_or_refused_and_read_as_it_is(database: Server, odbc: Database, format_name: str) -> None:
    """And what a statement returns is what it has written: by RETURNING, or by a SELECT after it where the driver hands
    out no such row; and into the next statement."""
    types = TYPES[database.kind]
    tables = [Written(database, odbc, number, name, format_name) for number, name in enumerate(types)]
    assert [each for table in tables for each in table.differences()] == []
    with closing(Database(DatabaseSettings(database.connection), reading=True)) as reading:
        for name in READ[format_name]:
            assert [each for table in tables for each in table.misread(reading, name)] == []
    if format_name == "json":
        assert [each for table in tables for each in table.miscopied(odbc)] == []

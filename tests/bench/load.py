"""What is moved into a database: messages, the tables they go into, and the statements of each contender. Pure.

Every contender gets the same bodies; the connector gets statements with names, the others get them with marks.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]

INBOX = "connector_inbox"
NARROW = {
    "id": "bigint",
    "device": "varchar(40)",
    "site": "varchar(40)",
    "channel": "integer",
    "value": "numeric(12,4)",
    "at": "timestamp",
}
#: Where a database has another name for PostgreSQL's type.
_TYPES = {"mariadb": {"timestamp": "datetime(6)"}}


def type_of(kind: str, type: str) -> str:
    return _TYPES.get(kind, {}).get(type, type)


def narrow(number: int) -> Record:
    """About 200 bytes as JSON, six columns and a field that is not stored."""
    return {
        "id": number,
        "device": f"pump-{number % 97:05d}",
        "site": "hall 7, line 3, station 12",
        "channel": number % 16,
        "value": 21.5 + number % 100,
        "at": "2026-11-24T03:02:11.123456",
        "note": "not stored, but there all the same: padding",
    }


def padded(number: int) -> Record:
    return narrow(number) | {"note": "x" * 2000}


def wide(number: int) -> Record:
    return {"id": number} | {f"c{column}": 0.125 * column + number for column in range(1, 30)}


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]

    @property
    def insert(self) -> str:
        """Return the statement up to VALUES."""
        return f"INSERT INTO {self.name} ({', '.join(self.names)})"

    def create(self, kind: str) -> list[str]:
        columns = ", ".join(f"{name} {type_of(kind, type)}" for name, type in self.columns)
        return [f"DROP TABLE IF EXISTS {self.name}", f"CREATE TABLE {self.name} ({columns})"]


@dataclass(frozen=True)
class Bad:
    """One message of `every` is bad: `refused` by the database, or `undecodable`."""

    what: str
    every: int

    def hits(self, number: int) -> bool:
        return number % self.every == self.every // 2

    def body(self, number: int, record: Record) -> bytes:
        if self.what == "undecodable":
            return json.dumps(record).encode()[:-20]
        return json.dumps(record | {"device": f"too long for its column, which takes 40, of message {number}"}).encode()

    def good(self, count: int) -> int:
        return sum(not self.hits(number) for number in range(count))


@dataclass(frozen=True)
class Load:
    """`make` gives the record of a number; a message has `records` of them, and each goes into all tables."""

    make: Callable[[int], Record]
    tables: tuple[Table, ...]
    records: int = 1
    #: How many messages, as a share of those of a narrow row.
    share: float = 1.0

    def bodies(self, count: int, format: str, bad: Bad | None = None) -> Iterator[bytes]:
        encode = ENCODE[format]
        for number in range(count):
            records = [self.make(number * self.records + each) for each in range(self.records)]
            yield bad.body(number, records[0]) if bad and bad.hits(number) else encode(records)

    def create(self, kind: str, count: int) -> list[str]:
        return [statement for table in self.tables for statement in table.create(kind)]

    def done(self, table: Table) -> str:
        """Return the query for the number of records that have been written."""
        return f"SELECT count(*) FROM {table.name}"

    def writes(self) -> list[Mapping[str, Any]]:
        """Return `database.write` of the connector's configuration."""
        return [
            {"statement": f"{table.insert} VALUES ({', '.join(f':{name}' for name in table.names)})"}
            for table in self.tables
        ]

    def by_hand(self) -> Mapping[str, Any]:
        """Return the statements for the limit (tests/bench/by_hand.py)."""
        return {"sql": [table.insert for table in self.tables], "columns": self.tables[0].names}

    def one_by_one(self) -> Mapping[str, Any]:
        """Return the statements for the naive twin."""
        columns = self.tables[0].names
        row = f" VALUES ({', '.join('?' * len(columns))})"
        return {"statements": [table.insert + row for table in self.tables], "columns": columns}


@dataclass(frozen=True)
class Change:
    """A statement for the row with one key: with names for the connector, and by hand for many rows."""

    columns: tuple[str, ...]
    statement: str
    #: Up to the rows, each row, and what comes after them.
    by_hand: tuple[str, str, str]
    between: str = ", "
    done: str = "SELECT count(*) FROM measured WHERE at IS NOT NULL"


@dataclass(frozen=True)
class Changes(Load):
    """Rows that are there already are changed or deleted, by their key. There is a hand-written statement for each
    database, which one can write only who knows the table."""

    change: Change | None = None

    def create(self, kind: str, count: int) -> list[str]:
        (table,) = self.tables
        numbers = f"seq_0_to_{count - 1}" if kind == "mariadb" else f"generate_series(0, {count - 1}) AS seq"
        return [
            *table.create(kind),
            f"ALTER TABLE {table.name} ADD PRIMARY KEY (id)",
            f"INSERT INTO {table.name} (id) SELECT seq FROM {numbers}",
            "DROP TABLE IF EXISTS all_there",
            f"CREATE TABLE all_there AS SELECT {count} AS count",
        ]

    def done(self, table: Table) -> str:
        assert self.change is not None
        return self.change.done

    def writes(self) -> list[Mapping[str, Any]]:
        assert self.change is not None
        return [{"statement": self.change.statement}]

    def by_hand(self) -> Mapping[str, Any]:
        assert self.change is not None
        sql, row, tail = self.change.by_hand
        return {"sql": sql, "row": row, "tail": tail, "between": self.change.between, "columns": self.change.columns}

    def one_by_one(self) -> Mapping[str, Any]:
        assert self.change is not None
        return {"statements": [re.sub(r":\w+", "?", self.change.statement)], "columns": self.change.columns}


_DELETE = Change(
    ("id",),
    "DELETE FROM measured WHERE id = :id",
    ("DELETE FROM measured WHERE id IN (", "?", ")"),
    done="SELECT (SELECT count FROM all_there) - count(*) FROM measured",
)
_UPSERTED = "INSERT INTO measured (id, value, at) VALUES "
_ON_CONFLICT = " ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value, at = EXCLUDED.at"
_ON_DUPLICATE = " ON DUPLICATE KEY UPDATE value = VALUES(value), at = VALUES(at)"
_UPDATE = "UPDATE measured SET value = :value, at = :at WHERE id = :id"
CHANGES: Mapping[tuple[str, str], Change] = {
    ("UPDATE", "postgresql"): Change(
        ("value", "at", "id"),
        _UPDATE,
        (
            "UPDATE measured SET value = new.value, at = new.at FROM (VALUES ",
            "(?::numeric, ?::timestamp, ?::bigint)",
            ") AS new (value, at, id) WHERE measured.id = new.id",
        ),
    ),
    ("UPDATE", "mariadb"): Change(
        ("value", "at", "id"),
        _UPDATE,
        (
            "UPDATE measured JOIN (WITH new (value, at, id) AS (",
            "SELECT ?, ?, ?",
            ") SELECT * FROM new) AS new ON measured.id = new.id SET measured.value = new.value, measured.at = new.at",
        ),
        between=" UNION ALL ",
    ),
    ("upsert", "postgresql"): Change(
        ("id", "value", "at"), f"{_UPSERTED}(:id, :value, :at){_ON_CONFLICT}", (_UPSERTED, "(?, ?, ?)", _ON_CONFLICT)
    ),
    ("upsert", "mariadb"): Change(
        ("id", "value", "at"), f"{_UPSERTED}(:id, :value, :at){_ON_DUPLICATE}", (_UPSERTED, "(?, ?, ?)", _ON_DUPLICATE)
    ),
    ("DELETE", "postgresql"): _DELETE,
    ("DELETE", "mariadb"): _DELETE,
}


def as_json(records: Sequence[Record]) -> bytes:
    return json.dumps(records[0] if len(records) == 1 else records).encode()


def as_xml(records: Sequence[Record]) -> bytes:
    (record,) = records
    return f"<row>{''.join(f'<{name}>{value}</{name}>' for name, value in record.items())}</row>".encode()


def as_delimited(records: Sequence[Record]) -> bytes:
    return "\n".join("|".join(str(value) for value in record.values()) for record in records).encode()


ENCODE: Mapping[str, Callable[[Sequence[Record]], bytes]] = {
    "json": as_json,
    "xml": as_xml,
    "delimited": as_delimited,
}


def format_section(format: str, load: Load) -> Mapping[str, Any]:
    """Return `format` of the connector's configuration."""
    if format == "delimited":
        return {"type": format, "delimiter": "|", "columns": list(load.make(0))}
    return {"type": format}


def slow_commits(table: str, seconds: float) -> list[str]:
    """Return statements (PostgreSQL) after which each commit that wrote to the table takes so much longer."""
    return [
        f"""CREATE OR REPLACE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('bench.slow', true) IS DISTINCT FROM txid_current()::text THEN
                PERFORM set_config('bench.slow', txid_current()::text, false), pg_sleep({seconds});
            END IF;
            RETURN NULL;
        END $$""",
        f"CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION slow_commit()",
    ]


MEASURED = Table("measured", tuple(NARROW.items()))
ONE = Load(narrow, (MEASURED,))
TEN = Load(narrow, (MEASURED,), records=10, share=0.2)
TWO = Load(narrow, (MEASURED, Table("measured_too", MEASURED.columns)), share=0.7)
CHANGING = {key: Changes(narrow, (MEASURED,), share=0.5, change=change) for key, change in CHANGES.items()}
TEXT = Load(padded, (Table("measured", (*MEASURED.columns, ("note", "text"))),), share=0.5)
WIDE = Load(
    wide, (Table("measured", (("id", "bigint"), *((f"c{each}", "numeric(14,4)") for each in range(1, 30)))),), share=0.3
)

"""What is moved: messages, the tables they go into, and how both are written. Pure.

Every contender gets the same bodies; the connector gets the statements with names, the loops by hand get them with
marks.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]

NARROW = {
    "id": "bigint",
    "device": "varchar(40)",
    "site": "varchar(40)",
    "channel": "integer",
    "value": "numeric(12,4)",
    "at": "timestamp",
}
#: Of a type that no database takes from PostgreSQL's.
TYPES = {"mariadb": {"timestamp": "datetime(6)"}}


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


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]

    @property
    def head(self) -> str:
        """Return the statement up to VALUES."""
        return f"INSERT INTO {self.name} ({', '.join(self.names)})"

    def create(self, kind: str) -> list[str]:
        types = TYPES.get(kind, {})
        columns = ", ".join(f"{name} {types.get(type, type)}" for name, type in self.columns)
        return [f"DROP TABLE IF EXISTS {self.name}", f"CREATE TABLE {self.name} ({columns})"]


@dataclass(frozen=True)
class Load:
    """`make` gives the record of a number; a message has `records` of them, and each goes into all tables."""

    name: str
    make: Callable[[int], Record]
    tables: tuple[Table, ...]
    records: int = 1
    #: How many messages, as a share of those of a narrow row.
    share: float = 1.0

    def bodies(self, count: int, format: str, bad: "Bad | None" = None) -> Iterator[bytes]:
        encode = ENCODE[format]
        for number in range(count):
            records = [self.make(number * self.records + each) for each in range(self.records)]
            yield bad.body(number, records[0]) if bad and bad.hits(number) else encode(records)

    def writes(self) -> list[Mapping[str, Any]]:
        """Return `database.write` of the connector's configuration."""
        return [
            {"statement": f"{table.head} VALUES ({', '.join(f':{name}' for name in table.names)})"}
            for table in self.tables
        ]


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
        return json.dumps(record | {"device": f"a name that is too long for its column, of message {number}"}).encode()

    def good(self, count: int) -> int:
        return sum(not self.hits(number) for number in range(count))


def as_json(records: list[Record]) -> bytes:
    return json.dumps(records[0] if len(records) == 1 else records).encode()


def as_xml(records: list[Record]) -> bytes:
    (record,) = records
    return f"<row>{''.join(f'<{name}>{value}</{name}>' for name, value in record.items())}</row>".encode()


def as_delimited(records: list[Record]) -> bytes:
    return "\n".join("|".join(str(value) for value in record.values()) for record in records).encode()


ENCODE: Mapping[str, Callable[[list[Record]], bytes]] = {
    "json": as_json,
    "xml": as_xml,
    "delimited": as_delimited,
}


def format_section(format: str, load: Load) -> Mapping[str, Any]:
    """Return `format` of the connector's configuration."""
    if format == "delimited":
        return {"type": format, "delimiter": "|", "columns": list(load.make(0))}
    return {"type": format}


def _padded(number: int) -> Record:
    return narrow(number) | {"note": "x" * 2000}


def _wide(number: int) -> Record:
    return {"id": number} | {f"c{column}": 0.125 * column + number for column in range(1, 30)}


MEASURED = Table("measured", tuple(NARROW.items()))
ONE = Load("one row", narrow, (MEASURED,))
TEN = Load("ten rows a message", narrow, (MEASURED,), records=10, share=0.2)
TWO = Load("two statements", narrow, (MEASURED, Table("measured_too", MEASURED.columns)), share=0.7)
WIDE = Load(
    "30 columns",
    _wide,
    (Table("measured", (("id", "bigint"), *((f"c{n}", "numeric(14,4)") for n in range(1, 30)))),),
    share=0.3,
)
TEXT = Load("2 kB of text", _padded, (Table("measured", (*NARROW.items(), ("note", "text"))),), share=0.5)

INBOX = "connector_inbox"


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


# --- rows to be sent --------------------------------------------------------------------------------------------------

MARK = "UPDATE outbox SET sent_at = CURRENT_TIMESTAMP WHERE id = :id"
_NUMBERS = {
    "postgresql": "generate_series(1, {count}) AS n(id)",
    "mariadb": "(SELECT seq AS id FROM seq_1_to_{count}) AS n",
    "sqlite": "(WITH RECURSIVE s(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM s WHERE id < {count})"
    " SELECT id FROM s) AS n",
}


def outbox(kind: str, count: int) -> list[str]:
    """Return statements that make the table `outbox` with so many rows."""
    moment = TYPES.get(kind, {}).get("timestamp", "timestamp")
    return [
        "DROP TABLE IF EXISTS outbox",
        "CREATE TABLE outbox (id integer NOT NULL PRIMARY KEY, device varchar(40), site varchar(40), channel integer,"
        f" value numeric(12,4), at {moment}, sent_at {moment} NULL)",
        "INSERT INTO outbox (id, device, site, channel, value, at) SELECT id, 'pump-00007',"
        " 'hall 7, line 3, station 12', id % 16, 21.5, '2026-11-24 03:02:11.123456'"
        f" FROM {_NUMBERS[kind].format(count=count)}",
    ]


def query(unsent: bool) -> str:
    only = " WHERE sent_at IS NULL ORDER BY id" if unsent else ""
    return f"SELECT id, device, site, channel, value, at FROM outbox{only}"


def row_body(number: int) -> str:
    """Return what becomes of a row."""
    return (
        f'{{"id":{number},"device":"pump-00007","site":"hall 7, line 3, station 12","channel":{number % 16},'
        '"value":21.5000,"at":"2026-11-24T03:02:11.123456"}'
    )

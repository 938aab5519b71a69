"""A table with a column of every kind, values that are easily damaged, and what another driver finds of them."""

import base64
import json
import random
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from tests.services.database import Database

#: The type of each column, by kind of database.
COLUMNS = {
    "word": {"postgresql": "text", "mariadb": "longtext", "sqlite": "text"},
    "short": {"postgresql": "varchar(40)", "mariadb": "varchar(40)", "sqlite": "varchar(40)"},
    "amount": {"postgresql": "numeric(38,10)", "mariadb": "decimal(38,10)", "sqlite": "numeric(38,10)"},
    "whole": {"postgresql": "bigint", "mariadb": "bigint", "sqlite": "bigint"},
    "fraction": {"postgresql": "double precision", "mariadb": "double", "sqlite": "double"},
    "truth": {"postgresql": "boolean", "mariadb": "boolean", "sqlite": "boolean"},
    "moment": {"postgresql": "timestamp", "mariadb": "datetime(6)", "sqlite": "datetime"},
    "zoned": {"postgresql": "timestamptz", "mariadb": "timestamp(6) NULL", "sqlite": "timestamp"},
    "day": {"postgresql": "date", "mariadb": "date", "sqlite": "date"},
    "hour": {"postgresql": "time", "mariadb": "time(6)", "sqlite": "time"},
    "data": {"postgresql": "bytea", "mariadb": "longblob", "sqlite": "blob"},
}
#: What goes into the columns; a field that is not there is null. Binary data is the one that text cannot say.
VALUES: dict[str, Any] = {column: {"path": column, "default": None} for column in COLUMNS} | {
    "data": {"path": "data", "type": "base64", "default": None}
}
#: The same with conversions for all that JSON has no type for.
TYPED: dict[str, Any] = VALUES | {
    column: {"path": column, "type": kind, "default": None}
    for column, kind in [("moment", "timestamp"), ("zoned", "timestamp"), ("day", "date"), ("hour", "time")]
}
INSERT = "INSERT INTO {} (id, {}) VALUES (:id, {})"

UMLAUTS = "Grüße, 東京 ☃ 👩‍👩‍👧‍👦 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0010ffff"
LONG = ("x" * 9_996 + "🦉é☃z") * 10
BLOB = bytes(range(256)) * 400
TEXTS = [
    "",
    " ",
    "  both  ",
    UMLAUTS,
    "é e\u0301 \u200b\ufeff",
    "it's \"quoted\" \\ \\' ? :id %s $1 {} ; -- /* */",
    "a|b;;c,d||",
    "<a>&amp;</a> ]]> &",
    "tab\tline\nreturn\rboth\r\n",
    "\x01\x1f\x7f\x85\u2028",
    "null",
    "NULL",
    "x" * 256,
    "é" * 255,
    "𝔘" * 256,
    LONG,
]
DECIMALS = ["0.1", "-0.0000000001", "1234567890123.25", "99999999999.99", "1e3", "-1.50", "0"]
WIDE_DECIMALS = ["9999999999999999999999999999.9999999999", "-1234567890123456789.0123456789", "0.1234567891"]
WHOLES = [0, 1, -1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)]
FRACTIONS = [0.1, 0.1 + 0.2, -1.5, 1e-7, 1.7976931348623157e308, 2.2250738585072014e-308, 123456789.12345679, 1e23]
MOMENTS = [
    "2026-11-24T03:02:11.123456",
    "2026-11-24T03:02:11.000001",
    "1970-01-01T00:00:00",
    "2000-02-29T23:59:59.999999",
    "1969-07-20T20:17:40.5",
]
ZONED = ["2026-11-24T03:02:11.123456+05:45", "2026-03-29T02:30:00.000001-08:00", "2026-11-24T03:02:11.654321Z"]
DAYS = ["2026-11-24", "1999-12-31", "2024-02-29"]
HOURS = ["03:02:11.123456", "00:00:00", "23:59:59.999999"]


def doubles(count: int) -> list[float]:
    """Any bits there are, but for infinities and what is none (and -0.0, which MariaDB does not have)."""
    chance = random.Random(7)
    found = (struct.unpack("<d", chance.randbytes(8))[0] for _ in range(count))
    return [value for value in found if abs(value) < 1e308 and abs(value) > 1e-300]


def create(database: Database, name: str) -> None:
    """Make such a table."""
    kind = database.kind
    columns = ", ".join(f"{column} {types[kind]}" for column, types in COLUMNS.items())
    database.execute(f"CREATE TABLE {name} (id integer NOT NULL PRIMARY KEY, {columns})")


def insert(name: str) -> str:
    return INSERT.format(name, ", ".join(COLUMNS), ", ".join(f":{column}" for column in COLUMNS))


def fill(database: Database, name: str) -> dict[int, dict[str, Any]]:
    """Insert all values through another driver; return them by id."""
    wanted = {number: values for number, (_, values) in enumerate(cases(database))}
    database.execute("BEGIN")
    for number, values in wanted.items():
        names, bound = list(values), [written(database, value) for value in values.values()]
        database.execute(
            f"INSERT INTO {name} ({', '.join(['id', *names])}) VALUES (?{', ?' * len(names)})", number, *bound
        )
    database.execute("COMMIT")
    assert differences(rows(database, name), wanted) == []
    return wanted


def written(database: Database, value: Any) -> Any:
    """Return what a driver has to be given for a value: sqlite3 takes neither decimals nor moments."""
    if database.kind == "sqlite" and isinstance(value, Decimal | datetime | date | time):
        return str(value)
    return value


def cases(database: Database) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return messages, as JSON text per field, and the values that must then stand in the table."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = [({}, {})]

    def case(column: str, text: str, value: Any) -> None:
        found.append(({column: text}, {column: value}))

    for text in TEXTS:
        case("word", json.dumps(text), text)
        case("word", json.dumps(text, ensure_ascii=False), text)
        if len(text) <= 40:
            case("short", json.dumps(text), text)
    for digits in DECIMALS + (WIDE_DECIMALS if database.kind != "sqlite" else []):
        case("amount", digits, Decimal(digits))
        case("amount", f'"{digits}"', Decimal(digits))
    for whole in WHOLES:
        case("whole", str(whole), whole)
        case("whole", f'"{whole}"', whole)
    for number in FRACTIONS + doubles(80):
        case("fraction", repr(number), number)
        case("fraction", f'"{number!r}"', number)
    for truth in (True, False):
        case("truth", json.dumps(truth), truth)
        case("short", json.dumps(truth), json.dumps(truth))
        case("word", json.dumps(truth), json.dumps(truth))
    for digits in ("12.50", "-0.10", "9223372036854775807", "123456789012345678901234567890"):
        case("short", digits, digits)
        case("word", digits, digits)
    for moment in MOMENTS:
        case("moment", f'"{moment}"', datetime.fromisoformat(moment))
        if database.kind != "mariadb" or moment > "1971":  # its timestamp begins in 1970, and 0 is no value
            case("zoned", f'"{moment}Z"', datetime.fromisoformat(moment))
    for moment in ZONED:
        at = datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None)
        case("moment", f'"{moment}"', at)
        case("zoned", f'"{moment}"', at)
    for day in DAYS:
        case("day", f'"{day}"', date.fromisoformat(day))
    for hour in HOURS:
        case("hour", f'"{hour}"', time.fromisoformat(hour))
    for data in (b"", b"\0", b"a\0b", BLOB, "é".encode("latin-1")):
        case("data", f'"{base64.b64encode(data).decode()}"', data)
    return found


def stored(column: str, value: Any) -> Any:
    """Return what another driver gives for a column as one Python value, the same for all databases."""
    if value is None:
        return None
    match column:
        case "amount":
            return Decimal(str(value))
        case "truth":
            assert value in (0, 1)
            return bool(value)
        case "moment" | "zoned":
            at = datetime.fromisoformat(value) if isinstance(value, str) else value
            return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
        case "day":
            return date.fromisoformat(value) if isinstance(value, str) else value
        case "hour":
            value = (datetime.min + value).time() if isinstance(value, timedelta) else value
            return time.fromisoformat(value) if isinstance(value, str) else value
        case "data":
            return bytes(value)
    return value


def rows(database: Database, table: str) -> dict[int, dict[str, Any]]:
    """Return by id the columns that are not null."""
    found = {}
    for id, *values in database.rows(f"SELECT id, {', '.join(COLUMNS)} FROM {table}"):
        named = {name: stored(name, value) for name, value in zip(COLUMNS, values, strict=True)}
        found[id] = {name: value for name, value in named.items() if value is not None}
    return found


def differences(found: dict[int, dict[str, Any]], wanted: dict[int, dict[str, Any]]) -> list[str]:
    ids = sorted(found.keys() | wanted.keys())
    return [
        f"{id}: {wanted.get(id)!r:.200} became {found.get(id)!r:.200}" for id in ids if found.get(id) != wanted.get(id)
    ]

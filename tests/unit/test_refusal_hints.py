"""Which messages the text of a refusal points to: the texts are those of PostgreSQL 15 and MariaDB 10.11."""

from typing import Any

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits
from dbconnector.dialects.base import GENERIC, Dialect
from dbconnector.dialects.mariadb import DIALECT as MARIA
from dbconnector.dialects.mysql import DIALECT as MYSQL
from dbconnector.dialects.postgresql import DIALECT as PG
from dbconnector.parameters import Plan, Unit
from dbconnector.refusal_hints import Refusal, RefusalHints
from dbconnector.settings import Write

NAMES = ("id", "device", "amount", "n", "site")
#: Three of twelve rows differ; the others are like the first.
ROWS: list[tuple[Any, ...]] = [(at, f"p-{at}", "1.5", at, 100 + at) for at in range(12)]
TYPES = {
    "postgresql": ("integer", "character varying(10)", "numeric(5,2)", "smallint", "bigint"),
    "mariadb": ("int(11)", "varchar(10)", "decimal(5,2)", "smallint(6)", "bigint(20)"),
    "mysql": ("int", "varchar(10)", "decimal(5,2)", "smallint", "bigint"),
    "generic": ("int", "varchar(10)", "decimal(5,2)", "smallint", "bigint"),
}


def hints(dialect: Dialect) -> RefusalHints:
    statement = f"INSERT INTO pump ({', '.join(NAMES)}) VALUES ({', '.join(f':{name}' for name in NAMES)})"
    plan = Plan([Write(statement)], compile_format({"type": "json"}, Limits()), Limits())
    kinds = [dialect.column_type(name) for name in TYPES[dialect.name]]
    return RefusalHints(plan, dialect, lambda _statement: kinds)


def units(own: dict[int, dict[str, Any]]) -> list[Unit]:
    """Return one message for each row, some with other values."""
    rows = [tuple((dict(zip(NAMES, row, strict=True)) | own.get(at, {})).values()) for at, row in enumerate(ROWS)]
    return [Unit(None, None, [[[row]]]) for row in rows]  # type: ignore[arg-type]


def refusal(code: str, text: str, place: str = "write[0]") -> Failure:
    return Failure(Kind.REJECT, code, text, place)


NULL = 'ERROR: null value in column "device" of relation "pump" violates not-null constraint DETAIL: Failing row (…).'
OVERFLOW = "ERROR: numeric field overflow DETAIL: A field with precision 5, scale 2 must round to less than 10^3."
LONG = "ERROR: value too long for type character varying(10)"
CHECK = 'ERROR: new row for relation "pump" violates check constraint "c" DETAIL: Failing row contains '


@pytest.mark.parametrize(
    ("dialect", "code", "text", "own", "found"),
    [
        (PG, "23502", NULL, {3: {"device": None}, 9: {"device": None}, 5: {"amount": None}}, [3, 9]),
        (MARIA, "23000", "Column 'device' cannot be null (1048)", {4: {"device": None}}, [4]),
        (PG, "22001", LONG, {2: {"device": "x" * 11}, 3: {"device": "ä" * 10}, 8: {"device": "x" * 99}}, [2, 8]),
        (MARIA, "22001", "Data too long for column 'device' at row 1 (1406)", {2: {"device": "x" * 11}}, [2]),
        (PG, "22003", OVERFLOW, {1: {"amount": "1000.5"}, 2: {"amount": "999.99"}, 3: {"amount": "-1e3"}}, [1, 3]),
        (
            PG,
            "22003",
            'ERROR: value "40000" is out of range for type smallint',
            {7: {"n": 40000}, 8: {"n": 32767}},
            [7],
        ),
        (
            MARIA,
            "22003",
            "Out of range value for column 'n' at row 1 (1264)",
            {7: {"n": -32769}, 8: {"n": -32768}},
            [7],
        ),
        (PG, "22001", LONG, {}, []),  # of a function, of a trigger
        (PG, "23514", f"{CHECK}(1, null value in column", {3: {"device": None}}, []),
        (PG, "23505", f"ERROR: dup DETAIL: Key (device)=({NULL}) already exists.", {3: {"device": None}}, []),
        (GENERIC, "22P02", "no number", {3: {"n": "x"}}, []),
    ],
)
def test_a_value_that_cannot_be_stored_is_seen_in_every_row(
    dialect: Dialect, code: str, text: str, own: dict[int, dict[str, Any]], found: list[int]
) -> None:
    assert hints(dialect).misfits(units(own), refusal(code, text)) == found


def key(columns: str, values: str, why: str = "already exists.") -> str:
    return f"ERROR: it violates a constraint DETAIL: Key ({columns})=({values}) {why}"


@pytest.mark.parametrize(
    ("code", "text", "own", "found"),
    [
        ("23505", key("id", "4"), {}, [4]),
        ("23505", key("id", "4"), {9: {"id": 4}}, [4, 9]),
        ("23505", key("device", "a (b), c"), {6: {"device": "a (b), c"}}, [6]),
        ("23505", key("id, device", "6, p-6"), {7: {"device": "p-6"}}, [6]),
        ("23505", key("amount", "2.50"), {7: {"amount": "2.5"}}, [7]),
        ("23503", key("site", "99", 'is not present in table "site".'), {1: {"site": 99}, 2: {"site": 99}}, [1, 2]),
        ("23505", key("lower(device)", "p-6"), {}, []),
        ("23505", key("amount", "1.50"), {}, []),  # too many
        ("23514", f"{CHECK}(5, p-5, 1.50, 5, 105, 2026-01-01).", {}, [5]),
        ("22P02", 'ERROR: invalid input syntax for type integer: "a "b""', {8: {"n": 'a "b"'}}, [8]),
        ("22008", 'ERROR: date/time field value out of range: "2026-13-45"', {8: {"n": "2026-13-45"}}, [8]),
        ("P0001", "ERROR: not today", {}, []),
    ],
)
def test_postgresql_names_a_row_by_its_values(
    code: str, text: str, own: dict[int, dict[str, Any]], found: list[int]
) -> None:
    assert hints(PG).named(units(own), Refusal(refusal(code, text))) == found


@pytest.mark.parametrize(
    ("statement", "row", "found"), [(0, 1, [0]), (0, 8, [7]), (1, 4, [11]), (1, 5, []), (2, 9, [])]
)
def test_a_row_that_is_numbered_is_one_of_its_statement(statement: int, row: int, found: list[int]) -> None:
    """Twelve rows are written as eight and four."""
    failure = refusal("23000", "CONSTRAINT `pump.c` failed for `test`.`pump` (4025)")
    assert hints(MARIA).named(units({}), Refusal(failure, statement, row)) == found
    assert hints(MYSQL).named(units({}), Refusal(failure, statement)) == []


def test_a_refusal_of_no_statement_names_nothing() -> None:
    failure = refusal("23505", key("id", "4"), "commit")
    assert hints(PG).named(units({}), Refusal(failure)) == hints(PG).misfits(units({}), failure) == []


def test_rows_are_counted_by_message() -> None:
    (first, second, *others) = units({})
    joined = Unit(None, None, [*first.rows, *second.rows])  # type: ignore[arg-type]
    failure = refusal("23000", "CONSTRAINT `pump.c` failed for `test`.`pump` (4025)")
    assert hints(MARIA).named([joined, *others], Refusal(failure, 0, 3)) == [1]

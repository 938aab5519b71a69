"""Columns without a time zone hold the local time of `database.zone`: into them, out of them, and followed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectorlib.errors import Failed
from connectorlib.messages import Dead, Done
from dbconnector.inbox_table import Inbox, Key, ddl
from dbconnector.mark_rows import RowMark
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.row_source import IntervalSource, RowSource
from dbconnector.settings import DatabaseSettings, Follow, Idempotency, Select, State, Write
from dbconnector.sink import DatabaseSink
from dbconnector.wall_clock import WallClock
from dbconnector.watermark import Interval
from tests.integration.test_structured_values import json_of, read, told
from tests.integration.test_values import config, delivery, tried
from tests.services.database import Database as Server

VIENNA = WallClock(ZoneInfo("Europe/Vienna"))
#: The types of a column without a zone, of one with a zone, and what the judge reads the second with.
TYPES: Mapping[str, tuple[str, str, str]] = {
    "postgresql": ("timestamp", "timestamptz", "instant AT TIME ZONE 'UTC'"),
    "mariadb": ("datetime(6)", "timestamp(6) NULL", "instant"),
    "sqlite": ("datetime", "text", "instant"),
}
INSERT = Write("INSERT INTO t (id, local, instant) VALUES (:id, :local, :instant)")


@pytest.fixture
def table(database: Server) -> Server:
    local, instant, _ = TYPES[database.kind]
    database.execute(f"CREATE TABLE t (id integer PRIMARY KEY, local {local}, instant {instant}, local2 {local})")
    return database


@pytest.fixture
def odbc(table: Server) -> Iterator[Database]:
    with closing(Database(DatabaseSettings(table.connection, clock=VIENNA))) as odbc:
        yield odbc


def sent(server: Server, odbc: Database, *values: str, write: Write = INSERT) -> list[Any]:
    # No instant of MariaDB is before 1970.
    records = [
        {"id": number, "local": value, "instant": None if value < "1970" else value}
        for number, value in enumerate(values)
    ]
    sink = DatabaseSink(compile_plan(config(server, "json", write)), odbc)
    return tried(sink, [delivery(number, json_of(each).encode()) for number, each in enumerate(records)])


def kept(server: Server, column: str) -> list[str]:
    return [str(value)[:19].replace("T", " ") for (value,) in server.rows(f"SELECT {column} FROM t ORDER BY id")]


def test_instants_become_local_times_and_come_back(table: Server, odbc: Database) -> None:
    """Through both passes of the hour that comes twice; a column with a zone gets and tells the instant. An hour that
    does not exist is refused, in a message and in a row, and costs no neighbour."""
    values = ["2026-07-01T10:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "1889-12-31T23:00:00Z"]
    outcomes = sent(table, odbc, *values, "2026-07-01T12:00:00", "2026-03-29T02:30:00", "9999-12-31T23:30:00Z")
    assert [type(each) for each in outcomes] == [Done] * 5 + [Dead] * 2
    assert [each.failure.code for each in outcomes[5:]] == ["bad-value"] * 2
    local = ["2026-07-01 12:00:00", "2026-10-25 02:30:00", "2026-10-25 02:30:00", "1890-01-01 00:05:21"]
    assert kept(table, "local") == [*local, "2026-07-01 12:00:00"]
    if table.kind != "sqlite":
        utc = [*(value.replace("T", " ").removesuffix("Z") for value in values[:3]), "None", "2026-07-01 10:00:00"]
        assert kept(table, TYPES[table.kind][2]) == utc
    table.execute("INSERT INTO t (id, local) VALUES (7, '2026-03-29 02:30:00'), (8, NULL)")
    rows = [*told_by_clock(odbc, "SELECT id, local, instant FROM t ORDER BY id")]
    first = "2026-10-25T02:30:00+02:00"
    expected = ["2026-07-01T12:00:00+02:00", first, first, "1889-12-31T23:00:00+00:00", "2026-07-01T12:00:00+02:00"]
    assert [read(body)["local"] for body in rows[:5]] == expected
    if table.kind != "sqlite":
        instants = [datetime.fromisoformat(read(body)["instant"]).astimezone(UTC) for body in rows[:3]]
        assert [str(each)[:19] for each in instants] == utc[:3]
    assert "column local: 2026-03-29 02:30:00 does not exist in Europe/Vienna" in str(rows[5])
    assert read(rows[6])["local"] is None


def told_by_clock(odbc: Database, query: str) -> Iterator[bytes | str]:
    odbc.rollback()
    return told(odbc, query, clock=odbc.clock)


def test_a_statement_takes_times_as_they_were_read(table: Server, odbc: Database) -> None:
    """On_sent finds the row by its local time and by its instant, and keys are paged by them, also where the time does
    not exist or comes twice."""
    sent(table, odbc, "2026-07-01T10:00:00Z", "2026-10-25T01:30:00Z")
    table.execute("INSERT INTO t (id, local, instant) VALUES (2, '2026-03-29 02:30:00', '2026-03-29 01:30:00')")
    odbc.connect()
    # Of SQLite's text the zone was kept, so it is no moment.
    both = "local = :local" + ("" if table.kind == "sqlite" else " AND instant = :instant")
    copy = ":local" if table.kind == "sqlite" else ":instant"
    mark = RowMark(f"UPDATE t SET local2 = {copy} WHERE {both}", "on_sent", odbc)
    rows: list[Sequence[Any]] = []
    query = Select("SELECT id, local, instant FROM t WHERE id < 2", fetch=1, key=("local", "id"))
    for columns, batch in RowSource(query, odbc, {})._by_key(query.key):
        mark.bind(columns)
        rows += [mark.parameters(row) for row in batch]
    assert (len(rows), mark.run(rows)) == (2, 2)
    odbc.commit()
    assert kept(table, "local2") == ["2026-07-01 12:00:00", "2026-10-25 02:30:00", "None"]
    followed = Select("SELECT id, local FROM t", fetch=1, follow=Follow("local", ("id",), State("cursor")))
    assert pages(odbc, followed, None, "2027-01-01") == [2, 0, 1]


def pages(odbc: Database, settings: Select, low: str | None, high: str) -> list[int]:
    """Return the ids of the rows in an interval of UTC."""
    odbc.connect()
    source = IntervalSource(settings, odbc, {})
    interval = Interval(low and datetime.fromisoformat(low), datetime.fromisoformat(high))  # type: ignore[arg-type]
    return [row[0] for _, rows in source.pages(interval) for row in rows]


def test_local_times_are_followed_through_the_hour_that_comes_twice(table: Server, odbc: Database) -> None:
    """Until the second pass begins nothing of that hour is read; then all of it is, up to where the clock is."""
    walls = ["01:59:59", "02:00:00", "02:29:59", "02:30:00", "02:59:59", "03:00:00"]
    for number, wall in enumerate(walls):
        table.execute(f"INSERT INTO t (id, local) VALUES ({number}, '2026-10-25 {wall}')")
    follow = Select("SELECT id, local FROM t", fetch=2, follow=Follow("local", ("id",), State("cursor")))
    day = "2026-10-25T"
    assert pages(odbc, follow, None, day + "00:00:00") == [0]
    assert pages(odbc, follow, day + "00:00:00", day + "00:45:00") == []
    assert pages(odbc, follow, day + "00:45:00", day + "00:59:59") == []
    assert pages(odbc, follow, day + "00:59:59", day + "01:30:00") == [1, 2]
    assert pages(odbc, follow, day + "01:30:00", day + "02:00:00") == [3, 4]
    assert pages(odbc, follow, day + "01:59:55", day + "02:00:01") == [4, 5]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_session_of_postgresql_has_the_zone_and_no_other_moves_a_value(table: Server, odbc: Database) -> None:
    """Now() in a statement is the local time for a column without a zone; and on_connect may take another zone."""
    odbc.connect()
    assert [row for _, rows in odbc.query("SELECT current_setting('TimeZone') AS z") for row in rows] == [
        ("Europe/Vienna",)
    ]
    guessed = Write("INSERT INTO t (id, local) VALUES (:id, COALESCE(CAST(:local AS timestamptz), now()))")
    sent(table, odbc, "2026-07-01T10:00:00Z", write=guessed)
    assert kept(table, "local") == ["2026-07-01 12:00:00"]
    odbc.connect()
    odbc.execute("UPDATE t SET local = now()")
    odbc.commit()
    assert table.rows("SELECT abs(extract(epoch FROM local - now() AT TIME ZONE 'Europe/Vienna')) < 600 FROM t") == [
        (True,)
    ]
    table.execute("DELETE FROM t")
    settings = DatabaseSettings(table.connection, on_connect=("SET TIME ZONE 'Asia/Tokyo'",), clock=VIENNA)
    with closing(Database(settings)) as tokyo:
        sent(table, tokyo, "2026-07-01T10:00:00Z", "2026-07-01 12:00:00")
        assert (
            kept(table, "local") == kept(table, "instant AT TIME ZONE 'Europe/Vienna'") == ["2026-07-01 12:00:00"] * 2
        )
        (body, _) = told_by_clock(tokyo, "SELECT local, instant FROM t")
        assert read(body) == {"local": "2026-07-01T12:00:00+02:00", "instant": "2026-07-01T19:00:00+09:00"}


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_the_inbox_keeps_its_keys_as_long_as_it_should(database: Server) -> None:
    """Its own times are those of the session."""
    inbox = Inbox(Idempotency("inbox", "id"), "test")
    clock = WallClock(ZoneInfo("America/New_York"))
    with closing(Database(DatabaseSettings(database.connection, clock=clock))) as odbc:
        odbc.connect()
        odbc.execute(ddl("inbox"))
        inbox.insert(odbc, [Key("a" * 64, "a")])
        assert inbox.delete_older(odbc, 3600) == 0
        assert inbox.delete_older(odbc, -86_400) == 1


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_what_mariadb_does_not_tell_apart_is_refused(table: Server, odbc: Database) -> None:
    """Under another name a result does not say whether it is a timestamp, which is UTC, or a datetime."""
    sent(table, odbc, "2026-07-01T10:00:00Z")
    with pytest.raises(Failed, match="at may be an instant") as refused:
        list(told_by_clock(odbc, "SELECT local AS at FROM t"))
    assert refused.value.failure.code == "zone"
    follow = Select("SELECT id, local AS at FROM t", follow=Follow("at", ("id",), State("cursor")))
    with pytest.raises(Failed, match="whether at has a time zone"):
        pages(odbc, follow, None, "2027-01-01")
    instants = Select("SELECT id, instant FROM t", follow=Follow("instant", ("id",), State("cursor")))
    assert pages(odbc, instants, "2026-07-01T10:00:00", "2026-07-01T10:00:01") == [0]
    assert pages(odbc, instants, "2026-07-01T10:00:01", "2026-07-01T13:00:00") == []

"""`select --dry-run` on real databases, without a broker: what would be published, and nothing is changed by it."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dbconnector.cli import main
from dbconnector.cursor_table import STATE, CursorTable, seen_ddl
from dbconnector.lease_table import ddl
from dbconnector.odbc.database import Database as Odbc
from dbconnector.settings import DatabaseSettings
from dbconnector.watermark import moment_of, version
from tests.services.database import Database
from tests.services.mariadb import MariaDatabase
from tests.services.sqlite import SqliteDatabase
from tests.services.waiting import eventually

OUTBOX: dict[str, Any] = {
    "query": "SELECT id, device FROM outbox WHERE sent = 0 ORDER BY id",
    "on_sent": "UPDATE outbox SET sent = 1 WHERE id = :id",
}
FOLLOW: dict[str, Any] = {
    "query": "SELECT id, changed_at FROM reading",
    "follow": {
        "column": "changed_at",
        "key": "id",
        "clock": "database",
        "state": {"table": "connector_cursor"},
    },
}
CHANGED = {
    "postgresql": "timestamptz DEFAULT now()",
    "mariadb": "datetime(6) DEFAULT now(6)",
    "sqlite": "text DEFAULT CURRENT_TIMESTAMP",
}


class Dry:
    """A database with rows to publish, and a broker that nobody can reach."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        database.execute("CREATE TABLE outbox (id integer PRIMARY KEY, device varchar(20), sent integer DEFAULT 0)")
        database.execute("INSERT INTO outbox (id, device) VALUES (1, 'p-1'), (2, NULL), (3, 'p-3')")
        database.execute(f"CREATE TABLE reading (id integer PRIMARY KEY, changed_at {CHANGED[database.kind]})")
        if isinstance(database, MariaDatabase):
            database.server.execute("GRANT PROCESS ON *.* TO 'app'@'%'")

    def run(self, select: dict[str, Any], *options: str, destination: Any = None, connection: Any = None) -> Result:
        routing_key = "row.{device}" if "on_sent" in select else "row"
        destination = {"exchange": "rows", "routing_key": routing_key, **(destination or {})}
        config = {
            "database": {"connection": {**self.database.connection, **(connection or {})}, "select": select},
            "broker": {"host": "nowhere.invalid", "password": "${NOT_SET_HERE}", "destination": destination},
            "name": "readings",
        }
        file = self.folder / "db.config"
        file.write_text(json.dumps(config))
        file.chmod(0o600)
        return CliRunner().invoke(main, ["select", "-c", str(file), "--dry-run", *options])

    def rows(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code of a dry run of `follow`, and what it says."""
        done = self.run(FOLLOW, "--json", *options)
        return done.exit_code, json.loads(done.stdout)

    def ids(self) -> list[int]:
        return [row["published"]["body"]["id"] for row in self.rows()[1]["rows"]]

    def settings(self) -> DatabaseSettings:
        return DatabaseSettings(self.database.connection)


@pytest.fixture
def dry(database: Database, tmp_path: Path) -> Dry:
    return Dry(database, tmp_path)


@pytest.fixture
def on_sqlite(sqlite_db: SqliteDatabase, tmp_path: Path) -> Dry:
    return Dry(sqlite_db, tmp_path)


def test_the_first_rows_are_shown_and_nothing_is_marked(dry: Dry) -> None:
    done = dry.run(OUTBOX, "--limit", "1")
    assert done.exit_code == 0
    assert "1: would be published to exchange rows with routing key 'row.p-1'" in done.stdout
    assert "1 row read; --limit reads more. Nothing was published or marked." in done.stdout
    done = dry.run(OUTBOX, "--json")
    assert done.exit_code == 1  # the second row has no device, so no routing key
    shown = json.loads(done.stdout)["rows"]
    assert [row.get("on_sent", row.get("rejected", {}).get("code")) for row in shown] == [
        {"id": 1},
        "missing-field",
        {"id": 3},
    ]
    assert dry.database.rows("SELECT sum(sent) FROM outbox") == [(0,)]


def test_no_row_is_the_exit_code_of_select_and_a_mistake_is_one(dry: Dry) -> None:
    assert dry.run({**OUTBOX, "query": "SELECT id, device FROM outbox WHERE id > 9"}).exit_code == 3
    assert dry.run({**OUTBOX, "query": "SELECT id, device FROM outbocks"}).exit_code == 78
    assert dry.run({**OUTBOX, "on_sent": "UPDATE outbox SET sent = 1 WHERE id = :number"}).exit_code == 78
    assert (
        dry.run({**OUTBOX, "query": "SELECT id, device FROM outbox WHERE id = :id"}, "--param", "id=3").exit_code == 0
    )


def test_rows_that_share_a_message_are_shown_in_it(on_sqlite: Dry) -> None:
    on_sqlite.database.execute("UPDATE outbox SET device = 'p-1'")
    done = on_sqlite.run(OUTBOX, "--json", "--limit", "2", destination={"rows": "all"})
    (shown,) = json.loads(done.stdout)["rows"]
    assert [row["id"] for row in shown["published"]["body"]] == [1, 2]
    assert shown["on_sent"] == [{"id": 1}, {"id": 2}]
    assert (
        "2 rows read; --limit reads more" in on_sqlite.run(OUTBOX, "--limit", "2", destination={"rows": "all"}).stdout
    )


def test_of_a_followed_table_it_tells_how_far_and_shows_what_is_new(dry: Dry) -> None:
    dry.database.execute("INSERT INTO reading (id) VALUES (1), (2), (3)")
    eventually(lambda: dry.ids() == [1, 2, 3], 10, 0.1)  # the horizon has passed them
    code, shown = dry.rows("--limit", "2")
    assert (code, [row["published"]["body"]["id"] for row in shown["rows"]]) == (0, [1, 2])
    assert shown["follow"].keys() == {"watermark", "horizon", "reads"}
    assert shown["follow"]["watermark"] == "none yet"
    with pytest.raises(Exception, match="connector_cursor"):  # no table was made
        dry.database.rows("SELECT * FROM connector_cursor")


def test_what_another_follower_holds_or_has_published_is_left_to_it(dry: Dry) -> None:
    dry.database.execute("INSERT INTO reading (id) VALUES (1), (2), (3), (4)")
    eventually(lambda: dry.ids() == [1, 2, 3, 4], 10, 0.1)
    for statement in (ddl("connector_cursor"), seen_ddl("connector_cursor")):
        dry.database.execute(statement)
    with closing(Odbc(dry.settings())) as database:
        database.connect()
        table = CursorTable("connector_cursor", "readings", "the other", database, place=STATE)
        lease = table.take()
        assert not isinstance(lease, str)
        at = _position(dry)
        assert table.advance(lease, at, [version((_written(dry, 2), 2), at)], forget=None)
        before = dry.database.rows("SELECT owner, fence, watermark, lease_until FROM connector_cursor")
        code, shown = dry.rows("--limit", "2")
        assert (code, [row["published"]["body"]["id"] for row in shown["rows"]]) == (0, [1, 3])
        assert shown["follow"]["lease"] == "held by the other"
        assert dry.database.rows("SELECT owner, fence, watermark, lease_until FROM connector_cursor") == before


def test_of_a_shared_schedule_it_tells_what_was_handled_last_and_makes_nothing(on_sqlite: Dry) -> None:
    file = on_sqlite.folder / "state.db"
    state = {"table": "cursor", "connection": {"Driver": "SQLite3", "Database": str(file)}}
    select = {**OUTBOX, "cron": "0 2 * * *", "zone": "Europe/Vienna", "state": state}
    shown = json.loads(on_sqlite.run(select, "--json", "--limit", "1").stdout)
    assert shown["cron"].keys() == {"handled up to", "next"}
    assert shown["cron"]["handled up to"] == "never"
    assert not file.exists()
    with closing(SqliteDatabase(file)) as database:
        database.script(
            ddl("cursor"), "INSERT INTO cursor VALUES ('readings', '2026-06-02 00:00:00.000000', 'x', 0, 1)"
        )
    text = on_sqlite.run(select, "--limit", "1").stdout
    assert text.startswith("handled up to: 2026-06-02T02:00+02:00\nnext: ")
    assert "\nnot completed: a run of x, which is repeated\n" in text
    assert "1: would be published" in text


def _position(dry: Dry) -> Any:
    """Return the position of a row."""
    return moment_of(_written(dry, 2))


def _written(dry: Dry, id: int) -> Any:
    """Return when a row was written, as the connector reads it."""
    with closing(Odbc(dry.settings())) as database:
        database.connect()
        return next(database.query(f"SELECT changed_at FROM reading WHERE id = {id}"))[1][0][0]


def test_the_secrets_of_the_database_are_needed(on_sqlite: Dry) -> None:
    done = on_sqlite.run(OUTBOX, connection={"Pwd": "${NOT_SET_HERE}"})
    assert done.exit_code == 78


def test_a_database_that_is_a_file_is_not_made(on_sqlite: Dry) -> None:
    missing = on_sqlite.folder / "nowhere.db"
    for select in (OUTBOX, FOLLOW):
        assert on_sqlite.run(select, connection={"Database": str(missing)}).exit_code == 78
    other = {**FOLLOW["follow"], "state": {"table": "c", "connection": {"Driver": "SQLite3", "Database": str(missing)}}}
    assert on_sqlite.run({**FOLLOW, "follow": other}).exit_code == 3
    assert not missing.exists()


@pytest.mark.parametrize("options", [("--every", "1s"), ("--limit", "0")])
def test_options_that_do_not_fit_are_wrong_usage(on_sqlite: Dry, options: tuple[str, str]) -> None:
    assert on_sqlite.run(OUTBOX, *options).exit_code == 2

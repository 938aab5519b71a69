"""A cron schedule that processes share through a state table on real databases. The time of day is the test's."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectorlib.errors import Failed
from connectorlib.preflight.findings import Mark
from connectorlib.service.process import Life
from dbconnector import preflight
from dbconnector.lease_table import Lease, LeaseTable
from dbconnector.odbc.database import Database as Odbc
from dbconnector.settings import Cron, DatabaseSettings, DbConfig, Select, State
from dbconnector.shared_schedule import STATE, SharedSchedule
from tests.services.database import Database
from tests.services.postgresql import PostgresDatabase
from tests.services.waiting import eventually

NIGHTLY = Cron("0 2 * * *", state=State("connector_cursor"))
SKIPPING = replace(NIGHTLY, missed="skip")


class CountedTable(LeaseTable):
    """It counts how often the lease was to be renewed."""

    renewals = 0

    def renew(self, lease: Lease) -> bool:
        self.renewals += 1
        return super().renew(lease)


class Process(SharedSchedule):
    """The schedule of a process, that runs nothing."""

    def __init__(self, cron: Cron, table: CountedTable, clock: Callable[[], datetime]) -> None:
        self.life = Life(install=False)
        self.table = table
        super().__init__(cron, table, self.life, clock)

    def look(self) -> bool:
        """Do what is done at each look at the clock; return whether the query was run."""
        begun = self.due_in() == 0 and self.begin()
        if begun:
            self.finish(complete=True)
        return begun

    def die(self) -> None:
        """Leave everything as it is."""
        self._keeper.stop()
        self._lease = None


class Plant:
    """Processes that share one state table, and a clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.at("2026-06-01T12:00")

    def at(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC)

    @contextmanager
    def process(
        self, name: str, cron: Cron = NIGHTLY, lease_s: int = 30, at: Callable[[], datetime] | None = None
    ) -> Iterator[Process]:
        """Yield a process that has had its first look, which runs nothing by itself."""
        with closing(Odbc(DatabaseSettings(self.database.connection))) as database:
            table = CountedTable("connector_cursor", "report", name, database, place=STATE, lease_s=lease_s)
            with closing(Process(cron, table, at or (lambda: self.now))) as process:
                yield process

    @contextmanager
    def two(self, cron: Cron = NIGHTLY, lease_s: int = 30) -> Iterator[tuple[Process, Process]]:
        with ExitStack() as stack:
            a, b = (stack.enter_context(self.process(name, cron, lease_s)) for name in ("a", "b"))
            assert (a.look(), b.look()) == (False, False)
            yield a, b

    def row(self) -> tuple[str, Any]:
        """Return the watermark and the owner."""
        ((watermark, owner),) = self.database.rows("SELECT watermark, owner FROM connector_cursor")
        return watermark[:16], owner

    def lease_until(self) -> int:
        return int(self.database.value("SELECT lease_until FROM connector_cursor"))


@pytest.fixture(params=["postgres_db", "maria_db", "sqlite_db"])
def plant(request: pytest.FixtureRequest) -> Plant:
    return Plant(request.getfixturevalue(request.param))


@pytest.fixture
def on_postgres(postgres_db: PostgresDatabase) -> Plant:
    return Plant(postgres_db)


# --- two processes ----------------------------------------------------------------------------------------------------


def test_of_two_processes_one_runs_at_each_time(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with plant.two() as (a, b):
        for day, (one, other) in ((2, (a, b)), (3, (b, a)), (4, (b, a))):
            plant.at(f"2026-06-0{day}T02:00")
            assert one.due_in() == other.due_in() == 0
            assert one.begin()
            for _ in range(3):
                assert not other.begin()
                assert 0 < other.due_in() <= 10  # it looks again, for the one may die
            one.finish(complete=True)
            assert not other.begin()
            assert other.due_in() == 60
            assert plant.row() == (f"2026-06-0{day} 02:00", None)
            assert not one.look()
    runs = [text for text in caplog.messages if text.startswith("another process runs the query")]
    assert [text[-1] for text in runs] == ["a", "b", "b"]


def test_clocks_that_differ_by_some_seconds_make_no_second_run(on_postgres: Plant) -> None:
    late = timedelta(seconds=20)
    with on_postgres.process("a") as a, on_postgres.process("b", at=lambda: on_postgres.now - late) as slow:
        assert (a.look(), slow.look()) == (False, False)
        on_postgres.at("2026-06-02T02:00")
        assert a.look()
        assert slow.due_in() == 20
        on_postgres.at("2026-06-02T02:00:20")
        assert slow.due_in() == 0
        assert not slow.begin()
        assert on_postgres.row() == ("2026-06-02 02:00", None)


def test_the_run_of_a_process_that_was_killed_is_repeated_when_its_lease_ends(plant: Plant) -> None:
    """However late that is: it had begun, so it was not missed."""
    with plant.two(SKIPPING, lease_s=1) as (a, b):
        plant.at("2026-06-02T02:00")
        assert a.due_in() == 0
        assert a.begin()
        assert b.due_in() == 0
        assert not b.begin()
        plant.at("2026-06-02T02:30")
        a.die()
        assert eventually(b.look, 10, 0.1)
        assert plant.row() == ("2026-06-02 02:00", None)


def test_a_process_that_is_started_within_the_run_of_another_waits_for_its_end(on_postgres: Plant) -> None:
    with on_postgres.two(SKIPPING, lease_s=1) as (a, _):
        on_postgres.at("2026-06-02T02:00")
        assert a.due_in() == 0
        assert a.begin()
        on_postgres.at("2026-06-02T02:30")
        with on_postgres.process("c", SKIPPING, lease_s=1) as c:
            assert not c.look()
            a.die()
            assert eventually(c.look, 10, 0.1)


def test_an_outage_of_the_state_at_the_time_makes_no_missed_run(on_postgres: Plant) -> None:
    with on_postgres.two(SKIPPING) as (a, _):
        on_postgres.at("2026-06-02T02:00")
        on_postgres.database.execute("ALTER TABLE connector_cursor RENAME TO away")
        assert a.due_in() == 0
        with pytest.raises(Failed):
            a.begin()
        on_postgres.database.execute("ALTER TABLE away RENAME TO connector_cursor")
        on_postgres.at("2026-06-02T02:30")
        assert a.begin()
        a.finish(complete=True)


def test_a_run_that_failed_or_was_stopped_is_the_others_at_once(on_postgres: Plant) -> None:
    with on_postgres.two(SKIPPING) as (a, b):
        on_postgres.at("2026-06-02T02:00")
        assert not a.due_in()
        assert a.begin()
        a.life.request_stop()
        assert a.halt.is_set()
        a.finish(complete=False)
        on_postgres.at("2026-06-02T02:00:30")
        assert b.look()
        on_postgres.at("2026-06-03T02:00")
        assert not b.due_in()
        assert b.begin()
        b.finish(complete=False)
        on_postgres.at("2026-06-03T02:20")  # whoever comes first repeats it, a new process too
        with on_postgres.process("c", SKIPPING) as c:
            assert c.look()
        assert not b.begin()
        assert on_postgres.row() == ("2026-06-03 02:00", None)


def test_what_is_asked_for_is_run_without_a_time_and_by_one_at_a_time(
    on_postgres: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with on_postgres.two() as (a, b):
        on_postgres.at("2026-06-01T15:00")
        assert a.due_in()
        assert a.begin()
        assert not b.begin()
        assert caplog.messages[-1] == "another process runs the query owner=a"
        a.finish(complete=True)
        assert b.begin()
        b.finish(complete=True)
        assert on_postgres.row() == ("2026-06-01 12:00", None)  # no time was handled by it
        on_postgres.at("2026-06-02T02:00")
        assert a.look()


# --- the lease --------------------------------------------------------------------------------------------------------


def test_the_lease_is_renewed_for_as_long_as_a_run_takes(plant: Plant) -> None:
    with plant.two(lease_s=1) as (a, b):
        plant.at("2026-06-02T02:00")
        assert not a.due_in()
        assert a.begin()
        until = plant.lease_until()
        eventually(lambda: plant.lease_until() > until + 2, 20)
        assert b.due_in() == 0
        assert not b.begin()
        plant.at("2026-06-02T02:40")
        a.finish(complete=True)
        assert plant.row() == ("2026-06-02 02:00", None)
        assert not b.begin()
        assert not a.halt.is_set()


def test_a_process_whose_lease_was_taken_over_says_so_once_publishes_no_more_and_handles_nothing(
    on_postgres: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with on_postgres.two(lease_s=1) as (a, b):
        on_postgres.at("2026-06-02T02:00")
        assert not a.due_in()
        assert a.begin()
        on_postgres.database.execute("UPDATE connector_cursor SET lease_until = 0, owner = 'nobody'")
        assert not b.due_in()
        assert b.begin()
        eventually(a.halt.is_set)
        a.finish(complete=True)
        assert on_postgres.row() == ("2026-06-01 12:00", "b")
        b.finish(complete=True)
        assert on_postgres.row() == ("2026-06-02 02:00", None)
        assert a.due_in() == 0
        assert not a.begin()
    assert [text for text in caplog.messages if "lease" in text] == [
        'lease lost text="another process has taken over the run and repeats it"'
    ]


def test_what_was_sent_before_the_row_was_deleted_is_not_taken_for_a_complete_run(on_postgres: Plant) -> None:
    """The other's lease has the same number then."""
    with on_postgres.process("a", lease_s=1) as a, on_postgres.process("b", lease_s=1) as b:
        assert not a.look()
        on_postgres.database.execute("DELETE FROM connector_cursor")
        on_postgres.at("2026-06-02T02:00")
        assert a.due_in() == 0
        assert a.begin()
        on_postgres.database.execute("DELETE FROM connector_cursor")
        eventually(a.halt.is_set)
        assert b.begin()
        a.finish(complete=True)
        assert on_postgres.database.rows("SELECT watermark, owner FROM connector_cursor") == [(None, "b")]
        b.finish(complete=True)
        assert on_postgres.row() == ("2026-06-02 02:00", None)


def test_a_lease_that_cannot_be_renewed_is_told_once_and_the_run_goes_on(
    on_postgres: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with on_postgres.two(lease_s=1) as (a, _):
        on_postgres.at("2026-06-02T02:00")
        assert not a.due_in()
        assert a.begin()
        on_postgres.database.execute("ALTER TABLE connector_cursor RENAME TO away")
        tried = a.table.renewals
        eventually(lambda: a.table.renewals > tried + 3)
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith("lease not renewed text=")
        with pytest.raises(Failed):
            a.finish(complete=True)
        on_postgres.database.execute("ALTER TABLE away RENAME TO connector_cursor")
        assert not a.halt.is_set()
        assert not a.begin()  # what is complete is recorded, and not repeated
        assert on_postgres.row() == ("2026-06-02 02:00", None)
        assert a.due_in() == 60


def test_what_could_not_be_recorded_before_another_took_over_is_the_others(on_postgres: Plant) -> None:
    database = on_postgres.database
    with on_postgres.two() as (a, b):
        on_postgres.at("2026-06-02T02:00")
        assert not a.due_in()
        assert a.begin()
        database.execute("ALTER TABLE connector_cursor RENAME TO away")
        with pytest.raises(Failed):
            a.finish(complete=True)
        database.execute("ALTER TABLE away RENAME TO connector_cursor")
        database.execute("UPDATE connector_cursor SET lease_until = 0")
        assert not b.due_in()
        assert b.begin()
        assert not a.begin()
        assert on_postgres.row() == ("2026-06-01 12:00", "b")


# --- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cron", "run"), [(NIGHTLY, True), (SKIPPING, False)], ids=["once", "skip"])
def test_what_was_due_while_no_process_was_running_is_run_once_or_skipped(
    on_postgres: Plant, caplog: pytest.LogCaptureFixture, cron: Cron, run: bool
) -> None:
    caplog.set_level(logging.INFO)
    with on_postgres.process("a", cron) as a:
        assert not a.look()  # the first start: nothing was missed
    on_postgres.at("2026-06-04T09:00")
    with on_postgres.process("b", cron) as b:
        assert b.look() is run
        assert not b.look()
        assert b.about() == "handled up to 2026-06-04T02:00+00:00"
    assert on_postgres.row() == ("2026-06-04 02:00", None)
    skipped = ["missed run skipped due=2026-06-04T02:00+00:00"]
    assert [text for text in caplog.messages if "skipped" in text] == ([] if run else skipped)
    assert [text.partition("handled=")[2] for text in caplog.messages if text.startswith("scheduled")] == [
        "never",
        "2026-06-01T12:00+00:00",
    ]


def test_what_was_handled_before_a_restart_is_not_run_again(on_postgres: Plant) -> None:
    with on_postgres.process("a") as a:
        a.look()
        on_postgres.at("2026-06-02T02:00")
        assert a.look()
    on_postgres.at("2026-06-02T02:00:20")
    with on_postgres.process("b") as b:
        assert not b.look()
        on_postgres.at("2026-06-03T02:00")
        assert b.look()


def test_a_clock_that_is_wrong_suppresses_nothing(on_postgres: Plant, caplog: pytest.LogCaptureFixture) -> None:
    with on_postgres.two() as (a, _):
        on_postgres.database.execute("UPDATE connector_cursor SET watermark = '2030-01-01 02:00:00.000000'")
        on_postgres.at("2026-06-02T02:00")
        assert a.due_in() == 0
        assert a.begin()
        a.finish(complete=False)
        assert a.begin()
        a.finish(complete=True)
    assert caplog.text.count("clocks differ handled=2030-01-01T02:00+00:00") == 1
    assert on_postgres.row() == ("2026-06-02 02:00", None)


def test_the_row_of_a_followed_table_is_refused(on_postgres: Plant) -> None:
    with on_postgres.two() as (a, _):
        on_postgres.database.execute("UPDATE connector_cursor SET watermark = '00000000000000000007'")
        on_postgres.at("2026-06-02T02:00")
        with pytest.raises(Failed, match="that of a followed table"):
            a.look()
        on_postgres.database.execute("UPDATE connector_cursor SET watermark = NULL, owner = 'plant-2 of reading.at'")
        with pytest.raises(Failed, match=r"that of reading\.at, last used by plant-2"):
            a.look()


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_says_what_was_handled_last_and_who_runs_the_query(on_postgres: Plant) -> None:
    def found() -> tuple[Mark, str]:
        settings = DatabaseSettings(on_postgres.database.connection, select=Select("SELECT 1 AS one", cron=NIGHTLY))
        config = DbConfig(file="db.config", name="report", database=settings, broker=None)  # type: ignore[arg-type]
        (state,) = (each for each in preflight.findings(config) if each.about == "select.state")
        return state.mark, state.text

    assert found()[0] is Mark.ODD
    with on_postgres.two() as (a, _):
        on_postgres.at("2026-06-02T02:00")
        assert not a.due_in()
        assert a.begin()
        mark, text = found()
        assert mark is Mark.GOOD
        assert text.startswith("handled up to 2026-06-01T12:00+00:00, next 20")
        assert text.endswith("T02:00+00:00, lease held by a")
        a.finish(complete=False)
        assert found()[1].endswith("not completed a run of a, which is repeated")

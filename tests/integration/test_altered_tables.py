"""Tables that are altered while their rows are written or read: values go into the columns that there are, under the
names that they have."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import count, islice
from typing import Any

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Again, Dead, Delivery, Done, Outcome
from connectorlib.pipeline.flood import Brake
from connectorlib.pipeline.sink import handled
from connectorlib.shared_settings import Destination
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.select_run import select
from dbconnector.settings import DatabaseSettings, Write
from dbconnector.sink import DatabaseSink
from tests.integration.test_select import MARK, Bench
from tests.integration.test_values import config, delivery
from tests.services.database import Database as Server

FLOOD = 20
INSERT = Write("INSERT INTO t (id, v) VALUES (:id, :v)")
#: How the type of a column is changed, by kind of database.
ALTER = {
    "postgresql": "ALTER TABLE t ALTER COLUMN v TYPE {0} USING v::{0}",
    "mariadb": "ALTER TABLE t MODIFY v {0}",
}


@pytest.fixture(params=["postgres_db", "postgres_ansi_db", "maria_db"])
def server(request: pytest.FixtureRequest) -> Server:
    """A database in which columns have types of their own."""
    found: Server = request.getfixturevalue(request.param)
    found.execute("CREATE TABLE t (id integer NOT NULL PRIMARY KEY, v integer)")
    return found


def alter(server: Server, type_name: str) -> None:
    server.execute(ALTER[server.kind].format(type_name))


class Writing:
    """A sink that is given messages again as long as it says so."""

    def __init__(self, server: Server, odbc: Database) -> None:
        self._sink = DatabaseSink(compile_plan(config(server, "json", INSERT)), odbc, Brake(FLOOD))
        self._number = 0

    def write(self, *values: Any) -> list[Outcome]:
        """Write messages with these values, and return what became of each in the end."""
        numbers = range(self._number, self._number + len(values))
        self._number += len(values)
        waiting = {
            number: delivery(number, json.dumps({"id": number, "v": value}).encode())
            for number, value in zip(numbers, values, strict=True)
        }
        found: dict[int, Outcome] = {}
        while waiting:
            outcomes = self._handled(list(waiting.values()))
            found |= dict(zip(list(waiting), outcomes, strict=True))
            waiting = {number: each for number, each in waiting.items() if _is_altered(found[number])}
        return [found[number] for number in numbers]

    def _handled(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        outcomes = self._sink.handle(deliveries, lambda: True)
        assert {each.failure.kind for each in outcomes if isinstance(each, Again)} <= {Kind.RETRY, Kind.FLOOD}
        return outcomes


def _is_altered(outcome: Outcome) -> bool:
    return isinstance(outcome, Again) and outcome.failure.code == "columns-changed"


@pytest.fixture
def writing(server: Server) -> Iterator[Writing]:
    with closing(Database(DatabaseSettings(server.connection))) as odbc:
        yield Writing(server, odbc)


def stored(server: Server, *, of: int) -> list[str]:
    """Return the last values as text."""
    rows = server.rows("SELECT v FROM t ORDER BY id DESC")[:of]
    return [str(value) for (value,) in reversed(rows)]


def test_a_column_that_has_become_wider_takes_what_it_can_hold_now(server: Server, writing: Writing) -> None:
    assert writing.write(1, "2.0") == [Done()] * 2
    alter(server, "numeric(20,3)")
    assert writing.write(1.5, 7, "2.125", 2**31) == [Done()] * 4
    assert stored(server, of=4) == ["1.500", "7.000", "2.125", "2147483648.000"]
    alter(server, "text")
    assert writing.write("1e3", True, 1.50, "x", 12) == [Done()] * 5
    assert stored(server, of=5) == ["1e3", "true", "1.5", "x", "12"]


def test_a_column_that_has_become_narrower_refuses_what_it_would_alter(server: Server, writing: Writing) -> None:
    alter(server, "numeric(12,3)")
    assert writing.write(1.5) == [Done()]
    server.execute("DELETE FROM t")
    alter(server, "integer")
    wrong, right = writing.write(1.5, 3)
    assert isinstance(wrong, Dead)
    assert (wrong.failure.code, right) == ("bad-value", Done())
    assert stored(server, of=1) == ["3"]


@pytest.mark.parametrize(
    ("good", "dead", "written"),
    [([], 19, []), ([0, 5], 38, [0, 5]), ([19], 38, [19]), ([60], 19, []), ([2, 18, 30], 57, [2, 18, 30])],
)
def test_when_a_column_has_become_narrower_a_call_ends_after_so_many_refusals_in_a_row(
    server: Server, writing: Writing, good: list[int], dead: int, written: list[int]
) -> None:
    """Those before a message that passes in the same part of the call do not count."""
    alter(server, "numeric(12,3)")
    writing.write(0)
    alter(server, "integer")
    outcomes = writing.write(*(each if each in good else each + 0.5 for each in range(100)))
    assert [each for each, outcome in enumerate(outcomes) if outcome == Done()] == written
    assert sum(isinstance(outcome, Dead) for outcome in outcomes) == dead
    rest = outcomes[dead + len(written) :]
    failure = Failure(Kind.FLOOD, "bad-value", "", "write[0]", same=FLOOD, by_target=True)
    assert {replace(each.failure, text="", detail="") for each in rest if isinstance(each, Again)} == {failure}
    assert [int(value) for value in stored(server, of=len(written))] == written
    alter(server, "numeric(12,1)")
    assert writing.write(0.5, 1) == [Done()] * 2


def test_a_constant_that_no_longer_fits_pauses_until_it_fits(server: Server) -> None:
    alter(server, "numeric(12,3)")
    write = Write(INSERT.statement, {"v": {"value": Decimal("1.5")}})
    with closing(Database(DatabaseSettings(server.connection))) as odbc:
        sink = DatabaseSink(compile_plan(config(server, "json", write)), odbc)
        numbers = count()

        def kinds() -> list[Kind]:
            deliveries = [delivery(number, b'{"id": %d}' % number) for number in islice(numbers, 3)]
            outcomes = handled(sink, deliveries, lambda: True)
            return [each.failure.kind for each in outcomes if isinstance(each, Again | Dead)]

        assert kinds() == []
        server.execute("DELETE FROM t")
        alter(server, "integer")
        assert kinds() == [Kind.CONFIGURATION] * 3
        alter(server, "numeric(12,1)")
        assert kinds() == []


def test_what_an_earlier_statement_does_not_find_counts_and_what_a_message_lacks_does_not(server: Server) -> None:
    find = Write("SELECT v FROM t WHERE id = :id", name="found")
    copy = Write("INSERT INTO t (id, v) VALUES (:copy, :v)", {"v": "$result.found.v"})
    with closing(Database(DatabaseSettings(server.connection))) as odbc:
        sink = DatabaseSink(compile_plan(config(server, "json", find, copy)), odbc, Brake(3))

        def ends(body: bytes) -> list[str]:
            outcomes = sink.handle([delivery(number, body) for number in range(5)], lambda: True)
            return [each.failure.code if isinstance(each, Dead) else type(each).__name__ for each in outcomes]

        assert ends(b'{"id": 1, "copy": 2}') == ["missing-field"] * 2 + ["Again"] * 3
        assert ends(b'{"id": 1}') == ["missing-field"] * 5


def test_under_load_no_good_message_is_refused_and_every_value_is_exact(server: Server, writing: Writing) -> None:
    altered: list[str] = []
    done = threading.Event()

    def alter_again_and_again() -> None:
        with closing(server.connect()) as connection:
            for type_name in ("numeric(12,3)", "bigint", "numeric(14,2)", "integer") * 3:
                cursor = connection.cursor()
                cursor.execute(ALTER[server.kind].format(type_name))
                altered.append(type_name)
        done.set()

    thread = threading.Thread(target=alter_again_and_again)
    thread.start()
    outcomes, number = [], 0
    while not done.is_set() or number < 500:
        outcomes += writing.write(*(f"{each}.0" if each % 2 else each for each in range(number, number + 50)))
        number += 50
    thread.join()
    assert len(altered) == 12
    assert outcomes == [Done()] * number
    assert [int(value) for value in stored(server, of=number)] == list(range(number))


def test_a_statement_after_an_altered_one_returns_what_there_is(server: Server) -> None:
    """RETURNING * has the columns of this run."""
    server.execute("CREATE TABLE c (id integer NOT NULL PRIMARY KEY, w varchar(20))")
    returning = Write("INSERT INTO t (id) VALUES (:id) RETURNING *", name="first")
    copy = Write("INSERT INTO c (id, w) VALUES (:id, :w)", {"w": {"path": "$result.first.w", "default": None}})
    with closing(Database(DatabaseSettings(server.connection))) as odbc:
        sink = DatabaseSink(compile_plan(config(server, "json", returning, copy)), odbc)

        def write(number: int) -> Outcome:
            while isinstance(
                outcome := sink.handle([delivery(number, b'{"id": %d}' % number)], lambda: True)[0], Again
            ):
                assert outcome.failure.kind.value == "retry", outcome
            return outcome

        assert write(1) == Done()
        server.execute("ALTER TABLE t DROP COLUMN v")
        assert write(2) == Done()
        server.execute("ALTER TABLE t ADD COLUMN w integer DEFAULT 55")
        assert write(3) == Done()
    assert server.rows("SELECT id, w FROM c ORDER BY id") == [(1, None), (2, None), (3, "55")]


# --- select ---------------------------------------------------------------------------------------------------------


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    yield thread
    thread.join()


EVERYTHING = "SELECT * FROM outbox WHERE sent_at IS NULL ORDER BY id"
STEPS = (
    ("ALTER TABLE outbox DROP COLUMN reason", "ALTER TABLE outbox ADD COLUMN humidity integer DEFAULT 55"),
    ("ALTER TABLE outbox RENAME COLUMN humidity TO moisture",),
    ("ALTER TABLE outbox ADD COLUMN extra varchar(5) DEFAULT 'é'",),
)
NAMES = (
    {"id", "device", "value", "sent_at", "reason"},
    {"id", "device", "value", "sent_at", "humidity"},
    {"id", "device", "value", "sent_at", "moisture"},
    {"id", "device", "value", "sent_at", "moisture", "extra"},
)


def test_runs_of_a_query_send_the_columns_that_there_are(vhost: Any, database: Server) -> None:
    bench = Bench(vhost, database)
    settings = bench.config(Destination("rows", routing_key="row.x"), query=EVERYTHING, on_sent=MARK, fetch=7)
    with bench.opened(settings) as (odbc, broker):
        for number, names in enumerate(NAMES):
            database.script(*(STEPS[number - 1] if number else ()))
            row = f"INSERT INTO outbox (id, device, value) VALUES ({number}, 'pump', 1.5)"
            database.execute(row)
            assert select(settings, odbc, broker, threading.Event(), {}).sent == 1
            ((_, _, body),) = bench.taken()
            sent = json.loads(body)
            assert (sent.keys(), sent["id"], sent["value"]) == (names, number, 1.5)
            assert (sent.get("humidity"), sent.get("extra")) in {(None, None), (55, None), (None, "é")}
    assert bench.marked() == list(range(len(NAMES)))


def test_a_run_whose_table_is_altered_between_two_pages_goes_on_with_the_new_columns(
    vhost: Any, database: Server
) -> None:
    bench = Bench(vhost, database)
    bench.fill(60)
    settings = bench.config(Destination("rows", routing_key="row.x"), query=EVERYTHING, on_sent=MARK, fetch=5)

    def alter_table() -> None:
        with closing(database.connect()) as connection:
            for statement in STEPS[0]:
                connection.cursor().execute(statement)

    with meanwhile(alter_table) as altering, bench.opened(settings) as (odbc, broker):

        def start(sent: int) -> None:
            if sent >= 20 and not altering.ident:
                altering.start()

        assert select(settings, odbc, broker, threading.Event(), {}, start).sent == 60
    found = [json.loads(body) for _, _, body in bench.taken()]
    assert sorted(each["id"] for each in found) == list(range(60))
    assert all(each["value"] == each["id"] + 0.125 for each in found)
    assert {frozenset(each) for each in found} <= {
        *map(frozenset, NAMES[:2]),
        frozenset(NAMES[0] - {"reason"}),  # between the two statements
    }
    assert all(each.get("humidity", 55) == 55 and each.get("reason") is None for each in found)

"""selectNSend on real services: every row arrives, and only what is confirmed is marked."""

import json
import threading
import uuid
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from connectorlib.amqp import Broker, reconnect
from connectorlib.errors import Failed, Kind
from connectorlib.shared_settings import Destination, Limits
from connectorlib.values.backoff import Backoff
from dbconnector import row_source
from dbconnector.odbc.database import Database
from dbconnector.row_source import RowSource
from dbconnector.select_run import SelectResult, select
from dbconnector.settings import DatabaseSettings, DbConfig, Select
from tests.services.waiting import eventually

OUTBOX = "SELECT id, device, value FROM outbox WHERE sent_at IS NULL ORDER BY id"
MARK = "UPDATE outbox SET sent_at = CURRENT_TIMESTAMP WHERE id = :id"
FAIL = "UPDATE outbox SET sent_at = CURRENT_TIMESTAMP, reason = :error WHERE id = :id"


class Bench:
    """A database with a table `outbox`, and a broker with a queue `rows` behind the exchange `rows`."""

    def __init__(self, vhost: Any, database: Any) -> None:
        self.vhost = vhost
        self.database = database
        database.execute(
            "CREATE TABLE outbox (id integer NOT NULL PRIMARY KEY, device varchar(50), value numeric(12,3),"
            " sent_at timestamp NULL, reason varchar(1000))"
        )
        vhost.declare_queue("rows", "rows", "row.#")

    def fill(self, count: int, device: str = "pump-{}") -> None:
        for first in range(0, count, 500):
            numbers = range(first, min(first + 500, count))
            values = ",".join(f"({n}, '{device.format(n % 7)}', {n}.125)" for n in numbers)
            self.database.execute(f"INSERT INTO outbox (id, device, value) VALUES {values}")

    def config(self, destination: Destination | None = None, **settings: Any) -> DbConfig:
        settings.setdefault("query", OUTBOX)
        return DbConfig(
            file="db.config",
            name="test",
            database=DatabaseSettings(self.database.connection, select=Select(**settings)),
            broker=self.vhost.broker_settings(),
            destination=destination or Destination("rows", routing_key="row.{device}"),
        )

    @contextmanager
    def opened(self, config: DbConfig) -> Any:
        with (
            closing(Database(config.database, reading=True)) as database,
            Broker(config.broker, name="test", consuming=False) as broker,
        ):
            assert broker.wait_connected(20)
            yield database, broker

    def select(
        self,
        config: DbConfig | None = None,
        *,
        stop: Any = None,
        params: Any = None,
        progress: Any = None,
        **settings: Any,
    ) -> SelectResult:
        config = config or self.config(**settings)
        with self.opened(config) as (database, broker):
            return select(config, database, broker, stop or threading.Event(), params or {}, progress)

    def taken(self) -> list[Any]:
        return list(self.vhost.get_all("rows"))

    def ids(self) -> list[int]:
        return [json.loads(body)["id"] for _, _, body in self.taken()]

    def marked(self) -> list[int]:
        return [row[0] for row in self.database.rows("SELECT id FROM outbox WHERE sent_at IS NOT NULL ORDER BY id")]


@pytest.fixture
def bench(vhost: Any, database: Any) -> Bench:
    return Bench(vhost, database)


@pytest.fixture
def postgres_bench(vhost: Any, postgres_db: Any) -> Bench:
    return Bench(vhost, postgres_db)


@pytest.fixture
def maria_bench(vhost: Any, maria_db: Any) -> Bench:
    return Bench(vhost, maria_db)


@pytest.fixture
def sqlite_bench(vhost: Any, sqlite_db: Any) -> Bench:
    return Bench(vhost, sqlite_db)


@pytest.fixture(params=["postgres_bench", "maria_bench"])
def server_bench(request: pytest.FixtureRequest) -> Bench:
    """On the databases that lock single rows."""
    found: Bench = request.getfixturevalue(request.param)
    return found


def failure(run: Any) -> Any:
    with pytest.raises(Failed) as raised:
        run()
    return raised.value.failure


# --- streamed -------------------------------------------------------------------------------------------------------


def test_every_row_arrives_once_with_its_routing_key_message_id_and_headers(bench):
    bench.fill(2500)
    destination = Destination(
        "rows", routing_key="row.{device}", message_id="{device}-{id}", headers={"number": "id", "value": "value"}
    )
    told: list[int] = []
    result = bench.select(bench.config(destination, fetch=400), progress=told.append)
    assert result == SelectResult(2500, 0)
    assert told[-1] == 2500
    taken = bench.taken()
    assert [json.loads(body) for _, _, body in taken] == [
        {"id": n, "device": f"pump-{n % 7}", "value": n + 0.125} for n in range(2500)
    ]
    method, properties, _ = taken[8]
    assert method.routing_key == "row.pump-1"
    assert (properties.message_id, properties.delivery_mode) == ("pump-1-8", 2)
    assert properties.headers == {"number": 8, "value": "8.125"}
    assert properties.content_type == "application/json"
    assert bench.marked() == []


def test_without_an_expression_every_message_has_an_id_of_its_own(postgres_bench):
    postgres_bench.fill(50)
    postgres_bench.select()
    ids = {uuid.UUID(properties.message_id) for _, properties, _ in postgres_bench.taken()}
    assert len(ids) == 50


def test_an_empty_result_sends_nothing(bench):
    assert bench.select() == SelectResult(0, 0)
    assert bench.select(on_sent=MARK) == SelectResult(0, 0)


def test_a_binary_column_can_be_the_body(bench):
    column = {"postgresql": "bytea", "mariadb": "longblob", "sqlite": "blob"}[bench.database.kind]
    bench.database.execute(f"CREATE TABLE image (name varchar(20), data {column})")
    body = bytes(range(256)) * 500
    bench.database.execute("INSERT INTO image VALUES (?, ?)", "one", body)
    destination = Destination("rows", routing_key="row.{name}", body="data", content_type="image/png")
    assert bench.select(bench.config(destination, query="SELECT name, data FROM image")).sent == 1
    [(method, properties, found)] = bench.taken()
    assert (method.routing_key, properties.content_type, found) == ("row.one", "image/png", body)


def test_parameters_come_from_the_configuration_and_from_the_call(bench):
    bench.fill(10)
    settings: dict[str, Any] = {
        "query": "SELECT id FROM outbox WHERE id >= :low AND id < :high ORDER BY id",
        "params": {"low": 2, "high": 3},
    }
    destination = Destination("rows", routing_key="row.x")
    bench.select(bench.config(destination, **settings), params={"high": "5"})
    assert bench.ids() == [2, 3, 4]
    del settings["params"]["low"]
    found = failure(lambda: bench.select(bench.config(destination, **settings)))
    assert (found.kind, found.code) == (Kind.CONFIGURATION, "missing-param")
    assert "--param low=" in found.text


def test_missing_exchanges_are_made_but_a_row_that_reaches_no_queue_fails(postgres_bench):
    postgres_bench.fill(1)
    found = failure(lambda: postgres_bench.select(postgres_bench.config(Destination("fresh", routing_key="x"))))
    assert (found.kind, found.code) == (Kind.REJECT, "unroutable")
    postgres_bench.vhost.declare_queue("rows", "fresh", "x")
    assert postgres_bench.select(postgres_bench.config(Destination("fresh", routing_key="x"))).sent == 1


def test_a_query_that_changes_rows_is_refused(sqlite_bench):
    found = failure(lambda: sqlite_bench.select(query="DELETE FROM outbox"))
    assert found.kind is Kind.CONFIGURATION


def test_a_query_that_fails_says_so(bench):
    found = failure(lambda: bench.select(query="SELECT id FROM nowhere"))
    assert found.kind is Kind.CONFIGURATION
    assert "nowhere" in found.text


# --- marked ---------------------------------------------------------------------------------------------------------


def test_with_on_sent_every_row_arrives_once_and_is_marked(bench):
    bench.fill(1050)
    result = bench.select(on_sent="UPDATE outbox SET sent_at = CURRENT_TIMESTAMP WHERE id = :ID", fetch=400)
    assert result == SelectResult(1050, 0)
    assert bench.ids() == list(range(1050))
    assert bench.marked() == list(range(1050))


def test_what_is_confirmed_of_a_page_is_marked_while_the_rest_is_on_its_way(bench):
    """Each look at the marks, by another connection, finds no more than what had been confirmed before the last one."""
    bench.fill(1300)
    marked: list[tuple[int, int]] = []
    result = bench.select(on_sent=MARK, fetch=1300, progress=lambda sent: marked.append((sent, len(bench.marked()))))
    assert result.sent == 1300
    assert any(0 < count < 1300 for _, count in marked)
    assert all(count <= sent for sent, count in marked)
    assert bench.marked() == list(range(1300))


@pytest.mark.parametrize(
    ("claim", "pages"), [("", [100, 300, 700, 1000]), (" FOR UPDATE SKIP LOCKED", list(range(100, 1001, 100)))]
)
def test_pages_of_small_rows_grow_unless_the_query_claims_them(postgres_bench, claim, pages):
    """The rows of a page are confirmed in several steps; so few of them are marked when all are."""
    postgres_bench.fill(1000)
    marked: list[int] = []
    settings = {"query": OUTBOX + claim, "on_sent": MARK, "fetch": 100, "fetch_small": 400}
    postgres_bench.select(**settings, progress=lambda sent: marked.append(len(postgres_bench.marked())))
    assert list(dict.fromkeys(marked)) == [0, *pages[:-1]]
    assert postgres_bench.ids() == postgres_bench.marked() == list(range(1000))


STUMBLE = """
CREATE FUNCTION stumble(id integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN
 IF id = 2500 AND nextval('stumbles') = 1 THEN RAISE EXCEPTION 'stumbled' USING ERRCODE = '{}'; END IF;
 RETURN id;
END $$"""


@pytest.mark.parametrize(("code", "sent"), [("40001", 3000), ("22012", 2000)])
def test_a_page_whose_reading_is_cut_short_is_marked_as_far_as_it_is_published(postgres_bench, code, sent):
    """The second page has the rows 1000 to 2999, of which the driver gets 1000 at a time; it fails once at 2500."""
    bench = postgres_bench
    bench.fill(3000)
    for text in ("CREATE SEQUENCE stumbles", STUMBLE.format(code)):
        bench.database.execute(text)
    bench.database.execute("CREATE VIEW stumbling AS SELECT stumble(id) AS id, device, sent_at FROM outbox")
    query = "SELECT id, device FROM stumbling WHERE sent_at IS NULL"
    settings = {"query": query, "on_sent": MARK, "fetch": 1000, "fetch_small": 2000}
    if sent == 3000:
        assert bench.select(**settings) == SelectResult(3000, 0)
    else:
        assert "stumbled" in failure(lambda: bench.select(**settings)).text
    assert bench.ids() == bench.marked() == list(range(sent))


def test_a_page_that_has_grown_is_published_piece_by_piece_while_its_rows_are_small(bench, monkeypatch):
    bench.fill(1000)
    with closing(Database(DatabaseSettings(bench.database.connection), reading=True)) as database:
        database.connect()
        source = RowSource(Select(OUTBOX, fetch=100, fetch_small=400), database, {})

        def page() -> list[tuple[int, bool]]:
            return [(len(rows), source.reading) for _, rows in source.page()]

        assert page() == [(100, False)]
        assert page() == [(100, True), (100, False)]
        monkeypatch.setattr(row_source, "PAGE_BYTES", 250 * len("pump-1"))
        assert page() == [(100, True), (100, True), (200, False)]
        assert page() == [(100, True), (100, False)]


@pytest.mark.parametrize(
    ("on_sent", "reason"),
    [
        (MARK, None),
        ("UPDATE outbox SET sent_at = CURRENT_TIMESTAMP, reason = :device WHERE id = :id", "pump-1"),
        ("UPDATE outbox SET sent_at = CURRENT_TIMESTAMP, reason = 'as text' WHERE device = :device", "as text"),
    ],
)
def test_many_rows_are_marked_by_one_statement(bench, monkeypatch, on_sent, reason):
    bench.fill(140)
    marks: list[str] = []
    execute = Database.execute

    def counted(database: Database, sql: str, parameters: Any = (), *, place: str = "") -> int:
        marks.extend([sql] if place == "on_sent" else [])
        return execute(database, sql, parameters, place=place)

    monkeypatch.setattr(Database, "execute", counted)
    bench.select(on_sent=on_sent)
    assert bench.marked() == list(range(140))
    assert bench.database.value("SELECT reason FROM outbox WHERE id = 134") == reason
    assert len(marks) <= 5


def test_on_sent_may_delete_the_rows(bench):
    bench.fill(30)
    assert bench.select(on_sent="DELETE FROM outbox WHERE id = :id", fetch=7).sent == 30
    assert bench.ids() == list(range(30))
    assert bench.database.count("outbox") == 0


def test_a_page_that_comes_again_is_an_error(bench):
    bench.fill(20)
    found = failure(lambda: bench.select(on_sent="UPDATE outbox SET reason = 'sent' WHERE id = :id", fetch=10))
    assert found.code == "same-page"
    assert "does not take rows out" in found.text
    assert bench.ids() == list(range(10))


def test_a_page_that_only_looks_different_is_an_error_when_nothing_was_changed(postgres_bench):
    postgres_bench.fill(5)
    query = "SELECT id, clock_timestamp() AS now, 'x' AS device FROM outbox"
    found = failure(
        lambda: postgres_bench.select(query=query, on_sent="UPDATE outbox SET reason='' WHERE id = -1 - :id")
    )
    assert found.code == "same-page"


def test_a_page_that_on_sent_alters_but_does_not_take_out_ends_the_run(bench, caplog):
    """The run would otherwise publish the same rows for ever."""
    bench.fill(20)
    settings = {
        "query": "SELECT id, device, value FROM outbox WHERE value < 100 ORDER BY id",
        "on_sent": "UPDATE outbox SET value = value + 1 WHERE id = :id",
    }
    assert bench.select(**settings) == SelectResult(20, 0)
    assert sorted(bench.ids()) == list(range(20))
    assert caplog.text.count("the same rows came again, altered") == 1


def test_on_sent_asks_only_for_columns_that_are_there(sqlite_bench):
    sqlite_bench.fill(1)
    found = failure(lambda: sqlite_bench.select(on_sent="DELETE FROM outbox WHERE id = :number"))
    assert (found.kind, found.place) == (Kind.CONFIGURATION, "on_sent")
    assert sqlite_bench.ids() == []


# --- rows that cannot be sent ---------------------------------------------------------------------------------------


def test_a_row_that_cannot_be_sent_is_left_to_on_failed(bench):
    bench.fill(6)
    bench.database.execute("UPDATE outbox SET device = ? WHERE id = 2", "x" * 50)
    bench.database.execute("UPDATE outbox SET device = NULL WHERE id = 4")
    destination = Destination("rows", routing_key="row.{device}", headers={"exchange": "device"})
    bench.vhost.declare_queue("rows", "picky", [f"row.pump-{n}" for n in range(7)])
    config = bench.config(
        Destination("picky", routing_key=destination.routing_key), on_sent=MARK, on_failed=FAIL, fetch=4
    )
    result = bench.select(config)
    assert result == SelectResult(4, 2)
    assert bench.ids() == [0, 1, 3, 5]
    reasons = dict(bench.database.rows("SELECT id, reason FROM outbox WHERE reason IS NOT NULL"))
    assert reasons.keys() == {2, 4}
    assert "unroutable" in reasons[2]
    assert "missing-field" in reasons[4]
    assert bench.marked() == list(range(6))


def test_without_on_failed_reading_stops_and_what_was_confirmed_is_marked(bench):
    bench.fill(6)
    bench.database.execute("UPDATE outbox SET device = ? WHERE id = 2", "nobody")
    bench.vhost.declare_queue("rows", "picky", [f"row.pump-{n}" for n in range(7)])
    config = bench.config(Destination("picky", routing_key="row.{device}"), on_sent=MARK, fetch=4)
    found = failure(lambda: bench.select(config))
    assert (found.kind, found.code) == (Kind.REJECT, "unroutable")
    assert bench.ids() == bench.marked() == [0, 1, 3]


def test_a_streamed_row_that_cannot_be_sent_is_left_to_on_failed(bench):
    bench.fill(1500)
    bench.database.execute("UPDATE outbox SET device = NULL WHERE id IN (3, 700, 1400)")
    result = bench.select(on_failed="UPDATE outbox SET reason = :error WHERE id = :id", fetch=100)
    assert result == SelectResult(1497, 3)
    assert bench.ids() == [n for n in range(1500) if n not in (3, 700, 1400)]
    reasons = bench.database.rows("SELECT id FROM outbox WHERE reason LIKE '%device%' ORDER BY id")
    assert reasons == [(3,), (700,), (1400,)]


def test_a_stream_of_which_nothing_can_be_sent_ends(sqlite_bench, monkeypatch):
    monkeypatch.setattr("dbconnector.row_sender.MAX_FAILED", 100)
    monkeypatch.setattr("dbconnector.publish_window.MAX_MESSAGES", 200)  # or all are in flight before one is confirmed
    sqlite_bench.fill(1500)
    config = sqlite_bench.config(Destination("rows", routing_key="nobody.{device}"), on_failed=FAIL)
    found = failure(lambda: sqlite_bench.select(config))
    assert (found.kind, found.code) == (Kind.REJECT, "too-many-failed")
    assert 100 <= len(sqlite_bench.marked()) < 1500


def test_a_streamed_row_that_cannot_be_sent_ends_the_run_without_on_failed(sqlite_bench):
    sqlite_bench.fill(10)
    sqlite_bench.database.execute("UPDATE outbox SET device = NULL WHERE id = 5")
    found = failure(sqlite_bench.select)
    assert found.code == "missing-field"
    assert sqlite_bench.ids() == [0, 1, 2, 3, 4]


def test_one_bad_property_costs_its_neighbours_nothing(postgres_bench):
    """The broker closes the channel over a header that does not fit, and says not which."""
    postgres_bench.fill(300)
    postgres_bench.database.execute("ALTER TABLE outbox ADD COLUMN note text")
    postgres_bench.database.execute("UPDATE outbox SET note = ? WHERE id = 150", "x" * 200_000)
    destination = Destination("rows", routing_key="row.{device}", headers={"note": "note"})
    query = "SELECT id, device, note FROM outbox WHERE sent_at IS NULL ORDER BY id"
    config = postgres_bench.config(destination, query=query, on_sent=MARK, on_failed=FAIL)
    assert postgres_bench.select(config) == SelectResult(299, 1)
    assert Counter(postgres_bench.ids()) == Counter(n for n in range(300) if n != 150)
    assert postgres_bench.database.rows("SELECT id FROM outbox WHERE reason IS NOT NULL") == [(150,)]


# --- many rows in a message -----------------------------------------------------------------------------------------


def many(bench, rows, limits=None, **settings):
    destination = Destination("rows", routing_key="row.x", rows=rows, headers={"part": "$part"})
    return replace(bench.config(destination, **settings), limits=limits or Limits())


def lists(bench):
    """Return the ids in each message, and its number."""
    taken = bench.taken()
    return [([row["id"] for row in json.loads(body)], properties.headers["part"]) for _, properties, body in taken]


def parted(ids, size):
    return [(list(ids[at : at + size]), number) for number, at in enumerate(range(0, len(ids), size), 1)]


@pytest.mark.parametrize("on_sent", [None, MARK])
@pytest.mark.parametrize("rows", [30, "all"])
def test_rows_share_messages_and_each_is_marked(bench, rows, on_sent):
    bench.fill(100)
    result = bench.select(many(bench, rows, on_sent=on_sent, fetch=30, key=("id",)))
    expected = parted(range(100), 30 if rows == 30 else 100)
    assert result == SelectResult(100, 0, messages=len(expected))
    assert lists(bench) == expected
    assert bench.marked() == (list(range(100)) if on_sent else [])


def test_all_rows_that_are_too_many_for_a_body_go_out_as_several(postgres_bench):
    postgres_bench.fill(100)
    result = postgres_bench.select(many(postgres_bench, "all", Limits(body_bytes=2000), on_sent=MARK))
    found = lists(postgres_bench)
    assert result == SelectResult(100, 0, messages=len(found))
    assert 2 < len(found) < 5
    assert [number for _, number in found] == list(range(1, len(found) + 1))
    assert [each for ids, _ in found for each in ids] == postgres_bench.marked() == list(range(100))


@pytest.mark.parametrize("on_sent", [None, MARK])
@pytest.mark.parametrize("rows", [10, "all"])
def test_a_row_that_cannot_be_written_does_not_cost_its_neighbours_their_message(postgres_bench, rows, on_sent):
    bench = postgres_bench
    bench.fill(30)
    bench.database.execute("UPDATE outbox SET value = 'NaN' WHERE id = 4")  # what JSON has no number for
    failed = "UPDATE outbox SET reason = :error WHERE id = :id"
    settings = {"on_sent": on_sent, "query": OUTBOX.replace("ORDER", "AND reason IS NULL ORDER")}
    result = bench.select(many(bench, rows, **settings, on_failed=failed))
    rest = [n for n in range(30) if n != 4]
    assert (result.sent, result.failed) == (29, 1)
    assert lists(bench) == parted(rest, 10 if rows == 10 else 30)
    assert bench.marked() == (rest if on_sent else [])
    [(id, reason)] = bench.database.rows("SELECT id, reason FROM outbox WHERE reason IS NOT NULL")
    assert (id, "destination.body" in reason) == (4, True)


def test_the_rows_of_a_message_that_reaches_no_queue_are_all_left_to_on_failed_and_the_others_marked(postgres_bench):
    bench = postgres_bench
    bench.fill(20)
    bench.database.execute("UPDATE outbox SET device = 'nobody' WHERE id BETWEEN 5 AND 9")
    bench.vhost.declare_queue("rows", "picky", [f"pump-{n}" for n in range(7)])
    destination = Destination("picky", routing_key="{device}", rows=5)
    query = "SELECT id, device FROM outbox WHERE sent_at IS NULL ORDER BY device, id"
    found = failure(lambda: bench.select(bench.config(destination, query=query, on_sent=MARK)))
    assert found.code == "unroutable"
    assert not set(bench.marked()) & set(range(5, 10))
    result = bench.select(bench.config(destination, query=query, on_sent=MARK, on_failed=FAIL))
    assert result.failed == 5
    reasons = bench.database.rows("SELECT id FROM outbox WHERE reason LIKE '%unroutable%' ORDER BY id")
    assert reasons == [(n,) for n in range(5, 10)]
    assert sorted(row["id"] for _, _, body in bench.taken() for row in json.loads(body)) == [
        n for n in range(20) if not 5 <= n < 10
    ]


def test_a_run_that_is_stopped_sends_no_message_of_only_some_of_all_rows(bench):
    bench.fill(1000)
    stop = threading.Event()
    stop.set()
    result = bench.select(many(bench, "all", on_sent=MARK, fetch=100), stop=stop)
    assert (result.sent, result.stopped) == (0, True)
    assert lists(bench) == []
    assert bench.marked() == []


# --- claims ---------------------------------------------------------------------------------------------------------


def test_two_selects_share_the_rows_with_skip_locked(server_bench):
    server_bench.fill(2000)
    config = server_bench.config(query=f"{OUTBOX} FOR UPDATE SKIP LOCKED", on_sent=MARK, fetch=100)
    results: list[SelectResult] = []
    meeting = threading.Barrier(2, timeout=60)

    def run() -> None:
        met: list[int] = []

        def together(sent: int) -> None:
            if not met:  # both have claimed a page before either goes on
                met.append(sent)
                meeting.wait()

        results.append(server_bench.select(config, progress=together))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sum(result.sent for result in results) == 2000
    assert all(result.sent >= 100 for result in results)
    assert sorted(server_bench.ids()) == server_bench.marked() == list(range(2000))


def test_a_claim_takes_no_more_rows_than_a_page(server_bench):
    """And a row of it is not free before all are marked."""
    server_bench.fill(1340)
    config = server_bench.config(query=f"{OUTBOX} FOR UPDATE SKIP LOCKED", on_sent=MARK, fetch=1300)
    seen: list[int] = []

    def look(sent: int) -> None:
        if sent <= 1300:
            free = server_bench.database.rows(f"{OUTBOX} FOR UPDATE SKIP LOCKED")
            seen.append(len(free))

    server_bench.select(config, progress=look)
    assert len(seen) > 1
    assert set(seen) == {40}


# --- paging by key --------------------------------------------------------------------------------------------------


def test_a_driver_that_cannot_stream_pages_by_key(maria_bench):
    maria_bench.fill(1003)
    query = "SELECT device, id FROM outbox WHERE id >= :low"
    result = maria_bench.select(query=query, key=("id",), fetch=100, params={"low": 3})
    assert result.sent == 1000
    assert maria_bench.ids() == list(range(3, 1003))


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 20, 21])
def test_pages_by_two_keys_lose_and_repeat_nothing_where_the_first_is_tied(maria_bench, rows):
    maria_bench.fill(rows)
    result = maria_bench.select(query="SELECT id, device FROM outbox", key=("device", "ID"), fetch=10)
    assert result.sent == rows
    ids = maria_bench.ids()
    assert ids == sorted(range(rows), key=lambda n: (n % 7, n))


def test_a_key_that_is_not_unique_is_an_error_and_not_a_loss(maria_bench):
    maria_bench.fill(30)
    found = failure(lambda: maria_bench.select(query="SELECT id, device FROM outbox", key=("device",), fetch=4))
    assert (found.kind, found.code) == (Kind.CONFIGURATION, "key")
    assert "not unique" in found.text


def test_a_key_that_is_null_is_an_error_and_not_a_loss(maria_bench):
    maria_bench.fill(3)
    maria_bench.database.execute("UPDATE outbox SET device = NULL WHERE id = 1")
    found = failure(lambda: maria_bench.select(query="SELECT id, device FROM outbox", key=("device",)))
    assert "null" in found.text


@pytest.mark.parametrize(
    ("type", "values"),
    [
        ("timestamp(6) NULL", [f"2026-01-02 03:04:05.{n:06}" for n in range(0, 1000, 37)]),
        ("decimal(30,10)", [f"12345678901234567890.{n:010}" for n in range(1, 30)]),
        ("varchar(20) COLLATE utf8mb4_bin", [f"é😀{n:03}\\\\'" for n in range(30)]),
        ("bigint", [str(2**62 + n) for n in range(30)]),
        ("varbinary(8)", [f"\\\\{n:03}" for n in range(30)]),
    ],
)
def test_keys_of_every_type_are_carried_exactly(maria_bench, type, values):
    maria_bench.database.execute(
        f"CREATE TABLE keyed (k {type} PRIMARY KEY, device varchar(5) DEFAULT 'a')".replace("NULL P", "NOT NULL P")
    )
    for value in values:
        maria_bench.database.execute("INSERT INTO keyed (k) VALUES (?)", value)
    assert maria_bench.select(query="SELECT k, device FROM keyed", key=("k",), fetch=5).sent == len(values)


# --- bad days -------------------------------------------------------------------------------------------------------


def test_a_connection_that_the_server_has_ended_meanwhile_costs_no_run(postgres_bench, monkeypatch):
    monkeypatch.setattr("dbconnector.odbc.call_guard.IDLE", 0.0)
    postgres_bench.fill(3)
    config = postgres_bench.config(on_sent=MARK)
    with postgres_bench.opened(config) as (database, broker):
        for sent in (3, 0):
            assert select(config, database, broker, threading.Event(), {}).sent == sent
            postgres_bench.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )


def test_a_stop_in_the_middle_marks_nothing_that_was_not_confirmed(bench):
    bench.fill(3000)
    stop = threading.Event()
    result = bench.select(on_sent=MARK, fetch=1000, stop=stop, progress=lambda sent: stop.set())
    assert result.stopped
    assert 0 < result.sent < 3000
    marked = bench.marked()
    assert set(marked) <= set(bench.ids())
    assert len(marked) == result.sent


@pytest.mark.parametrize(("rows", "room"), [(5, 3), (1500, 1200)])
def test_a_stop_marks_only_what_a_full_queue_has_taken(postgres_bench, rows, room):
    postgres_bench.fill(rows)
    postgres_bench.vhost.declare_queue(
        "small", "small", "#", type="classic", arguments={"x-max-length": room, "x-overflow": "reject-publish"}
    )
    config = postgres_bench.config(Destination("small", routing_key="row.{device}"), on_sent=MARK, fetch=rows)
    stop = threading.Event()
    results: list[SelectResult] = []
    thread = threading.Thread(target=lambda: results.append(postgres_bench.select(config, stop=stop)))
    thread.start()
    eventually(lambda: postgres_bench.vhost.depth("small") >= room, 30)
    stop.set()
    thread.join(30)
    [result] = results
    assert result.stopped
    found = [json.loads(body)["id"] for _, _, body in postgres_bench.vhost.get_all("small")]
    assert postgres_bench.marked() == found
    assert result.sent == len(found) < rows


def test_a_stop_ends_a_stream(bench):
    bench.fill(30_000)
    stop = threading.Event()
    result = bench.select(fetch=100, stop=stop, progress=lambda sent: stop.set())
    assert result.stopped
    assert 0 < result.sent < 30_000


def test_a_lost_connection_to_the_broker_loses_no_row(postgres_bench):
    postgres_bench.fill(5000)
    cut: list[int] = []

    def cut_once(sent: int) -> None:
        if sent > 500 and not cut:
            cut.append(eventually(postgres_bench.vhost.close_connections))

    result = postgres_bench.select(
        postgres_bench.config(
            Destination("rows", routing_key="row.{device}", message_id="id"), on_sent=MARK, fetch=2500
        ),
        progress=cut_once,
    )
    assert result.sent == 5000
    assert cut
    assert {int(properties.message_id) for _, properties, _ in postgres_bench.taken()} == set(range(5000))
    assert postgres_bench.marked() == list(range(5000))


def test_a_broker_that_is_restarted_is_waited_for(postgres_bench, monkeypatch):
    monkeypatch.setattr(reconnect, "_OUTAGE", Backoff(0.5, 1.0, jitter=1.0, least=0.05))
    postgres_bench.fill(300)
    restarted: list[bool] = []

    def restart(sent: int) -> None:
        if not restarted:
            restarted.append(True)
            postgres_bench.vhost.node.restart()

    assert postgres_bench.select(on_sent=MARK, fetch=100, progress=restart).sent == 300
    assert set(postgres_bench.ids()) == set(range(300))


def test_a_lost_database_ends_the_run_and_leaves_its_page_unmarked(postgres_bench):
    postgres_bench.fill(300)
    killed: list[Any] = []

    def kill(sent: int) -> None:
        if sent > 100 and not killed:
            killed.extend(
                postgres_bench.database.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    found = failure(lambda: postgres_bench.select(on_sent=MARK, fetch=100, progress=kill))
    assert killed
    assert found.kind is Kind.UNAVAILABLE
    assert postgres_bench.marked() == list(range(100))
    assert set(postgres_bench.marked()) <= set(postgres_bench.ids())


@pytest.mark.parametrize("rows", [10, 1300])
def test_marking_that_meets_a_lock_is_tried_again(server_bench, rows):
    """Another transaction holds a row until the marking has failed once."""
    bench = server_bench
    bench.fill(rows)
    other = bench.database.connect()
    on_connect = {
        "postgresql": "SET lock_timeout = '200ms'",
        "mariadb": "SET SESSION innodb_lock_wait_timeout = 1",
    }[bench.database.kind]
    config = bench.config(on_sent=MARK, fetch=rows)
    settings = DatabaseSettings(bench.database.connection, on_connect=(on_connect,), select=config.database.select)
    config = DbConfig("db.config", "test", settings, config.broker, destination=config.destination)
    held: list[threading.Timer] = []

    def hold(sent: int) -> None:
        if held:
            return
        cursor = other.cursor()
        cursor.execute("BEGIN")
        cursor.execute("UPDATE outbox SET reason = 'held' WHERE id = 5")
        held.append(threading.Timer(1.3, lambda: cursor.execute("COMMIT")))
        held[0].start()

    assert bench.select(config, progress=hold).sent == rows
    held[0].join()
    other.close()
    assert bench.ids() == list(range(rows))
    assert bench.marked() == list(range(rows))


def test_a_full_queue_is_waited_for(postgres_bench):
    postgres_bench.fill(5)
    postgres_bench.vhost.declare_queue(
        "small", "small", "#", type="classic", arguments={"x-max-length": 3, "x-overflow": "reject-publish"}
    )
    config = postgres_bench.config(Destination("small", routing_key="row.{device}"), on_sent=MARK)
    results: list[SelectResult] = []
    thread = threading.Thread(target=lambda: results.append(postgres_bench.select(config)))
    thread.start()
    found: list[Any] = []

    def drained() -> bool:
        found.extend(postgres_bench.vhost.get_all("small"))
        return not thread.is_alive()

    eventually(drained, 30, every=0.3)
    found.extend(postgres_bench.vhost.get_all("small"))
    assert results == [SelectResult(5, 0)]
    assert {json.loads(body)["id"] for _, _, body in found} == set(range(5))

"""`deadletter-queue replay`: just the chosen ones go back to where they died, and none is lost on the way."""

import json
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Connector
from tests.e2e.workbench import Workbench
from tests.services.deadletters import QUEUE, bury, check_copies, headers, kill_points, numbers, of_four_causes
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


@pytest.fixture
def bench(tmp_path: Path, vhost: Vhost) -> Workbench:
    vhost.declare_queue("readings")
    return Workbench(tmp_path, vhost)


def test_of_a_thousand_only_the_chosen_ones_come_back_and_are_processed(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    bench = Workbench(on_sqlite.folder, vhost)
    on_sqlite.configure()
    bury(vhost, of_four_causes(1000))
    with on_sqlite.subscribed():
        assert [group["count"] for group in bench.json("group")] == [250] * 4
        rehearsed = bench.json("replay", "--where", "code=22001", "--dry-run")
        assert (vhost.depth(QUEUE), on_sqlite.database.count("reading")) == (1000, 0)
        real = bench.json("replay", "--where", "code=22001")
        assert rehearsed == {**real, "dry_run": True}
        assert (real["sent"], real["left"], real["others"]) == (250, [], 750)
        assert real["to"] == [{"exchange": "", "routing_key": "readings", "count": 250}]
        eventually(lambda: on_sqlite.database.count("reading") == 250, 30)
    processed = [int(id) for (id,) in on_sqlite.database.rows("SELECT id FROM reading ORDER BY id")]
    assert processed == [*range(0, 1000, 4)]
    assert numbers(vhost.get_all(QUEUE)) == [number for number in range(1000) if number % 4]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_killed_at_ten_random_instants_it_loses_nothing_and_doubles_at_most_ten(
    on_sqlite: Connector, kind: str
) -> None:
    vhost, database = on_sqlite.vhost, on_sqlite.database
    bench, count, kills = Workbench(on_sqlite.folder, vhost), 2000, 10
    database.script("DROP TABLE reading", "CREATE TABLE reading (id integer, device text, value numeric)")
    on_sqlite.configure()
    vhost.declare_queue(QUEUE, type=kind)
    vhost.declare_exchange(QUEUE)
    vhost.publish("", QUEUE, of_four_causes(count))
    with on_sqlite.subscribed():
        for moved in kill_points(count, kills, seed=4):
            with bench.started("replay") as process:
                eventually(partial(lambda least: database.count("reading") >= least, moved), 60)
                assert process.poll() is None  # it is killed in the middle of its work
                process.kill()
                process.communicate()
    places = [numbers(vhost.get_all(QUEUE)), numbers(vhost.get_all("readings"))]
    places.append([int(id) for (id,) in database.rows("SELECT id FROM reading")])
    check_copies(places, count, doubled=kills)
    assert places[0]  # the last kill came before the end


def test_a_connector_sees_a_replayed_message_as_in_its_first_life(on_sqlite: Connector) -> None:
    vhost, database = on_sqlite.vhost, on_sqlite.database
    database.script("DROP TABLE reading", "CREATE TABLE reading (id integer, device text, value text)")
    insert = {
        "statement": "INSERT INTO reading (id, device, value) VALUES (:id, :device, :value)",
        "values": {"device": "$exchange", "value": "$routing_key[1]"},
    }
    on_sqlite.configure(write=[insert])
    with on_sqlite.subscribed():
        vhost.publish("devices", "reading.p-7", [b"no json"])
        eventually(lambda: vhost.depth(QUEUE) == 1)
        Workbench(on_sqlite.folder, vhost)("replay")
        eventually(lambda: vhost.depth(QUEUE) == 1, 15)  # it died once more
        (letter,) = vhost.get_all(QUEUE)
        assert (headers(letter)["dead-exchange"], headers(letter)["dead-replays"]) == ("devices", 1)
        bury(vhost, of_four_causes(1))
        Workbench(on_sqlite.folder, vhost)("replay")
        eventually(lambda: database.count("reading") == 1)
    assert database.rows("SELECT device, value FROM reading") == [("devices", "p-1")]


def test_what_was_sent_back_too_often_stays(bench: Workbench) -> None:
    vhost = bench.vhost
    bury(vhost, of_four_causes(4, headers={"dead-replays": 3}))
    said = bench("replay", "--where", "code=22001", code=1)
    assert "sent back 3 times already" in said
    assert (vhost.depth(QUEUE), vhost.depth("readings")) == (4, 0)
    bench("replay", "--where", "code=22001", "--max-replays", "4")
    assert (vhost.depth(QUEUE), vhost.depth("readings")) == (3, 1)


def test_it_says_in_words_what_went_where_and_what_stayed(bench: Workbench) -> None:
    bury(bench.vhost, [*of_four_causes(8), *of_four_causes(1, queue="gone")])
    said = bench("replay", "--where", "code=22001", code=1)
    assert "sent to queue 'readings'" in said
    assert "left: queue 'gone' does not exist" in said
    assert "2 sent back, 1 left, 6 others as before in dead-letter" in said


def test_with_nothing_to_send_back_it_says_so(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(3))
    assert bench.json("replay", "--where", "code=99999", code=3)["others"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_between_it_leaves_the_rest_as_it_was(bench: Workbench, number: signal.Signals) -> None:
    vhost = bench.vhost
    bury(vhost, of_four_causes(300))
    with bench.started("replay", "--rate", "50/s", "--json") as process:
        eventually(lambda: vhost.depth("readings") >= 5)
        process.send_signal(number)
        printed, _ = process.communicate(timeout=30)
    report = json.loads(printed)
    assert (process.returncode, report["stopped"], report["in_doubt"]) == (1, True, [])
    arrived = numbers(vhost.get_all("readings"))
    assert arrived == [*range(report["sent"])]
    assert numbers(vhost.get_all(QUEUE)) == [*range(len(arrived), 300)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--to-queue", "a", "--to-exchange", "b"], "exclude each other"),
        (["--rate", "fast"], "expected messages a second"),
        (["--rate", "1/h"], "the slowest is"),
        (["--where", "nonsense"], "FIELD=PATTERN"),
        (["--in-flight", "0"], "in-flight"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(bench: Workbench, arguments: list[str], why: str) -> None:
    bench("replay", *arguments, code=2)
    assert why in bench.said

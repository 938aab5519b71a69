"""`deadletter-queue replay`: just the chosen ones go back to where they died, and none is lost on the way."""

import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.test_deadletter_queue import Workbench
from tests.services.deadletters import QUEUE, bury, headers, ids, of_four_causes
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


@pytest.fixture
def bench(tmp_path: Path, vhost: Vhost) -> Workbench:
    vhost.declare_queue("readings")
    return Workbench(tmp_path, vhost)


def test_only_the_chosen_ones_come_back_to_the_queue_they_died_in_and_the_rest_stays_in_order(bench):
    vhost = bench.vhost
    bury(vhost, of_four_causes(400))
    bench("replay", "--where", "code=22001", "--dry-run")
    assert (vhost.depth(QUEUE), vhost.depth("readings")) == (400, 0)
    bench("replay", "--where", "code=22001")
    back = vhost.get_all("readings")
    assert ids(back) == [f"m-{number}" for number in range(0, 400, 4)]
    assert {headers(taken).get("dead-replays") for taken in back} == {1}
    assert {headers(taken).get("dead-routing-key") for taken in back} == {"reading.p-1"}
    assert ids(vhost.get_all(QUEUE)) == [f"m-{number}" for number in range(400) if number % 4]


def test_what_was_sent_back_too_often_stays(bench):
    vhost = bench.vhost
    bury(vhost, of_four_causes(4, headers={"dead-replays": 3}))
    assert not bench.answers("replay", "--where", "code=22001")
    assert (vhost.depth(QUEUE), vhost.depth("readings")) == (4, 0)
    bench("replay", "--where", "code=22001", "--max-replays", "4")
    assert (vhost.depth(QUEUE), vhost.depth("readings")) == (3, 1)


@pytest.mark.slow
def test_killed_at_any_instant_it_loses_nothing_and_doubles_at_most_one_each_time(bench):
    vhost, kills = bench.vhost, 4
    bury(vhost, of_four_causes(2000))
    instants = random.Random(4)
    for kill in range(kills):
        moved = kill * 400 + instants.randrange(1, 400)
        with bench.started("replay") as process:
            eventually(partial(lambda at_least: vhost.depth("readings") >= at_least, moved), 30)
            assert process.poll() is None  # it is killed in the middle of its work
            process.kill()
            process.communicate()
    found = Counter(ids(vhost.get_all(QUEUE)) + ids(vhost.get_all("readings")))
    assert set(found) == {f"m-{number}" for number in range(2000)}
    assert sum(found.values()) - 2000 <= kills

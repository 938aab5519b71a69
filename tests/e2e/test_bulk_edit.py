"""One change of hundreds of dead letters that is killed in the middle: none is lost, and one is doubled at most."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.e2e.served_page import started
from tests.e2e.workbench import Workbench
from tests.services.deadletters import QUEUE, bury, check_copies, headers, kill_points, numbers, of_four_causes
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

SETS, UNSET = ("device=p-77", "$headers.edited=yes"), "value"


@contextmanager
def on_the_page(bench: Workbench) -> Iterator["Popen[Any]"]:
    with started(bench) as (process, page):
        page.scan()
        fields = page.hidden("/letters", "/edit")
        fields |= {"sets": "\n".join(SETS), "unsets": UNSET, "confirmed": "yes"}
        with page.sent("/edit", fields):
            yield process


@contextmanager
def by_the_command(bench: Workbench) -> Iterator["Popen[Any]"]:
    sets = [word for each in SETS for word in ("--set", each)]
    with bench.started("edit", *sets, "--unset", UNSET) as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("edited", [on_the_page, by_the_command])
def test_killed_at_random_instants_it_loses_nothing_and_doubles_one_at_most(
    tmp_path: Path, vhost: Vhost, edited: Callable[[Workbench], AbstractContextManager["Popen[Any]"]]
) -> None:
    bench, count, kills = Workbench(tmp_path, vhost), 900, 5
    vhost.declare_queue("readings")
    letters = of_four_causes(count)
    bury(vhost, letters)

    def moved(least: int) -> bool:
        return vhost.depth("readings") >= least

    for least in kill_points(count, kills, seed=7):
        with edited(bench) as process:
            eventually(partial(moved, least), 60)
            process.kill()
            process.communicate()
        eventually(lambda: vhost.depth(QUEUE) + vhost.depth("readings") >= count)  # what was held is back
    dead, sent = vhost.get_all(QUEUE), vhost.get_all("readings")
    assert dead  # the last kill came before the end
    check_copies([numbers(dead), numbers(sent)], count, doubled=kills)
    bodies = dict(enumerate(body for body, _ in letters))
    assert [body for _, _, body in dead] == [bodies[number] for number in numbers(dead)]
    assert [json.loads(body) for _, _, body in sent] == [{"id": number, "device": "p-77"} for number in numbers(sent)]
    assert {headers(each)["edited"] for each in sent} == {"yes"}
    kept = [json.loads(line)["body"] for file in tmp_path.glob("originals-*") for line in file.read_text().splitlines()]
    assert {bodies[number].decode() for number in numbers(sent)} <= set(kept)

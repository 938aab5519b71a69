"""Lanes of a division: several calls under way at the same time, the Cases of one device in the order of its messages.

By the installed command, between a real broker and the sandbox.
"""

import json
import re
from collections import defaultdict
from datetime import datetime
from typing import Any

import pytest

from connectorlib.errors import Kind
from connectorlib.pipeline.blame import probe_delay
from tests.e2e.cases import SMALL, Divisions, alarm, pause_of
from tests.services.waiting import eventually

DEVICES, EACH = 17, 12
ORDERED = {"count": 4, "key": "device"}


def bodies() -> list[bytes]:
    return [json.dumps({"device": f"d{n % DEVICES}", "alarm": n}).encode() for n in range(DEVICES * EACH)]


def subjects(divisions: Divisions) -> dict[str, list[int]]:
    """Return the numbers of each device's Cases, in the order in which they were made."""
    found: dict[str, list[int]] = defaultdict(list)
    for case in divisions.org.cases():
        device, number = re.fullmatch(r"Pump (d\d+): (\d+)", case["Subject"]).groups()  # type: ignore[union-attr]
        found[device].append(int(number))
    return found


def test_each_device_keeps_its_order_in_four_lanes_while_one_of_them_is_locked(divisions: Divisions) -> None:
    queue = divisions.division(
        lanes=ORDERED, batch={"size": 20, "wait_ms": 20}, retry={"attempts": 100, "first_ms": 20, "max_s": 1}
    )
    divisions.load(queue, bodies())
    locked = {"statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access to this record"}
    divisions.org.fault(match={"record": {"Subject": "^Pump d3:"}}, times=None, record=locked)
    with divisions.started():
        eventually(lambda: len(divisions.org.cases()) == (DEVICES - 1) * EACH, 30)
        assert "d3" not in subjects(divisions)
        divisions.org.no_faults()
        divisions.cases(DEVICES * EACH)
    found = subjects(divisions)
    assert found == {f"d{n}": list(range(n, DEVICES * EACH, DEVICES)) for n in range(DEVICES)}
    for call in divisions.creates():
        assert call["records"] <= DEVICES  # one of each device
    assert divisions.vhost.depth("dead-letter") == 0


def test_divisions_of_one_queue_have_lanes_of_their_own_that_pause_together_and_ask_once(divisions: Divisions) -> None:
    """The org of a paused division is asked once in each interval, not by each of its lanes."""
    taking: dict[str, Any] = {
        "source": {"queue": "cases.all", "prefetch": 400},
        "batch": {"size": 10, "wait_ms": 20},
    }
    divisions.division("away", match={"device": "a*"}, lanes=ORDERED | {"count": 8}, **taking)
    divisions.division("fine", match={}, lanes={"count": 3}, source={"queue": "cases.all"})
    with divisions.started() as running:
        log_ins = divisions.org.requests("oauth2/token")
        described = divisions.org.requests("sobjects/Case/describe")
        limits = divisions.org.requests("/limits")
        assert (len(log_ins), len(described)) == (2, 2), "one lane of a division is enough"
        assert len(limits) < 8 + 3 - 2, "who comes while the org is being asked shares the answer"
        divisions.org.fault(match={"user": "away@example.com"}, times=None, status=503, html="<html>maintenance</html>")
        divisions.publish("cases.all", [alarm(device=f"{letter}{n}") for n in range(60) for letter in "ab"])
        divisions.cases(60)
        assert pause_of(running, "away")["cause"] == "http-503"
        divisions.org.forget_requests()
        eventually(lambda: len(divisions.org.requests("/limits")) >= 2, 30)
        first, second = (datetime.fromisoformat(each["at"]) for each in divisions.org.requests("/limits"))
        assert (second - first).total_seconds() >= probe_delay(1, Kind.UNAVAILABLE, 0.0)
        divisions.org.no_faults()
        divisions.cases(120)
        assert running.log.count(" PAUSED division=away ") == 1
        assert running.log.count(" RESUMED division=away ") == 1
    assert divisions.vhost.depth("dead-letter") == 0


def test_sigterm_ends_the_calls_of_all_lanes_and_gives_back_the_rest(divisions: Divisions) -> None:
    queue = divisions.division(lanes={"count": 8}, batch={"size": 10, "wait_ms": 20}, limits=SMALL)
    divisions.load(queue, [alarm(n) for n in range(200)])
    divisions.org.fault(match={"path": "composite"}, times=None, delay_ms=1000)
    with divisions.started() as running:
        eventually(lambda: len(divisions.creates()) == 8)
        running.stop()
    made = len(divisions.org.cases())
    assert made == sum(call["records"] for call in divisions.creates()) == 80
    eventually(lambda: divisions.vhost.depth(queue) == 200 - made)
    divisions.org.no_faults()
    with divisions.started():
        divisions.cases(200)
    assert divisions.org.most_at_a_time("field-service@example.com") == 8
    assert "PAUSED" not in running.log


@pytest.mark.alone
def test_four_lanes_are_more_than_two_and_a_half_times_as_fast_as_one(divisions: Divisions) -> None:
    seconds: dict[int, float] = {}
    for count in (1, 4):
        name = f"lanes-{count}"
        batch = {"size": 20, "wait_ms": 20}
        queue = divisions.division(name, lanes={"count": count}, batch=batch, limits=SMALL)
        divisions.load(queue, [alarm(n) for n in range(320)], start=1000 * count)
    divisions.org.latency(300)
    with divisions.started(times=2):
        divisions.cases(640, 60)
    for count in (1, 4):
        calls = divisions.creates(f"lanes-{count}")
        assert [call["records"] for call in calls] == [20] * 16
        begun = [datetime.fromisoformat(call["at"]).timestamp() for call in calls]
        ended = [at + call["ms"] / 1000 for at, call in zip(begun, calls, strict=True)]
        seconds[count] = max(ended) - min(begun)
    assert seconds[1] > 2.5 * seconds[4], seconds

"""Speed as ratios within one run: against the calls' own latency, and against a start with nothing to do."""

import json
import time
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.cases import MAPPING, SMALL, Divisions, alarm
from tests.e2e.conftest import CONSUMING
from tests.services.waiting import eventually

LATENCY_S = 0.3
CONTACT = {"lookup": "Contact", "where": {"Email": "email"}, "missing": "reject"}


def ended(call: dict[str, Any]) -> float:
    """Return when a call was answered, in seconds since 1970."""
    return float(datetime.fromisoformat(call["at"]).timestamp() + call["ms"] / 1000)


@pytest.mark.alone
def test_1000_messages_with_20_contacts_are_1000_cases_by_8_requests_in_little_more_than_their_latency(
    divisions: Divisions,
) -> None:
    org = divisions.org
    org.contacts(20)
    org.latency(LATENCY_S * 1000)
    queue = divisions.division(mapping=MAPPING | {"ContactId": CONTACT}, limits=SMALL)
    divisions.load(queue, [])
    ratios: list[float] = []
    while len(ratios) < 3 and min(ratios, default=9) > 1.5:  # other work on the machine may hit one of them
        org.forget_requests()
        started = time.time()
        with divisions.started(ready=CONSUMING):
            idle = time.time() - started
        made = len(org.cases())
        bodies = [json.dumps({"device": n, "email": f"c{n % 20}@example.com"}).encode() for n in range(1000)]
        divisions.publish(queue, bodies, start=made)
        org.forget_requests()
        started = time.time()
        with divisions.started():
            eventually(lambda: sum(call["records"] for call in divisions.creates()) == 1000, 30)
            divisions.cases(made + 1000)
        calls = divisions.creates()
        assert [call["records"] for call in calls] == [200] * 5
        assert len(org.requests()) <= 8  # log-in, describe, lookup, and these
        own = 6 * LATENCY_S  # what an idle start does not have
        ratios.append((ended(calls[-1]) - started - idle) / own)
        print(f"idle {idle:.2f} s, loaded {ended(calls[-1]) - started:.2f} s, beyond it / latency {ratios[-1]:.2f}")
    assert {case["ContactId"] is None for case in org.cases()} == {False}
    assert min(ratios) <= 1.5, ratios


@pytest.mark.alone
def test_a_lone_message_is_a_case_after_wait_ms_and_one_call(divisions: Divisions) -> None:
    wait_s = 0.2
    queue = divisions.division(batch={"size": 200, "wait_ms": round(wait_s * 1000)})
    ratios: list[float] = []
    with divisions.started():
        divisions.org.latency(LATENCY_S * 1000)
        while len(ratios) < 9 and min(ratios, default=9) > 1.1:
            started = time.time()
            divisions.publish(queue, [alarm()], start=len(ratios))
            divisions.cases(len(ratios) + 1)
            ratios.append((ended(divisions.creates()[-1]) - started) / (wait_s + LATENCY_S))
    print(ratios)
    assert 1 <= min(ratios) <= 1.1  # 50 ms more

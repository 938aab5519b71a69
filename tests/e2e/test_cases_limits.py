"""The org's API calls as a budget, time limits, connections, and the end of the process.

By the installed command, between a real broker and the sandbox.
"""

import signal

from tests.e2e.cases import DIVISION, alarm, pause_of
from tests.services.proxy import proxy
from tests.services.waiting import eventually


def test_below_the_reserve_low_priority_waits_and_at_zero_all_do_until_there_are_calls_again(divisions):
    org = divisions.org
    low, normal = divisions.division("low", priority="low"), divisions.division("normal")
    divisions.configure(tenant={"api_budget": {"reserve_percent": 50}})
    org.limit(maximum=1000, used=0)
    with divisions.started(times=2) as running:
        org.limit(used=500)
        divisions.publish(normal, [alarm()])
        divisions.cases(1)  # its answer says that the reserve is reached
        divisions.publish(low, [alarm(n) for n in range(10)], start=100)
        reserve = pause_of(running, "low")
        divisions.publish(normal, [alarm(n) for n in range(10)], start=1)
        assert {case["CreatedById"] for case in divisions.cases(11)} == {org.user("normal@example.com")}

        org.limit(used=100)
        divisions.publish(normal, [alarm()], start=11)  # its answer says that there are calls again
        divisions.cases(22)
        running.wait_for("RESUMED division=low")

        org.limit(used=1000)
        divisions.publish(normal, [alarm(n) for n in range(5)], start=12)
        zero = pause_of(running, "normal")
        divisions.publish(low, [alarm(n) for n in range(5)], start=110)
        assert pause_of(running, "low", times=2)["cause"] == "api-limit"
        org.limit(used=0)
        running.signal(signal.SIGUSR1)
        divisions.cases(32)
    assert reserve["cause"] == "api-reserve"
    assert zero["cause"] == "REQUEST_LIMIT_EXCEEDED"
    assert "TotalRequests Limit exceeded" in zero["text"]
    refused = [each["user"] for each in org.requests() if each["status"] == 403]
    assert refused == ["normal@example.com"], "what one division has heard keeps the others from asking"
    assert divisions.dead() == []


def test_a_call_has_a_time_limit_and_what_became_of_it_is_found_out_by_the_external_id(divisions):
    org = divisions.org
    queue = divisions.division(salesforce={"timeout": 0.5})
    with divisions.started() as running:
        org.fault(match={"path": "composite"}, delay_after_ms=3000)  # it is done, and too late to be told
        divisions.publish(queue, [alarm(n) for n in range(10)])
        pause = pause_of(running)
        running.wait_for("RESUMED")
        eventually(lambda: divisions.vhost.depth(queue) == 0)
    assert pause["cause"] == "timeout"
    assert len(org.cases()) == 10
    assert "already=10" in running.log
    assert divisions.dead() == []


def test_sigterm_ends_the_call_under_way_gives_back_the_rest_and_revokes_no_token(divisions):
    """All calls go over one connection, log-ins over another."""
    org = divisions.org
    with proxy(org.server.host, org.server.port) as link:
        login_url = f"http://{link.host}:{link.port}"
        queue = divisions.division(salesforce={"login_url": login_url}, batch={"size": 10, "wait_ms": 50})
        with divisions.started() as running:
            for start in range(0, 100, 20):
                divisions.publish(queue, [alarm(n) for n in range(20)], start=start)
                divisions.cases(start + 20)
            made = len(divisions.creates())
            org.fault(match={"path": "composite"}, delay_ms=1000)
            divisions.publish(queue, [alarm(n) for n in range(30)], start=100)
            eventually(lambda: len(divisions.creates()) > made)
            running.stop()
        assert link.connections == 2
    under_way = divisions.creates()[-1]["records"]
    assert len(org.cases()) == 100 + under_way
    eventually(lambda: divisions.vhost.depth(queue) == 30 - under_way)
    assert {each["path"].rpartition("/")[2] for each in org.requests()} == {"token", "describe", "sobjects"}
    assert f"stopped flow={DIVISION}" in running.log
    assert " WARNING PAUSED" not in running.log

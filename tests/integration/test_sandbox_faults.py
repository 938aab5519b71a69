"""What the sandbox can be told to do wrong, seen from the other end of the connection."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ReadTimeout

from tests.services.rest import BASE, USER, Rest
from tests.services.salesforce import Org
from tests.services.waiting import eventually

LOST = requests.exceptions.ConnectionError


@pytest.fixture
def rest(salesforce: Org) -> Rest:
    return Rest(salesforce)


def subjects(rest: Rest) -> list[str]:
    return [case["Subject"] for case in rest.org.cases()]


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_cut_before_the_work_leaves_nothing_done(rest, reset):
    rest.org.fault(drop_before=True, reset=reset)
    with pytest.raises(LOST, match="reset by peer" if reset else "closed connection without response"):
        rest.create({"Subject": "a"})
    assert subjects(rest) == []
    assert rest.org.requests("/sobjects")[-1]["status"] == 0
    assert rest.create({"Subject": "b"}).status_code == 201


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_cut_after_the_work_leaves_it_done_and_nobody_told(rest, reset):
    rest.org.fault(drop_after_commit=True, reset=reset)
    with pytest.raises(LOST):
        rest.create_many([{"Subject": "a"}, {"Subject": "b"}])
    assert subjects(rest) == ["a", "b"]
    assert rest.org.calls(USER) == 1


def test_an_answer_may_end_before_its_length(rest):
    rest.org.fault(truncate=10)
    with pytest.raises((ChunkedEncodingError, LOST), match="10 bytes read"):
        rest.create({"Subject": "a"})
    assert subjects(rest) == ["a"]


def test_an_answer_may_come_slowly(rest):
    rest.org.fault(match={"path": "describe"}, slow_body_ms=200)
    started = time.monotonic()
    answer = rest.send("GET", "/sobjects/Case/describe", stream=True, timeout=(5, 30))
    headers = time.monotonic() - started
    first = next(answer.iter_content(100))
    assert first.startswith(b"{")
    next(answer.iter_content(1024))
    assert time.monotonic() - started > headers + 0.1
    answer.close()


def test_a_client_that_does_not_wait_does_not_undo_the_work(rest):
    rest.org.fault(delay_after_ms=600)
    with pytest.raises(ReadTimeout):
        rest.send("POST", "/sobjects/Case", json={"Subject": "a"}, timeout=0.2)
    assert subjects(rest) == ["a"]


def test_work_may_be_done_long_after_its_client_gave_up(rest):
    rest.org.fault(delay_ms=500)
    with pytest.raises(ReadTimeout):
        rest.send("POST", "/sobjects/Case", json={"Subject": "a"}, timeout=0.1)
    assert subjects(rest) == []
    eventually(lambda: subjects(rest) == ["a"], what="the Case")


@pytest.mark.parametrize("commit", [False, True])
def test_an_edge_may_answer_instead_of_the_org_and_the_work_be_done_or_not(rest, commit):
    rest.org.fault(status=502, html="<html>Bad Gateway</html>", commit=commit)
    answer = rest.create({"Subject": "a"})
    assert (answer.status_code, answer.text) == (502, "<html>Bad Gateway</html>")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert subjects(rest) == (["a"] if commit else [])


def test_any_error_of_salesforce_can_be_answered(rest):
    text = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    rest.org.fault(status=403, errorCode="REQUEST_LIMIT_EXCEEDED", message=text)
    answer = rest.create({})
    assert (answer.status_code, answer.json()) == (403, [{"message": text, "errorCode": "REQUEST_LIMIT_EXCEEDED"}])
    rest.org.fault(errorCode="QUERY_TIMEOUT", message="Your query request was running for too long.")
    answer = rest.query("SELECT Id FROM Case")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "QUERY_TIMEOUT")


def test_a_log_in_can_fail_as_well(rest):
    body = {"error": "rate_limit_exceeded", "error_description": "number of login requests exceeded"}
    rest.org.fault(match={"path": "oauth2", "user": USER}, body=body)
    answer = rest.log_in_answer()
    assert (answer.status_code, answer.json()) == (400, body)
    assert rest.log_in_answer().status_code == 200


def test_an_answer_may_hold_any_header(rest):
    rest.org.fault(status=429, headers={"Retry-After": "7"}, html="slow down")
    assert rest.create({}).headers["Retry-After"] == "7"


def test_an_answer_may_end_the_connection_in_good_order(rest):
    rest.org.fault(close=True)
    assert rest.create({}).headers["Connection"] == "close"


def test_a_rule_fits_by_method_path_user_and_record(rest):
    other = Rest(rest.org, "other@example.com")
    rest.org.fault(match={"method": "POST", "path": "sobjects/Case", "user": USER}, times=None, status=500)
    assert rest.create({}).status_code == 500
    assert other.create({}).status_code == 201
    assert rest.send("GET", "/sobjects/Case").status_code == 200
    rest.org.no_faults()
    rest.org.fault(match={"record": {"Message_Id__c": "^m-1$"}}, times=None, status=500)
    assert rest.create_many([{"Message_Id__c": "m-1"}]).status_code == 500
    assert rest.create_many([{"Message_Id__c": "m-10"}]).status_code == 200
    assert rest.send("PATCH", "/sobjects/Case/Message_Id__c/m-1", json={}).status_code == 500


def test_a_rule_can_skip_calls_and_ends(rest):
    rest.org.fault(skip=1, times=2, status=500)
    assert [rest.create({}).status_code for _ in range(4)] == [201, 500, 500, 201]


def test_a_rule_can_be_a_matter_of_chance(rest):
    rest.org.fault(probability=0.5, times=None, status=500)
    assert {rest.create({}).status_code for _ in range(40)} == {201, 500}


def test_a_rule_that_says_something_unknown_is_refused(rest):
    with pytest.raises(AssertionError, match="action: expected an object with some of"):
        rest.org.fault(drop=True)


def test_latency_is_of_each_call_and_calls_wait_beside_each_other(rest):
    rest.org.latency(200)
    clients = [Rest(rest.org) for _ in range(8)]

    def one_call(client: Rest) -> float:
        started = time.monotonic()
        client.send("GET", "/limits")
        return time.monotonic() - started

    alone = one_call(clients[0])
    started = time.monotonic()
    with ThreadPoolExecutor(len(clients)) as threads:
        list(threads.map(one_call, clients))
    together = time.monotonic() - started
    assert alone > 0.2
    assert together < 4 * alone  # one after the other it would be 8
    assert rest.org.most_at_a_time(USER) > 1


def test_latency_may_grow_with_the_records(rest):
    rest.org.latency(0, per_record=5)
    rest.create_many([{}] * 100)
    rest.create({})
    many, one = (rest.org.requests(path)[-1]["ms"] for path in ("/composite", "/sobjects/Case"))
    assert many >= 500 > one


def test_small_calls_on_one_connection_do_not_wait_for_anything(rest):
    """A header and a body in two packets would wait 40 ms for the acknowledgement of the first."""
    waits = []
    for _ in range(100):
        started = time.monotonic()
        rest.send("GET", "/limits")
        waits.append(time.monotonic() - started)
    slowed = []
    rest.org.latency(40)
    for _ in range(10):
        started = time.monotonic()
        rest.send("GET", "/limits")
        slowed.append(time.monotonic() - started)
    assert statistics.median(waits) < statistics.median(slowed) / 2


def test_one_user_s_slow_call_holds_up_nobody(rest):
    rest.org.fault(match={"user": USER}, delay_ms=1500)
    other = Rest(rest.org, "other@example.com")
    slow = threading.Thread(target=rest.create, args=({"Subject": "slow"},))
    slow.start()
    eventually(lambda: rest.org.requests("/sobjects"), what="the slow call has begun")
    other.create({"Subject": "quick"})
    slow.join()
    assert subjects(rest) == ["quick", "slow"]


def test_the_log_tells_what_was_asked_but_no_secret(rest):
    rest.create_many([{"Subject": "a"}], **{})
    (entry,) = rest.org.requests("/composite")
    assert entry["method"] == "POST"
    assert entry["path"] == f"{BASE}/composite/sobjects"
    assert (entry["user"], entry["session"], entry["records"], entry["status"]) == (USER, 1, 1, 200)
    assert entry["body"]["records"][0]["Subject"] == "a"
    assert rest.token not in str(rest.org.requests())

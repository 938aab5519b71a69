"""`limits`: what a small body may be made into, and how long that may take."""

import json
import time
from functools import partial

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.formats import compile_format
from connectorlib.limits import MOST_GROWTH, Effort
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits
from dbconnector.parameters import Plan
from dbconnector.settings import Write
from sfconnector.lookup import Lookups
from sfconnector.mapping import CaseMapper
from sfconnector.settings import CaseSettings
from tests.services.waiting import eventually

INSERT = "INSERT INTO t VALUES (:a)"
#: Some hundred thousand steps of the interpreter, for a body of 400 KB.
FILTER = {"jmespath": "items[?@ > `5`] | [0]"}
MANY = {"items": [1] * 200_000}
QUICK = Limits(seconds=0.2)


def delivery(body):
    return Delivery(1, 1, "q", "", "q", False, BasicProperties(), json.dumps(body).encode(), 0.0)


def write(limits, body, *writes):
    """Return the rows of each statement, in the order of the configuration."""
    plan = Plan(writes, compile_format({"type": "json"}, limits), limits)
    unit = plan.unit(delivery(body))
    return [[row for record in unit.rows for row in record[at] or ()] for at in range(len(writes))]


def make_case(limits, body, mapping):
    mapper = CaseMapper(CaseSettings(mapping=mapping), {"type": "json"}, limits)
    return [mapper.case(record, Lookups()) for record in mapper.records(delivery(body))]


def refusal(action):
    with pytest.raises(Failed) as caught:
        action()
    assert caught.value.failure.code == "too-large"
    return caught.value.failure


def test_an_expression_over_a_huge_record_is_ended_in_a_statement():
    failure = refusal(partial(write, QUICK, MANY, Write(INSERT, values={"a": FILTER})))
    assert "limits.seconds, 0.2 s" in failure.text
    assert failure.place == "write[0]"


def test_an_expression_over_a_huge_record_is_ended_in_a_mapping():
    failure = refusal(partial(make_case, QUICK, MANY, {"Subject": FILTER}))
    assert "limits.seconds" in failure.text
    assert failure.place == "case"


def test_many_rows_together_may_take_no_longer_than_one():
    each = {"jmespath": "items[*].x | [?@ > `5`] | [0]"}
    records = [{"items": [{"x": 1}] * 50}] * 2000
    assert "limits.seconds" in refusal(partial(write, QUICK, records, Write(INSERT, values={"a": each}))).text
    mapping = {"Subject": "items[0].x", "Description": each}
    assert "limits.seconds" in refusal(partial(make_case, QUICK, records, mapping)).text


def test_what_takes_less_passes():
    assert write(QUICK, {"items": [1, 9]}, Write(INSERT, values={"a": FILTER})) == [[(9,)]]
    (draft,) = make_case(QUICK, {"items": [1, 9]}, {"Subject": FILTER})
    assert draft.fields == {"Subject": 9}


def passed(seconds):
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end)


def worked(seconds):
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        pass


def test_waiting_costs_no_message_its_life():
    effort = Effort(Limits(seconds=0.05))
    passed(0.3)
    effort.check()  # the wall clock says that half of the time has passed; from here on it is work that counts
    effort.check()
    worked(0.1)
    refusal(effort.check)


def test_what_happens_while_a_message_rests_is_not_counted():
    effort = Effort(Limits(seconds=0.05))
    for _ in range(2):  # by the clock on the wall, then by that of the processor
        effort.rest()
        worked(0.2)
        effort.resume()
        effort.check()
        passed(0.1)
        effort.check()
    worked(0.1)
    refusal(effort.check)


def test_rows_are_limited_for_each_statement_of_a_message():
    limits = Limits(records=100)
    each = Write(INSERT, for_each="items", values={"a": "$index"})
    once = Write(INSERT, values={"a": "$index"})
    assert [len(rows) for rows in write(limits, {"items": [1] * 100}, each, each, once)] == [100, 100, 1]
    failure = refusal(partial(write, limits, {"items": [1] * 101}, each))
    assert failure.text == "101 rows for one statement, and limits.records is 100"
    assert failure.place == "write[0]"
    assert "102 rows" in refusal(partial(write, limits, [{"items": [1] * 51}] * 2, each)).text
    step = Write("INSERT INTO t SELECT :a", for_each="items", values={"a": "$index"})
    assert "101 rows" in refusal(partial(write, limits, {"items": [1] * 101}, step)).text


@pytest.mark.parametrize("value", ["$body", "{$.text}-{$index}", "$.text"])
def test_one_long_text_in_thousands_of_rows_is_too_large(value):
    limits = Limits(body_bytes=10_000)
    each = Write(INSERT, for_each="items", values={"a": value})
    failure = refusal(partial(write, limits, {"text": "x" * 5000, "items": [1] * 1000}, each))
    assert f"more than {MOST_GROWTH} times limits.body_bytes, which is 10000" in failure.text
    assert failure.place == "write[0]"
    assert len(write(limits, {"text": "x" * 5000, "items": [1] * 100}, each)[0]) == 100


def test_one_long_text_in_thousands_of_cases_is_too_large():
    failure = refusal(partial(make_case, Limits(body_bytes=10_000), [{}] * 2000, {"Description": "$body"}))
    assert "limits.body_bytes" in failure.text
    assert failure.place == "case"


def test_the_body_is_made_into_text_once_for_all_rows():
    each = Write(INSERT, for_each="items", values={"a": "$body"})
    ((first, *others),) = write(Limits(), {"text": "x" * 500, "items": [1] * 100}, each)
    assert all(row[0] is first[0] for row in others)

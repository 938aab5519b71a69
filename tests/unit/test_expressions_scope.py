"""What travels beside the record."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.expressions import MISSING, Scope, compile_expression
from connectorlib.formats import compile_format
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits


def delivery(body=b"", headers=None, **properties):
    return Delivery(
        tag=1,
        generation=1,
        queue="readings",
        exchange="amq.topic",
        routing_key="devices.7.temp",
        redelivered=False,
        properties=BasicProperties(headers=headers, **properties),
        body=body,
        received=0.0,
    )


def evaluate(path, message, **scope):
    return compile_expression(path).evaluate({}, Scope(message, **scope))


HEADERS = {
    "division": "hvac",
    "serial no": "A",
    "count": 3,
    "price": Decimal("1.10"),
    "at": datetime(2024, 5, 1, 12),
    "raw": b"\xff",
    "void": None,
    "table": {"inner": {"deep": 1}, "list": [1, 2]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$message_id", "m-1"),
        ("$correlation_id", "c-1"),
        ("$routing_key", "devices.7.temp"),
        ("$routing_key[1]", "7"),
        ("$routing_key[-1]", "temp"),
        ("$routing_key[3]", MISSING),
        ("$exchange", "amq.topic"),
        ("$queue", "readings"),
        ("$timestamp", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("$headers.division", "hvac"),
        ('$headers."serial no"', "A"),
        ("$headers.count", 3),
        ("$headers.price", Decimal("1.10")),
        ("$headers.at", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("$headers.raw", b"\xff"),
        ("$headers.void", None),
        ("$headers.table.inner.deep", 1),
        ("$headers.table.list[1]", 2),
        ("$headers.none", MISSING),
        ("$body", '{"a": "é"}'),
        ("{$routing_key}@{$headers.count}", "devices.7.temp@3"),
    ],
)
def test_a_message_gives_its_properties(path, value):
    message = delivery('{"a": "é"}'.encode(), HEADERS, message_id="m-1", correlation_id="c-1", timestamp=1714564800)
    assert evaluate(path, message) == value


ALL = (
    "$message_id", "$correlation_id", "$routing_key", "$routing_key[0]", "$exchange", "$queue", "$timestamp",
    "$headers.x", "$body", "$result.a.b",
)  # fmt: skip


@pytest.mark.parametrize("path", ALL)
def test_a_row_of_a_query_has_no_message(path):
    assert evaluate(path, None) is MISSING


@pytest.mark.parametrize("path", ["$message_id", "$correlation_id", "$timestamp", "$headers.x"])
def test_a_property_that_was_not_sent_is_missing(path):
    assert evaluate(path, delivery()) is MISSING


def test_a_replayed_message_is_judged_by_its_first_life():
    headers = {"dead-replays": 1, "dead-exchange": "alarms", "dead-routing-key": "alarm.pump", "dead-queue": "q"}
    replayed = delivery(headers=headers)
    paths = ("$exchange", "$routing_key", "$routing_key[1]", "$queue")
    assert [evaluate(path, replayed) for path in paths] == ["alarms", "alarm.pump", "pump", "readings"]


def test_a_dead_letter_that_was_not_replayed_keeps_its_own_exchange():
    dead = delivery(headers={"dead-exchange": "alarms", "dead-routing-key": "alarm.pump"})
    assert evaluate("$exchange", dead) == "amq.topic"
    half = delivery(headers={"dead-replays": 1, "dead-exchange": 5})
    assert evaluate("$exchange", half) == "amq.topic"


def test_now_is_the_same_for_the_whole_message():
    scope = Scope(delivery())
    now = compile_expression("$now").evaluate({}, scope)
    assert compile_expression("$now").evaluate({}, scope) is now
    assert now.tzinfo is UTC
    fixed = datetime(2024, 1, 1, tzinfo=UTC)
    assert evaluate("$now", None, now=fixed) is fixed


def test_results_are_found_by_name_and_column_in_any_case():
    results = {"reading": {"id": 7}, "skipped": None}
    paths = ("$result.reading.id", "$result.reading.ID", "$result.reading.no", "$result.skipped.id", "$result.no.id")
    assert [evaluate(path, None, results=results) for path in paths] == [7, 7, MISSING, MISSING, MISSING]


def test_a_body_that_is_no_text_is_a_bad_value_only_when_it_is_asked_for():
    message = delivery(b"\xff\xfe")
    with pytest.raises(Failed) as caught:
        evaluate("$body", message)
    assert caught.value.failure.code == "bad-value"
    assert evaluate("$body", message, fmt=compile_format({"type": "text", "encoding": "latin-1"}, Limits())) == "ÿþ"


@pytest.mark.parametrize("seconds", [2**63, -(2**62), "soon"])
def test_a_senseless_timestamp_is_a_bad_value(seconds):
    with pytest.raises(Failed) as caught:
        evaluate("$timestamp", delivery(timestamp=seconds))
    assert caught.value.failure.code == "bad-value"

"""The messages of a batch become units together as each would by itself."""

import json
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectorlib.errors import Failed
from connectorlib.expressions import Scope
from connectorlib.formats import compile_format
from connectorlib.messages import Delivery, Properties
from connectorlib.shared_settings import Limits
from dbconnector import parameters
from dbconnector.binder import make_binder
from dbconnector.bound_write import BoundWrite
from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.postgresql import DIALECT
from dbconnector.inbox_table import Inbox
from dbconnector.parameters import Plan
from dbconnector.settings import Idempotency, Write

LIMITS = Limits(records=3)
COLUMNS = {"id": ColumnType(Column.INTEGER), "value": ColumnType(Column.DECIMAL, scale=1)}
ONE = Write("INSERT INTO t (id, value) VALUES (:id, :value)")
OTHER = Write("INSERT INTO u (id, value) VALUES (:id, :amount)", {"amount": "value"})
FEW = Write("INSERT INTO t (id) VALUES (:id)")
PATHS = Write("INSERT INTO t (id, value) VALUES (:id, :value)", {"id": "$index"})
INBOX = Inbox(Idempotency("inbox", "$message_id"), "here")

GOOD = {"id": 1, "value": 2.5}
RECORDS = st.just(GOOD) | st.fixed_dictionaries(
    {"id": st.sampled_from([1, None, "x", 2**64])}, optional={"value": st.sampled_from([1, 2.5, 2.25, "3", True])}
)
BODIES = st.one_of(
    RECORDS,
    RECORDS,
    st.lists(RECORDS, max_size=4),
    st.sampled_from([None, "text", 5, [[1]]]),
).map(lambda value: json.dumps(value).encode()) | st.sampled_from([b"", b"{", b'{"id": 1, "id": 2, "value": 1}'])
LARGE = json.dumps(GOOD | {"note": "x" * parameters.SMALL}).encode()


def deliveries(bodies):
    numbers = count(1)
    properties = [Properties(message_id=f"m{number}" if number % 3 else None) for number in range(len(bodies))]
    return [
        Delivery(next(numbers), 1, "q", "", "key", False, each, body, 0.0)
        for each, body in zip(properties, bodies, strict=True)
    ]


def shown(unit):
    if isinstance(unit, Failed):
        return unit.failure
    assert list(unit.records) == []
    return unit.delivery.tag, unit.key, repr([[[*rows] for rows in record] for record in unit.rows])


def alone(plan, delivery):
    try:
        return plan.unit(delivery)
    except Failed as failed:
        return failed


@pytest.mark.parametrize("inbox", [None, INBOX], ids=["plain", "inbox"])
@pytest.mark.parametrize("writes", [[ONE], [ONE, OTHER], [FEW], [PATHS]], ids=["one", "two", "one field", "path"])
@given(bodies=st.lists(BODIES, max_size=8))
@example(bodies=[json.dumps(GOOD).encode()] * 120)
@example(bodies=[json.dumps(each).encode() for each in ([GOOD, GOOD], GOOD, {"id": 1}, [], GOOD)])
@example(bodies=[json.dumps(GOOD).encode(), LARGE, json.dumps({"id": "x", "value": 1}).encode()])
def test_units_of_a_batch_are_those_of_each_message(writes, inbox, bodies):
    plan = Plan(writes, compile_format({"type": "json"}, LIMITS), LIMITS, inbox).bound(
        lambda statement: make_binder(DIALECT, list(COLUMNS.values())[: len(statement.names)], statement.names)
    )
    batch = deliveries(bodies)
    assert [shown(each) for each in plan.units(batch)] == [shown(alone(plan, each)) for each in batch]


def test_bad_messages_are_looked_at_by_themselves_and_good_ones_are_not(monkeypatch):
    plan = Plan([ONE], compile_format({"type": "json"}, LIMITS), LIMITS).bound(
        lambda statement: make_binder(DIALECT, list(COLUMNS.values()), statement.names)
    )
    looked_at = []
    row = BoundWrite.row

    def noted(write: BoundWrite, record: Any, scope: Scope) -> Any:
        looked_at.append(record)
        return row(write, record, scope)

    monkeypatch.setattr(BoundWrite, "row", noted)
    bodies = [json.dumps(GOOD).encode()] * 200
    bodies[7], bodies[60], bodies[61] = b"{", b'{"id": 1}', b'{"id": 1, "value": 2.25}'
    found = plan.units(deliveries(bodies))
    assert [at for at, each in enumerate(found) if isinstance(each, Failed)] == [7, 60, 61]
    assert looked_at == [{"id": 1}, {"id": 1, "value": Decimal("2.25")}]

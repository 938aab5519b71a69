"""Every example of docs/expressions.md is so, and every form has one."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.expressions import MISSING, Scope, compile_condition, compile_expression
from connectorlib.expressions.condition import OPERATORS
from connectorlib.expressions.expression import _FULL
from connectorlib.expressions.modifiers import MODIFIERS
from connectorlib.expressions.scope import _SOURCES
from connectorlib.messages import Delivery
from tests.pages import DOCS

PAGE = (DOCS / "expressions.md").read_text()
SENT = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
#: Found by a statement, an alarm or a run of a query, so not in a message.
ELSEWHERE = {"result", "count", "part"}


def rows(header: str) -> list[list[str]]:
    """Return the cells of all tables with this header."""
    found = []
    for table in re.findall(rf"^\| {header} \|\n\| --- .*\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for line in table.splitlines():
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.append(cells)
    return found


def code(cell: str) -> Any:
    """Return the JSON of a cell that is code; raise ValueError for another."""
    match = re.fullmatch(r"`(.+)`", cell)
    if match is None:
        raise ValueError(cell)
    return json.loads(match[1], parse_float=Decimal)


def scope_of(body: str) -> tuple[Any, Scope]:
    properties = BasicProperties(
        headers={"site": "hall-3"},
        message_id="m-1",
        correlation_id="c-9",
        user_id="gateway",
        timestamp=int(SENT.timestamp()),
    )
    message = Delivery(1, 1, "readings", "devices", "devices.7.alarm", False, properties, body.encode(), 0.0)
    record = json.loads(body, parse_float=Decimal)
    return record, Scope(message, record)


def evaluated(written: str, body: str) -> str:
    """Return the value of an expression, as the page writes it."""
    try:
        value = compile_expression(code(written)).evaluate(*scope_of(body.strip("`")))
    except Failed as failed:
        return f"dead letter `{failed.failure.code}`"
    if value is MISSING:
        return "missing"
    if isinstance(value, datetime):
        if abs((value - datetime.now(UTC)).total_seconds()) < 3600:
            return "the present time"
        value = value.isoformat().replace("+00:00", "Z")
    return f"`{value}`" if isinstance(value, Decimal) else f"`{json.dumps(value)}`"


@pytest.mark.parametrize(("written", "body", "value"), rows(r"written \| body \| value"))
def test_an_expression_has_the_value_that_the_page_says(written, body, value):
    assert evaluated(written, body) == value


@pytest.mark.parametrize(("written", "body", "holds"), rows(r"condition \| body \| holds"))
def test_a_condition_holds_where_the_page_says(written, body, holds):
    condition = compile_condition(code(written))
    assert {True: "yes", False: "no"}[condition.matches(*scope_of(body.strip("`")))] == holds


def test_every_form_has_an_example():
    written = " ".join(cells[0] for cells in rows(r"written \| body \| value"))
    tested = " ".join(cells[0] for cells in rows(r"condition \| body \| holds"))
    forms = [f'"${name}' for name in _SOURCES if name not in ELSEWHERE] + [
        f'"{name}":' for name in (*_FULL, *MODIFIERS)
    ]
    assert [form for form in forms if form not in written] == []
    assert [name for name in OPERATORS if f'"{name}":' not in tested] == []
    assert all(f"`${name}" in PAGE for name in ELSEWHERE)

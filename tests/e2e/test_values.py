"""Values arrive exactly, or not at all: what is published is what another driver finds in the table; and back."""

import base64
import json
import re
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e import exact
from tests.e2e.conftest import EACH_DRIVER, Connector
from tests.services.waiting import eventually


def body(number: int, fields: dict[str, str]) -> bytes:
    return (
        "{" + ", ".join([f'"id": {number}', *(f'"{name}": {text}' for name, text in fields.items())]) + "}"
    ).encode()


def dead_letters(connector: Connector) -> int:
    return connector.vhost.depth("dead-letter") if connector.vhost.exists("dead-letter") else 0


@EACH_DRIVER
@pytest.mark.parametrize(
    ("values", "multi_row"),
    [(exact.VALUES, True), (exact.TYPED, False)],
    ids=["as they are, many rows at once", "with a type, row by row"],
)
def test_what_is_published_is_what_stands_in_the_table(
    connector: Connector, values: dict[str, Any], multi_row: bool
) -> None:
    exact.create(connector.database, "exact")
    connector.configure(
        write=[{"statement": exact.insert("exact"), "values": values, "multi_row": multi_row}],
    )
    messages = list(enumerate(exact.cases(connector.database)))
    connector.vhost.declare_queue("readings")
    connector.publish(*[body(number, fields) for number, (fields, _) in messages])
    with connector.subscribed():
        eventually(lambda: connector.database.count("exact") + dead_letters(connector) >= len(messages), 30)
    assert [(dead[:80], headers["dead-text"]) for dead, headers in connector.dead()] == []
    wanted = {number: values for number, (_, values) in messages}
    assert exact.differences(exact.rows(connector.database, "exact"), wanted) == []


@EACH_DRIVER
def test_what_stands_in_the_table_is_what_is_sent(connector: Connector) -> None:
    exact.create(connector.database, "exact")
    wanted = exact.fill(connector.database, "exact")
    connector.vhost.declare_queue("rows", "rows", "#")
    connector.configure(
        write=(),
        database={"select": {"query": f"SELECT id, {', '.join(exact.COLUMNS)} FROM exact", "key": ["id"]}},
        broker={"destination": {"exchange": "rows", "routing_key": "row"}},
    )
    done = connector.run("select", "-c", str(connector.file))
    assert done.returncode == 0, done.stderr
    assert f"sent rows={len(wanted)} failed=0" in done.stderr
    found = {}
    for _, _, sent in connector.vhost.get_all("rows"):
        fields = json.loads(sent, parse_float=Decimal)
        id = fields.pop("id")
        found[id] = {name: read(name, value) for name, value in fields.items() if value is not None}
    assert exact.differences(found, wanted) == []


def read(column: str, value: Any) -> Any:
    """Return what a reader of the JSON makes of a field; types that JSON does not have are text in it."""
    match column:
        case "amount":
            assert isinstance(value, int | Decimal)
        case "whole":
            assert type(value) is int
        case "fraction":
            return float(value)
        case "moment" | "zoned" | "day" | "hour":
            assert isinstance(value, str)
        case "data":
            return base64.b64decode(value, validate=True)
    return exact.stored(column, value)


#: What a column cannot hold or a driver cannot carry: JSON, and how the dead letter says so.
REFUSED = [
    ("word", r'"a\u0000b"', "NUL"),
    ("word", "[1]", "list"),
    ("word", '{"a": 1}', "object"),
    ("short", json.dumps("x" * 41), "too long|41"),
    ("amount", '"1.5x"', "1.5x|truncated"),
    ("amount", "123456789012345678901234567890", "overflow|range|64 bits"),
    ("whole", "9223372036854775808", "range|64 bits"),
    ("whole", "-9223372036854775809", "range|64 bits"),
    ("whole", "1.5", "whole number"),
    ("whole", '"1.5"', "whole number|1.5"),
    ("fraction", '"much"', "much"),
    ("fraction", "1e400", "1e400"),
    ("truth", '"perhaps"', "perhaps"),
    ("moment", '"2026-02-30T00:00:00"', "2026-02-30"),
    ("zoned", '"2026-11-24T25:00:00Z"', "T25"),
    ("day", '"2026-13-01"', "2026-13"),
    ("hour", '"25:61:00"', "25:61"),
    ("data", '"not base64!"', "base64"),
]
#: SQLite keeps any text, of any length, and any number, in a column of any type, as it is: nothing of it is changed.
SQLITE_KEEPS = {
    "short": [REFUSED[3][1]],
    "amount": ['"1.5x"'],
    "whole": ["1.5", '"1.5"'],
    "fraction": ['"much"'],
    "truth": ['"perhaps"'],
}


@EACH_DRIVER
def test_what_would_be_changed_is_a_dead_letter_that_says_why_and_costs_its_neighbours_nothing(
    connector: Connector,
) -> None:
    exact.create(connector.database, "exact")
    connector.configure(write=[{"statement": exact.insert("exact"), "values": exact.TYPED}])
    keeps = SQLITE_KEEPS if connector.database.kind == "sqlite" else {}
    refused = [case for case in REFUSED if case[1] not in keeps.get(case[0], ())]
    connector.vhost.declare_queue("readings")
    bodies = [body(number, {column: text}) for number, (column, text, _) in enumerate(refused)]
    good = {100 + number: {"word": f"neighbour {number}"} for number in range(len(refused))}
    neighbours = [body(number, {"word": json.dumps(values["word"])}) for number, values in good.items()]
    connector.publish(*[message for pair in zip(bodies, neighbours, strict=True) for message in pair])
    with connector.subscribed():
        eventually(lambda: connector.database.count("exact") + dead_letters(connector) >= 2 * len(refused), 30)
    assert exact.rows(connector.database, "exact") == good
    dead = {json.loads(body)["id"]: headers for body, headers in connector.dead()}
    for number, (column, text, words) in enumerate(refused):
        said = f"{dead[number]['dead-code']}: {dead[number]['dead-text']}"
        assert re.search(words, said, re.IGNORECASE), (column, text, said)
        if dead[number]["dead-code"] == "bad-value":
            assert dead[number]["dead-detail"].startswith(f"write[0].values.{column} <- {column}: "), said

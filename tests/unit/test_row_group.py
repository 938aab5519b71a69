"""Rows become messages of many rows: none shares one with a row that is for elsewhere, none costs others theirs."""

import csv
import io
import json
import uuid
from typing import Any

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Destination, Limits
from dbconnector import temporary_file
from dbconnector.mark_spool import MarkSpool
from dbconnector.row_group import RowGroups
from dbconnector.row_message import MessageMapping

COLUMNS = ("id", "device")


def groups(
    rows: Any, *, most_rows: Any = None, most_bytes: Any = 10_000, fmt: Any = None, **dest: Any
) -> tuple[list[Any], list[str]]:
    """Return the messages of these rows with their groups, and the codes of the rows that were refused."""
    mapping = MessageMapping(
        Destination("rows", **{"routing_key": "r", **dest}),
        compile_format(fmt or {"type": "json"}, Limits()),
    )
    collected = RowGroups(mapping, COLUMNS, most_rows=most_rows, most_bytes=most_bytes, keep=lambda row: row)
    found, refused = [], []
    for row in rows:
        try:
            found.append(collected.add(row))
        except Failed as failed:
            refused.append(f"{failed.failure.place} {failed.failure.code}")
    found.append(collected.close())
    assert collected.close() is None
    return [each for each in found if each is not None], refused


def ids(messages: Any) -> list[list[int]]:
    return [[record["id"] for record in json.loads(message.body)] for message, _ in messages]


def rows(*devices: str) -> list[tuple[int, str]]:
    return list(enumerate(devices, 1))


NUL = "\0"  # what no format carries
BY_DEVICE = {"routing_key": "row.{device}"}
PART = {"headers": {"part": "$part", "first": "$index"}}
CASES: dict[str, tuple[list[tuple[int, str]], dict[str, Any], list[list[int]], list[str]]] = {
    "none": ([], {}, [], []),
    "one is a list too": (rows("a"), {}, [[1]], []),
    "all": (rows(*"aaaaa"), {}, [[1, 2, 3, 4, 5]], []),
    "so many": (rows(*"aaaaa"), {"most_rows": 2}, [[1, 2], [3, 4], [5]], []),
    "another routing key": (rows(*"aabba"), BY_DEVICE, [[1, 2], [3, 4], [5]], []),
    "another header": (rows(*"aab"), {"headers": {"d": "device"}}, [[1, 2], [3]], []),
    "another id alone": (rows(*"aab"), {"message_id": "device"}, [[1, 2, 3]], []),
    "one that cannot be written": (rows("a", NUL, "a"), {}, [[1, 3]], ["destination.body not-encodable"]),
    "the first": (rows(NUL, "a", "a"), {}, [[2, 3]], ["destination.body not-encodable"]),
    "one that cannot be routed": (
        rows("a", "b" * 300, "a"),
        BY_DEVICE,
        [[1, 3]],
        ["destination.routing_key bad-value"],
    ),
    "one that is too long": (rows("a", "b" * 90, "a"), {"most_bytes": 90}, [[1, 3]], ["destination.body too-large"]),
    # {"id":1,"device":"a"} has 21 bytes: three with their commas and brackets 67
    "as many as there is room for": (rows(*"aaaaaaa"), {"most_bytes": 67}, [[1, 2, 3], [4, 5, 6], [7]], []),
    "a byte less": (rows(*"aaaaaaa"), {"most_bytes": 66}, [[1, 2], [3, 4], [5, 6], [7]], []),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_share_a_message(name: str) -> None:
    given, settings, expected, refused = CASES[name]
    messages, codes = groups(given, **settings)
    assert (ids(messages), codes) == (expected, refused)
    assert [[row[0] for row in group.rows] for _, group in messages] == expected
    assert [group.count for _, group in messages] == [len(each) for each in expected]
    most = settings.get("most_bytes", 10_000)
    assert all(len(message.body) <= most for message, _ in messages)


def test_parts_count_from_one_and_the_index_is_that_of_the_first_row() -> None:
    given = rows("a", "a", "b" * 300, "c", NUL, "c")
    messages, _ = groups(given, most_rows=2, **BY_DEVICE, **PART)
    assert [message.properties["headers"] for message, _ in messages] == [
        {"part": 1, "first": 0},
        {"part": 2, "first": 3},
    ]
    assert [message.routing_key for message, _ in messages] == ["row.a", "row.c"]


def test_the_id_of_many_rows_is_that_of_the_same_rows_only() -> None:
    def made(*numbers: int, message_id: Any = "outbox-{id}") -> str:
        [(message, _)] = groups([(number, "a") for number in numbers], message_id=message_id)[0]
        return str(message.properties["message_id"])

    assert made(1) == "outbox-1"
    assert made(1, 2) == made(1, 2)
    assert len({made(1), made(1, 2), made(1, 2, 3), made(2, 1), made(1, 22), made(11, 2)}) == 6
    assert uuid.UUID(made(1, 2)).version == 8
    assert made(1, 2, message_id="nightly-{$part}") == "nightly-1"
    alone, again = (
        groups(rows("a", "a"))[0][0][0].properties["message_id"],
        groups(rows("a", "a"))[0][0][0].properties["message_id"],
    )
    assert alone != again
    assert uuid.UUID(alone).version == 4


def test_a_csv_has_one_header_line() -> None:
    [(message, _)] = groups(rows("a", 'b"c', "d\ne"), fmt={"type": "delimited", "header": True})[0]
    assert message.properties["content_type"].startswith("text/csv")
    assert list(csv.reader(io.StringIO(message.body.decode(), newline=""))) == [
        ["id", "device"],
        ["1", "a"],
        ["2", 'b"c'],
        ["3", "d\ne"],
    ]


def test_a_long_body_is_collected_in_a_file_and_one_that_cannot_be_written_is_an_outage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(temporary_file, "IN_MEMORY", 1000)
    [(message, _)] = groups(rows(*["a" * 90] * 50))[0]
    assert ids([(message, None)]) == [list(range(1, 51))]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    mapping = MessageMapping(Destination("rows"), compile_format({"type": "json"}, Limits()))
    collected = RowGroups(mapping, COLUMNS, most_rows=None, most_bytes=10**6, keep=None)
    with pytest.raises(Failed, match="TMPDIR") as raised:
        collected.add((1, "a" * 2000))
    assert raised.value.failure.kind is Kind.UNAVAILABLE
    collected.abandon()


def test_what_is_spooled_can_be_read_again_also_after_a_reading_that_was_cut_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dbconnector.mark_spool.ROWS", 3)
    spool = MarkSpool()
    for number in range(10):
        spool.add([(number, "x")])
    next(iter(spool))
    spool.add([(10, "x")])
    for _ in range(2):
        assert [value for values in spool for value, _ in values] == list(range(11))
    spool.close()

"""What one message would become, and where in its body stands what it is rejected for."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.errors import Failure, Kind
from connectorlib.formats.body_position import RecordPath
from connectorlib.preflight.explanation import (
    NOTHING_GIVEN,
    Explanation,
    Given,
    Rejection,
    as_json,
    indented_json,
    located,
    position_of,
)
from connectorlib.preflight.message_options import made_up, takes
from connectorlib.shared_settings import Source
from dbconnector import explain as db
from dbconnector.sql_literal import literal
from sfconnector import explain as sf
from tests.unit.test_connector_check import DB, GOOD, SF

ORDER = b'{\n  "id": 1,\n  "lines": [\n    {"sku": "a"},\n    {"sku": null}\n  ]\n}\n'
ORDERS = b'[\n  {"id": 1},\n  {"id": 2,\n   "lines": []}\n]'
XML = b"<orders>\n  <order><id>1</id></order>\n  <order>\n    <id>2</id>\n    <line/><line>\n</line></order>\n</orders>"
RECORDS = {"type": "xml", "record": "order"}


@pytest.mark.parametrize(
    ("body", "format", "spot", "detail", "line"),
    [
        (ORDER, {}, RecordPath(0, ("lines", 1)), "w.values.sku <- sku: is null", 5),
        (ORDER, {}, RecordPath(0, ("lines", 1)), "w.values.id <- $.id: is null", 2),
        (ORDER, {}, RecordPath(0, ("lines", 1)), 'w.values.x <- "other name": no such field', 5),
        (ORDER, {}, RecordPath(0), "w.for_each <- rows: no such field; here are id, lines", 1),
        (ORDER, {}, RecordPath(0), "lookup Contact where Email: Email <- lines[0].sku: empty", 4),
        (ORDERS, {}, RecordPath(1), "mapping.Subject <- lines[3].sku: lines has 0 elements", 4),
        (XML, RECORDS, RecordPath(0), "w.values.id <- id: no", 2),
        (XML, RECORDS, RecordPath(1), "w.values.id <- id: no", 4),
        (XML, RECORDS, RecordPath(1, ("line", 1)), "w.values.id <- x: no", 5),
        (b"a|b\n1|2\n3|4\n", {"type": "delimited", "header": True}, RecordPath(1), "w.values.b <- b: no", 3),
    ],
)
def test_a_rejection_is_found_in_the_body(
    body: bytes, format: dict[str, Any], spot: RecordPath, detail: str, line: int
) -> None:
    place = position_of(body, format, Rejection(Failure(Kind.REJECT, "bad-value", "", detail=detail), spot))
    assert place is not None
    assert place.line == line
    assert place.text == body.decode().split("\n")[line - 1][:100]


@given(
    body=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode), st.sampled_from([ORDER, ORDERS, XML])),
    format=st.sampled_from([{}, {"type": "xml"}, RECORDS, {"type": "delimited", "encoding": "utf-16"}]),
    detail=st.one_of(st.just("w <- lines[7].sku: no"), st.text(max_size=20).map(lambda text: f"w <- {text}")),
    record=st.integers(0, 3),
    code=st.sampled_from(["not-decodable", "bad-value"]),
)
def test_no_body_and_no_detail_fails_the_search(body: bytes, format: Any, detail: str, record: int, code: str) -> None:
    failure = Failure(Kind.REJECT, code, "line 2 column 99", detail=detail)
    place = position_of(body, format, Rejection(failure, RecordPath(record, ("lines", 2))))
    assert place is None or (place.text.isprintable() and place.line > 0)


def test_a_body_cannot_command_the_terminal_that_it_is_shown_on() -> None:
    rejection = Rejection(Failure(Kind.REJECT, "not-decodable", "no value: line 1 column 3"), None)
    place = position_of(b"\t\x1b[2Jx\xc2\x9b\n", {}, rejection)
    assert place is not None
    assert place.text.isprintable()
    assert (place.text[1], place.column) == ("\ufffd", 3)


@pytest.mark.parametrize(
    ("body", "detail", "spot"),
    [
        (ORDER, "key <- $message_id: the message has none", RecordPath(0)),
        (ORDER, "", None),
        (b"\xff\xfe", "w <- id: no", RecordPath(0)),
        (b'{"id": ', "w <- id: no", RecordPath(0)),
    ],
)
def test_what_is_not_about_the_body_has_no_place_in_it(body: bytes, detail: str, spot: RecordPath | None) -> None:
    assert position_of(body, {}, Rejection(Failure(Kind.REJECT, "no-key", "", detail=detail), spot)) is None


def explained(
    folder: Path, config: Any, body: Any, given: Given = NOTHING_GIVEN, **beside: Any
) -> tuple[Explanation, Any]:
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    raw = body if isinstance(body, bytes) else json.dumps(body, indent=1).encode()
    queue = beside.pop("queue", "readings")
    message = made_up(raw, queue=queue, routing_key=beside.pop("routing_key", ""), properties=beside)
    opened: Any = db.opened(str(file)) if "database" in config else sf.opened(str(file))
    explanation = opened.explain(message, given)
    rejection = explanation.rejection
    return explanation, rejection and located(opened, message, explanation)


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [(b'\n\n{"id": 1,\n "device" 2}', 4, 11), (b'{"id": 1', 1, 9), (b'{"id": NaN}', 0, 0)],
)
def test_where_the_parser_gave_up_is_shown(tmp_path: Path, body: bytes, line: int, column: int) -> None:
    explanation, place = explained(tmp_path, DB, body, message_id="m-1")
    assert explanation.rejection is not None
    assert explanation.rejection.failure.code == "not-decodable"
    assert (place.line, place.column) == (line, column) if line else place is None


def test_the_place_is_that_in_the_unpacked_body_and_in_its_charset(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"id": 1,\n "device" 2}')
    _, place = explained(tmp_path, DB, packed, message_id="m-1", content_encoding="gzip")
    assert (place.line, place.text) == (2, ' "device" 2}')
    explanation, place = explained(tmp_path, DB, gzip.compress(bytes(2_000_000)), content_encoding="gzip")
    assert explanation.rejection is not None
    assert explanation.rejection.failure.code == "too-large"
    assert place is None
    body = "<a>\n  <b>°C</c>\n</a>".encode("iso-8859-1")
    config = {**DB, "format": {"type": "xml"}}
    _, place = explained(tmp_path, config, body, message_id="m-1", content_type="text/xml; charset=iso-8859-1")
    assert (place.line, place.text) == (2, "  <b>°C</c>")


def test_the_parser_of_xml_says_where_it_gave_up_too(tmp_path: Path) -> None:
    config = {**DB, "format": {"type": "xml"}}
    _, place = explained(tmp_path, config, b"<a>\n  <b></c>\n</a>", message_id="m-1")
    assert place.line == 2


def test_the_rows_have_the_values_of_the_mapping_and_the_names_of_results(tmp_path: Path) -> None:
    body = {**GOOD, "values": [{"v": "1.50"}, {"v": 2}]}
    explanation, _ = explained(tmp_path, DB, body, message_id="m-1")
    assert explanation.rejection is None
    assert explanation.data == {
        "rows": {
            "alarm": [{"id": 1, "device": "p-1"}],
            "write[1]": [
                {"alarm": "$result.alarm.id", "value": Decimal("1.50")},
                {"alarm": "$result.alarm.id", "value": 2},
            ],
            "write[2]": [{"id": 1, "amount": Decimal("2.50")}],
        },
        "key": "m-1",
    }
    assert "    :id = 1, :device = 'p-1'" in explanation.lines
    assert "    row 0: :alarm = $result.alarm.id, :value = 1.50" in explanation.lines


def test_lists_and_objects_are_shown_as_what_arrays_and_columns_of_json_get(tmp_path: Path) -> None:
    body = {**GOOD, "device": {"tags": ["a", None]}, "id": [1, 2]}
    config = json.loads(json.dumps(DB))
    config["database"]["write"] = [{"statement": "INSERT INTO t (ids, doc) VALUES (:id, :device)"}]
    explanation, _ = explained(tmp_path, config, body, message_id="m-1")
    assert explanation.data["rows"] == {"write[0]": [{"id": [1, 2], "device": {"tags": ["a", None]}}]}
    assert """    :id = '[1,2]', :device = '{"tags":["a",null]}'""" in explanation.lines


def test_the_element_that_is_to_blame_is_found(tmp_path: Path) -> None:
    body = {**GOOD, "values": [{"v": "1.50"}, {"v": "much"}]}
    explanation, place = explained(tmp_path, DB, body, message_id="m-1")
    assert explanation.rejection is not None
    assert "write[1].values.value <- v" in explanation.rejection.failure.detail
    assert place.text.strip() == '"v": "much"'


def test_a_statement_that_hangs_on_a_result_as_a_whole_is_named_as_such(tmp_path: Path) -> None:
    config = json.loads(json.dumps(DB))
    config["database"]["write"][2]["when"] = {"$result.alarm.id": "7*"}
    explanation, _ = explained(tmp_path, config, GOOD, message_id="m-1")
    assert "write[2] (if what the database returns is so)" in explanation.lines


def test_a_case_has_its_division_and_the_external_id(tmp_path: Path) -> None:
    config = json.loads(json.dumps(SF))
    config["divisions"]["alone"]["case"]["external_id"] = {"field": "Message_Id__c", "value": "$message_id"}
    explanation, _ = explained(tmp_path, config, {"device": {"id": 7}}, queue="own", message_id="m-1")
    case = {"Subject": "Pump 7", "Message_Id__c": "m-1"}
    assert explanation.data == {"division": "alone", "cases": [case]}
    assert '  Message_Id__c  "m-1"  (the external id)' in explanation.lines


@pytest.mark.parametrize(("key", "order"), [("device.id", "key 7"), ("site", "messages without a key")])
def test_a_case_has_the_key_whose_order_is_kept(tmp_path: Path, key: str, order: str) -> None:
    config = json.loads(json.dumps(SF))
    config["divisions"]["alone"]["lanes"] = {"count": 4, "key": key}
    explanation, _ = explained(tmp_path, config, {"device": {"id": 7}}, queue="own")
    assert explanation.title == f"division alone would make one Case of it, in the order of {order}"
    assert explanation.data["key"] == (7 if key == "device.id" else None)


@pytest.mark.parametrize(
    ("given", "contact"),
    [
        ({}, '<Id of the Contact where Email = "a@b.c">'),
        ({"contact": "003000000000001AAA"}, "003000000000001AAA"),
        ({"Contact": None}, None),
        ({"Contact": "ambiguous"}, None),
    ],
)
def test_a_lookup_finds_what_is_given(tmp_path: Path, given: dict[str, Any], contact: str | None) -> None:
    config = json.loads(json.dumps(SF))
    lookup = {"lookup": "Contact", "where": {"Email": "mail"}}
    config["divisions"]["alone"]["case"]["mapping"]["ContactId"] = lookup
    body = {"device": {"id": 7}, "mail": "a@b.c"}
    explanation, _ = explained(tmp_path, config, body, Given(lookups=given), queue="own")
    assert explanation.data["cases"][0].get("ContactId") == contact


HOT, COLD = {"device": {"id": 7}, "t": 90}, {"device": {"id": 7}, "t": 5}


def test_a_message_that_is_left_out_is_told_with_the_condition_that_decides(tmp_path: Path) -> None:
    config = json.loads(json.dumps(SF))
    config["divisions"]["alone"] |= {"accept_when": {"t": {"gt": 80}}, "ignore_when": {"state": "test"}}
    cold, _ = explained(tmp_path, config, COLD, queue="own")
    assert (cold.title, cold.data) == ("would be ignored", {"ignored": "accept_when"})
    assert cold.lines == ["", 'accept_when does not hold: t is 5, not {"gt":80}']
    hot, _ = explained(tmp_path, config, HOT, queue="own")
    assert hot.lines[-1] == 'accept_when holds: t: {"gt":80}; ignore_when does not hold: state is missing, not "test"'
    mixed, _ = explained(tmp_path, config, [COLD, HOT, HOT | {"state": "test"}], queue="own")
    assert len(mixed.data["cases"]) == 1
    assert [line.partition(":")[0] for line in mixed.lines[-3:]] == ["record 0", "record 1", "record 2"]


def test_it_is_told_which_statement_a_condition_leaves_out(tmp_path: Path) -> None:
    config = json.loads(json.dumps(DB))
    del config["idempotency"]
    config["database"]["write"] = [
        {"statement": "INSERT INTO hot VALUES (:t)", "name": "hot", "when": {"t": {"gt": 80}}},
        {"statement": "INSERT INTO cold VALUES (:t)", "when": {"t": {"le": 80}}},
        {"statement": "INSERT INTO each VALUES (:t)"},
    ]
    explanation, _ = explained(tmp_path, config, HOT)
    assert explanation.lines[-3:] == [
        "",
        'hot: when holds: t: {"gt":80}',
        'write[1]: when does not hold: t is 90, not {"le":80}',
    ]
    several, _ = explained(tmp_path, config, [HOT, COLD])
    assert [line for line in several.lines if line.startswith("record 1: ")] == [
        'record 1: hot: when does not hold: t is 5, not {"gt":80}',
        'record 1: write[1]: when holds: t: {"le":80}',
    ]


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("ok", 'alarm alone:7: cleared: clear_when holds: state: "ok"'),
        ("hot", 'alarm alone:7: raised: clear_when does not hold: state is "hot", not "ok"'),
    ],
)
def test_it_is_told_what_a_message_does_to_its_alarm(tmp_path: Path, state: str, line: str) -> None:
    config = json.loads(json.dumps(SF))
    config["divisions"]["alone"]["case"]["alarm"] = {"key": "device.id", "clear_when": {"state": "ok"}}
    explanation, _ = explained(tmp_path, config, {"device": {"id": 7}, "state": state}, queue="own")
    assert explanation.lines[-1] == line
    rejected, _ = explained(tmp_path, config, {"name": "x", "state": state}, queue="own")
    assert rejected.rejection is not None


def test_the_rows_of_a_message_are_those_of_the_records_that_are_accepted(tmp_path: Path) -> None:
    config = {
        "database": {
            "connection": {"driver": "SQLite3", "database": "x"},
            "write": [{"statement": "INSERT INTO hot VALUES (:device, :n)", "values": {"n": "$index"}}],
        },
        "broker": {"source": {"queue": "q"}},
        "accept_when": {"t": {"gt": 80}},
    }
    body = [{"device": 1, "t": 5}, {"device": 2, "t": 90}]
    explanation, _ = explained(tmp_path, config, body)
    assert explanation.data["rows"] == {"write[0]": [{"device": 2, "n": 1}]}
    assert explanation.lines[-1] == 'record 1: accept_when holds: t: {"gt":80}'
    assert explained(tmp_path, config, body[:1])[0].data == {"ignored": "accept_when"}


SOURCE = Source("cases", "devices", "topic", ("alarm.#", "*.pump"))


@pytest.mark.parametrize(
    ("source", "exchange", "key", "taken"),
    [
        (SOURCE, "devices", "alarm", True),
        (SOURCE, "devices", "status.pump", True),
        (SOURCE, "devices", "status.door", False),
        (SOURCE, "others", "alarm", False),
        (SOURCE, "", "cases", True),
        (SOURCE, "", "alarm", False),
        (Source("q", "e", "direct", ("a",)), "e", "a", True),
        (Source("q", "e", "direct", ("a",)), "e", "b", False),
        (Source("q", "e", "fanout", ("",)), "e", "b", True),
    ],
)
def test_the_bindings_say_which_queue_takes_a_message(source: Source, exchange: str, key: str, taken: bool) -> None:
    assert takes(source, exchange, key) is taken


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (Decimal("1.50"), "1.50"),
        ("it's", "'it''s'"),
        (b"\x00\xff", "X'00ff'"),
        (["a", 1], "'[\"a\",1]'"),
    ],
)
def test_values_are_shown_as_in_sql(value: Any, text: str) -> None:
    assert literal(value) == text


def test_json_for_a_person_keeps_every_digit() -> None:
    value = {"a": [Decimal("1.500"), {}, []], "b": {"ü": "x\ny"}}
    assert json.loads(indented_json(value)) == {"a": [1.5, {}, []], "b": {"ü": "x\ny"}}
    assert "1.500" in indented_json(value)


def test_as_json_a_rejection_has_its_line(tmp_path: Path) -> None:
    explanation, place = explained(tmp_path, DB, {"id": 1}, message_id="m-1")
    found = as_json(explanation, place, "readings")
    assert found["queue"] == "readings"
    assert (found["rejected"]["code"], found["rejected"]["line"]) == ("missing-field", 1)

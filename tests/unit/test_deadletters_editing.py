"""Changes to a dead letter: what is named changes, the rest stays to the last digit."""

import json
from typing import Any

import pytest

from connectorlib.amqp.field_tables import field, kept, received
from deadletterqueue.changes import (
    chained,
    compile_changes,
    compile_patch,
    compile_set,
    compile_text,
    compile_unset,
    document_of,
    is_changed,
    text_of,
    with_document,
)
from deadletterqueue.letter import Letter
from deadletterqueue.target import Target, replayed
from tests.services.deadletters import dead, letter_of

XML = b'<?xml version="1.0" encoding="utf-8"?>\n<!-- kept -->\n<alarm id="7">\n  <device>p-1</device>\n</alarm>'


def of(body: bytes, **own: Any) -> Letter:
    return letter_of(dead(body, **own))


def changed(body: bytes, *assignments: str) -> bytes:
    return chained([compile_set(each) for each in assignments])(of(body)).delivery.body


@pytest.mark.parametrize(
    ("body", "assignment", "expected"),
    [
        (b'{"device":{"id":"p-1"},"n":1}', "device.id=p-7", b'{"device":{"id":"p-7"},"n":1}'),
        (b'{"id":"1"}', "id=2", b'{"id":"2"}'),  # a text stays a text
        (b'{"id":"1"}', "id=null", b'{"id":"null"}'),
        (b'{"id":1}', "id=2", b'{"id":2}'),
        (b'{"id":1}', "id=two", b'{"id":"two"}'),
        (b'{"id":null}', 'id={"a": [1.50]}', b'{"id":{"a":[1.50]}}'),
        (b'{"id":1}', "new=true", b'{"id":1,"new":true}'),
        (b'{"r":[{"v":1},{"v":2}]}', "r[1].v=3", b'{"r":[{"v":1},{"v":3}]}'),
        (b'{"r":[1,2]}', "r[-1]=3", b'{"r":[1,3]}'),
        (b'[{"id":1},{"id":2}]', "[0].id=9", b'[{"id":9},{"id":2}]'),
        (b'[{"id":1}]', "[0].id=9", b'[{"id":9}]'),  # a list of one stays a list
        (b'{"serial no":1}', '"serial no"=2', b'{"serial no":2}'),
        (b'{"a=b":1}', '"a=b"=2', b'{"a=b":2}'),
        (b'{"url":"x"}', "url=http://h/?a=b", b'{"url":"http://h/?a=b"}'),
        (b'{"id":1}', "$.id=2", b'{"id":2}'),
        (b'{"big":12345678901234567890.10,"id":1}', "id=2", b'{"big":12345678901234567890.10,"id":2}'),
    ],
)
def test_a_value_is_set_in_json(body: bytes, assignment: str, expected: bytes) -> None:
    assert changed(body, assignment) == expected


@pytest.mark.parametrize(
    ("body", "assignment", "why"),
    [
        (b'{"a":{}}', "a.b.c=1", "there is no a.b in the body"),
        (b'{"r":[1]}', "r[1]=2", r"there is no r\[1\] in the body"),
        (b'{"r":1}', "r[0]=2", r"there is no r\[0\] in the body"),
        (b'{"r":[1]}', "r.x=2", r"there is no r.x in the body"),
        (b"a|b|c", "a=1", "neither JSON nor XML"),
        (b'{"a":1,"a":2}', "a=1", "occurs twice"),
    ],
)
def test_what_is_not_there_cannot_be_set(body: bytes, assignment: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        changed(body, assignment)


@pytest.mark.parametrize("assignment", ["device", "=1", "a b=1", "$=1", "$now=1", "$headers=1", "$headers.a.b=1"])
def test_an_assignment_that_makes_no_sense_is_refused(assignment: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        compile_set(assignment)


@pytest.mark.parametrize(
    ("assignment", "old", "new"),
    [
        ("device=p-7", b"<device>p-1</device>", b"<device>p-7</device>"),
        ("device.#text=a<b&c", b"<device>p-1</device>", b"<device>a&lt;b&amp;c</device>"),
        ("@id=8", b'id="7"', b'id="8"'),
        ("device.@unit=bar", b"<device>", b'<device unit="bar">'),
    ],
)
def test_a_value_is_set_in_xml_and_its_layout_stays(assignment: str, old: bytes, new: bytes) -> None:
    assert changed(XML, assignment).replace(b"'", b'"') == XML.replace(old, new)


def test_names_in_xml_have_no_prefix_and_repeated_ones_an_index() -> None:
    body = b'<x:a xmlns:x="urn:x"><x:b>1</x:b><x:b>2</x:b></x:a>'
    assert changed(body, "b[1]=3") == b'<x:a xmlns:x="urn:x"><x:b>1</x:b><x:b>3</x:b></x:a>'
    with pytest.raises(ValueError, match="there are 2 of b"):
        changed(body, "b=3")


def test_xml_keeps_its_encoding() -> None:
    body = '<?xml version="1.0" encoding="iso-8859-1"?><a><b>é</b><c>1</c></a>'.encode("latin-1")
    assert "<b>é</b><c>ü</c>".encode("latin-1") in changed(body, "c=ü")


@pytest.mark.parametrize("body", [b"<!DOCTYPE a [<!ENTITY e 'x'>]><a><b>1</b></a>", b"<a><b>1</b>"])
def test_hostile_or_broken_xml_is_not_changed(body: bytes) -> None:
    with pytest.raises(ValueError, match="body"):
        changed(body, "b=2")


def test_headers_and_properties_are_set_from_the_dollar_on() -> None:
    letter = of(b"{}", headers={"division": "north", "n": 1}, message_id="m-1")
    edits = ["$headers.division=south", "$headers.n=2", "$headers.new=x", "$message_id=m-2", "$content_type=text/xml"]
    new = chained([compile_set(each) for each in edits])(letter)
    message = replayed(new, Target("", "readings"))
    own = {name: value for name, value in message.properties["headers"].items() if not name.startswith("dead-")}
    assert own == {"division": "south", "n": 2, "new": "x"}
    assert (message.properties["message_id"], message.properties["content_type"]) == ("m-2", "text/xml")
    assert letter.delivery.headers["division"] == "north"  # the original is as it was


# -- removal


def without(body: bytes, *paths: str) -> bytes:
    return chained([compile_unset(each) for each in paths])(of(body)).delivery.body


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b'{"device":{"id":"p-1","unit":"C"},"n":1.50}', "device.unit", b'{"device":{"id":"p-1"},"n":1.50}'),
        (b'{"a":null,"b":1}', "a", b'{"b":1}'),
        (b'{"a":{"b":1},"c":[]}', "a", b'{"c":[]}'),
        (b'{"r":[1,2,3]}', "r[1]", b'{"r":[1,3]}'),
        (b'{"r":[1,2,3]}', "r[-1]", b'{"r":[1,2]}'),
        (b'{"r":[{"v":1},{"v":2,"w":3}]}', "r[1].w", b'{"r":[{"v":1},{"v":2}]}'),
        (b'[{"id":1},{"id":2}]', "[0]", b'[{"id":2}]'),
        (b'{"serial no":1,"b":2}', ' "serial no" ', b'{"b":2}'),
        (b'{"id":1,"b":2}', "$.id", b'{"b":2}'),
        (XML, "@id", XML.replace(b' id="7"', b"")),
        (XML, "device", XML.replace(b"  <device>p-1</device>\n", b"")),
        (XML, "device.#text", XML.replace(b"<device>p-1</device>", b"<device/>")),
        (b"<a><b>1</b><c>2</c></a>", "b", b"<a><c>2</c></a>"),
        (b"<a>\n <b>1</b>\n <c>2</c>\n</a>", "b", b"<a>\n <c>2</c>\n</a>"),
        (b"<a>\n <b>1</b>\n <c>2</c>\n</a>", "c", b"<a>\n <b>1</b>\n</a>"),
        (b"<a>\n <c><b>1</b></c>\n <b>2</b><b>3</b>\n</a>", "b[1]", b"<a>\n <c><b>1</b></c>\n <b>2</b>\n</a>"),
        (b"<a>one<b/>two</a>", "b", b"<a>onetwo</a>"),
        (b"<a><!-- x -->one<b/> </a>", "b", b"<a><!-- x -->one </a>"),
        (b'<x:a xmlns:x="urn:x"><x:b x:c="1">2</x:b></x:a>', "b.@c", b'<x:a xmlns:x="urn:x"><x:b>2</x:b></x:a>'),
    ],
)
def test_a_value_is_removed_from_a_body_and_the_rest_stays(body: bytes, path: str, expected: bytes) -> None:
    assert without(body, path).replace(b"'", b'"') == expected


@pytest.mark.parametrize(
    ("body", "path", "why"),
    [
        (b'{"a":{}}', "a.b", "there is no a.b in the body"),
        (b'{"a":{}}', "a.b.c", "there is no a.b in the body"),
        (b'{"r":[1]}', "r[1]", r"there is no r\[1\] in the body"),
        (b'{"r":{"0":1}}', "r[0]", r"there is no r\[0\] in the body"),
        (b'{"r":[1]}', "r.x", "there is no r.x in the body"),
        (b'{"r":1}', "r.x", "there is no r.x in the body"),
        (b"a|b|c", "a", "neither JSON nor XML"),
        (XML, "gone", "there is no gone in the body"),
        (XML, "device.@gone", "there is no device.@gone in the body"),
        (b"<a><b/><b/></a>", "b", "there are 2 of b"),
        (b"<a><b/></a>", "b.#text", "there is no b.#text in the body"),
        (b"<a><b>x<c/></b></a>", "b.#text", "b.#text holds further elements"),
        (b"{}", "$headers.gone", "there is no header 'gone'"),
        (b"{}", "$reply_to", "there is no property 'reply_to'"),
        (b"{}", "$priority", "there is no property 'priority'"),
    ],
)
def test_what_is_not_there_cannot_be_removed(body: bytes, path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        without(body, path)


@pytest.mark.parametrize("path", ["", " ", "$", "a=1", "a b", "$now", "$headers", "$headers.a.b", "$message_id.x"])
def test_a_path_that_makes_no_sense_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        compile_unset(path)


@pytest.mark.parametrize("name", ["dead-code", "dead-replays", "x-death", "CC", "x-first-death-queue"])
def test_a_header_that_is_not_sent_back_is_not_to_be_changed(name: str) -> None:
    for compiled in (lambda: compile_set(f"$headers.{name}=x"), lambda: compile_unset(f"$headers.{name}")):
        with pytest.raises(ValueError, match="not sent back"):
            compiled()


def test_headers_and_properties_are_removed_from_the_dollar_on() -> None:
    own = {"message_id": "m-1", "reply_to": "q", "priority": 5, "content_type": "application/json"}
    letter = of(b"{}", headers={"division": "north", "n": field("b", 1), "a b": 1}, **own)
    paths = ["$headers.division", '$headers."a b"', "$reply_to", "$priority"]
    message = replayed(chained([compile_unset(each) for each in paths])(letter), Target("", "readings"))
    headers = {name: value for name, value in message.properties["headers"].items() if not name.startswith("dead-")}
    assert headers == {"n": field("b", 1)}
    assert {name for name in message.properties if name != "headers"} == {"message_id", "content_type"}
    assert letter.delivery.headers["division"] == "north"  # the original is as it was


def test_a_patch_comes_first_and_removal_last() -> None:
    patch = '[{"op": "move", "from": "/old", "path": "/new"}]'
    edit = compile_changes(patch, ["new=2", "other=3"], ["other"])
    assert edit(of(b'{"old":1}')).delivery.body == b'{"new":2}'


def test_a_letter_to_which_one_part_of_a_change_does_not_apply_is_not_changed() -> None:
    edit = compile_changes(None, ["$headers.site=south"], ["$headers.gone"])
    with pytest.raises(ValueError, match="there is no header 'gone'"):
        edit(of(b"{}", headers={"site": "north"}))


def test_a_json_patch_is_applied() -> None:
    patch = compile_patch(
        json.dumps(
            [
                {"op": "test", "path": "/device", "value": "p-1"},
                {"op": "replace", "path": "/device", "value": "p-7"},
                {"op": "add", "path": "/tags/-", "value": "x"},
                {"op": "remove", "path": "/old"},
            ]
        )
    )
    new = patch(of(b'{"device":"p-1","tags":[],"old":1,"amount":1.50}'))
    assert new.delivery.body == b'{"device":"p-7","tags":["x"],"amount":1.50}'


@pytest.mark.parametrize("text", ["{}", "no json", '[{"op": "jump", "path": "/a"}]', "[1]", '[{"op": "add"}]'])
def test_what_is_no_json_patch_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        compile_patch(text)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/device", "value": "p-2"},
        {"op": "remove", "path": "/gone"},
        {"op": "replace", "path": "/a/b/c", "value": 1},
        {"op": "add", "path": "/device/x", "value": 1},
    ],
)
def test_a_patch_that_does_not_apply_changes_nothing(operation: Any) -> None:
    patch = compile_patch(json.dumps([{"op": "add", "path": "/new", "value": 1}, operation]))
    letter = of(b'{"device":"p-1"}')
    with pytest.raises(ValueError, match="does not apply"):
        patch(letter)
    assert letter.delivery.body == b'{"device":"p-1"}'


# -- as a text

BODIES = {
    "JSON": b'{"id":1,"amount":1.50}',
    "JSON with a line end": b'{"id":1}\n',
    "XML": XML,
    "Windows": b"a|b\r\nc|d\r\n",
    "text with odd line ends": b"a\rb\x85c\xe2\x80\xa8d",
    "empty": b"",
    "with a mark of its own": b"--- body ---\n--- body, base64 ---\n# no comment\n",
    "binary": bytes(range(256)),
    "a byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("ended", [False, True])
def test_a_text_that_nobody_changed_is_the_letter_itself(body: bytes, ended: bool) -> None:
    letter = of(body, message_id="m-1", headers={"a": 1, "raw": b"\xff", "deep": {"x": [1, None]}})
    text = text_of(letter) + ("\n" if ended else "")
    assert not is_changed(letter, compile_text(text, letter))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_changed_headers_leave_the_body_as_it_is(body: bytes) -> None:
    letter = of(body, message_id="m-1", headers={"a": 1, "raw": b"\xff"})
    new = compile_text(text_of(letter).replace('"m-1"', '"m-2"'), letter)
    assert new.delivery.body == body
    assert new.delivery.properties.message_id == "m-2"
    assert dict(new.delivery.headers) == dict(letter.delivery.headers)


def test_headers_beside_a_changed_one_keep_their_types() -> None:
    numbers = {"short": field("s", 7), "double": field("d", 1.5), "raw": b"\xff", "n": 1}
    letter = of(b"{}", headers={"site": "north", **numbers})
    new = with_document(letter, document_of(letter).replace("north", "south"))
    before, after = (kept(each.delivery.headers) for each in (letter, new))
    assert kept(received({name: after[name] for name in numbers})) == kept(received(numbers))
    assert after.keys() == before.keys()
    assert new.delivery.headers["site"] == "south"
    assert new.delivery.headers["dead-code"] == "22001"


def test_a_changed_body_is_taken_as_it_is_written() -> None:
    letter = of(b"<a>1</a>")
    new = compile_text(text_of(letter).replace("<a>1</a>", "<a>\n2</a>") + "\n", letter)
    assert new.delivery.body == b"<a>\n2</a>"


def test_a_header_can_be_taken_away_and_what_says_why_it_died_cannot() -> None:
    letter = of(b"{}", headers={"division": "north"})
    text = text_of(letter)
    assert "dead-code" not in text.partition("{")[2]
    new = compile_text(text.replace('"division": "north"', ""), letter)
    assert "division" not in new.delivery.headers
    assert (new.delivery.headers["dead-code"], new.replays, new.queue) == ("22001", 0, "readings")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("--- body ---", "", "is missing"),
        ('"headers": {}', '"headers": {', "properties and headers"),
        ('"headers": {}', '"headers": []', "properties and headers"),
        ('"properties": {}', '"properties": {"colour": "red"}', "colour"),
        ('"properties": {}', '"properties": {"priority": "high"}', "priority has to be a whole number from 0 to 255"),
        ('"properties": {}', '"properties": {"priority": 256}', "from 0 to 255"),
        ('"properties": {}', '"properties": {"priority": true}', "from 0 to 255"),
        ('"properties": {}', '"properties": {"timestamp": -1}', "timestamp has to be"),
        ('"properties": {}', '"properties": {"message_id": 7}', "message_id has to be a text"),
        ('"properties": {}', '"properties": {"message_id": "' + "ü" * 128 + '"}', "at most 255 bytes"),
        ('"headers": {}', '"headers": {"n": 99999999999999999999}', "cannot be sent"),
        ('"headers": {}', '"headers": {"n": {"$int16": 70000}}', "properties and headers"),
    ],
)
def test_a_text_that_makes_no_sense_says_why(old: str, new: str, why: str) -> None:
    letter = of(b"{}")
    assert old in text_of(letter)
    with pytest.raises(ValueError, match=why):
        compile_text(text_of(letter).replace(old, new), letter)


def test_an_empty_text_changes_nothing() -> None:
    letter = of(b"{}")
    assert compile_text(" \n", letter) is letter


def test_the_reasons_cannot_break_out_of_their_comments() -> None:
    letter = letter_of(dead(b"{}", text="bad\n--- body ---\n\x1b[31m{}"))
    assert not is_changed(letter, compile_text(text_of(letter) + "\n", letter))
    assert "\x1b" not in text_of(letter)

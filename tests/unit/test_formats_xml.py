"""XML bodies: the same tree as JSON, and nothing hostile."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits

LIMITS = Limits(body_bytes=200_000, records=100, depth=8)
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def form(limits=LIMITS, **settings):
    return compile_format({"type": "xml", **settings}, limits)


def decode(body, **settings):
    return form(**settings).decode(body if isinstance(body, bytes) else body.encode())


def refusal(body, **settings):
    with pytest.raises(Failed) as caught:
        decode(body, **settings)
    failure = caught.value.failure
    assert failure.kind is Kind.REJECT
    assert len(failure.text) <= 200
    assert failure.text.isprintable()
    return failure


@pytest.mark.parametrize(
    ("body", "record"),
    [
        ("<r><a>1</a><b>x</b></r>", {"a": "1", "b": "x"}),
        ("<r><a/><b></b></r>", {"a": "", "b": ""}),
        ("<r><a> x\n </a></r>", {"a": " x\n "}),
        ("<r><a>  </a></r>", {"a": "  "}),
        ('<r id="7"><a unit="C">5</a></r>', {"@id": "7", "a": {"@unit": "C", "#text": "5"}}),
        ('<r><a unit="C"/></r>', {"a": {"@unit": "C"}}),
        ('<r><a unit="C"> </a></r>', {"a": {"@unit": "C", "#text": " "}}),
        ("<r>\n  <a>1</a>\n</r>", {"a": "1"}),
        ("<r>x<a>1</a>y</r>", {"a": "1", "#text": "xy"}),
        ("<r><a>1</a><b>2</b><a>3</a><a/></r>", {"a": ["1", "3", ""], "b": "2"}),
        ("<r><a><b><c>1</c></b></a></r>", {"a": {"b": {"c": "1"}}}),
        (
            '<p:r xmlns:p="urn:x" xmlns="urn:y"><p:a p:k="v">1</p:a><b/></p:r>',
            {"a": {"@k": "v", "#text": "1"}, "b": ""},
        ),
        (f'<r {XSI}><a xsi:nil="true"/><b xsi:nil=" 1 "></b></r>', {"a": None, "b": None}),
        (f'<r {XSI}><a xsi:nil="false">x</a><b xsi:nil="0"/></r>', {"a": "x", "b": ""}),
        (f'<r {XSI}><a xsi:nil="true" why="x"/></r>', {"a": None}),
        (f'<r {XSI}><a xsi:type="int">5</a></r>', {"a": {"@type": "int", "#text": "5"}}),
        ("<r><a>x<!-- c -->y<?pi z?>z</a></r>", {"a": "xyz"}),
        ("<r><a><![CDATA[<b>&amp;]]></a></r>", {"a": "<b>&amp;"}),
        ("<r><a>&lt;&amp;&#233;&#x1F600;</a></r>", {"a": "<&é😀"}),
        ("<r><a>x\r\ny&#13;z</a></r>", {"a": "x\ny\rz"}),
        ("<r><serial_x0020_no>1</serial_x0020_no></r>", {"serial no": "1"}),
        ("<r><a_x0000_>1</a_x0000_></r>", {"a_x0000_": "1"}),
        ("<r>21.5</r>", "21.5"),
        ("<r/>", {}),
        ("<größe><ä>1</ä></größe>", {"ä": "1"}),
    ],
)
def test_a_document_becomes_the_same_tree_as_json(body, record):
    assert decode(body) == [record]


@pytest.mark.parametrize(
    "body",
    [
        '<?xml version="1.0" encoding="iso-8859-1"?><r><a>é</a></r>'.encode("latin-1"),
        '<?xml version="1.0" encoding="utf-16"?><r><a>é</a></r>'.encode("utf-16"),
        "\ufeff<r><a>é</a></r>".encode(),
        '<?xml version="1.0"?>\n<r><a>é</a></r>\n'.encode(),
    ],
)
def test_the_declared_encoding_is_read(body):
    assert decode(body) == [{"a": "é"}]


def test_record_names_the_root_or_its_children():
    row = "<row><a>1</a></row>"
    assert decode(row, record="row") == [{"a": "1"}]
    assert decode(f"<rows><head/>{row}{row}</rows>", record="row") == [{"a": "1"}, {"a": "1"}]
    assert decode(f"<rows>{row}</rows>", root="rows", record="row") == [{"a": "1"}]
    assert decode(row, root="rows", record="row") == [{"a": "1"}]
    assert decode("<rows/>", root="rows", record="row") == []
    assert decode("<rows/>", record="row") == []
    assert decode(f'<rows {XSI}><row xsi:nil="true"/><row/></rows>', record="row") == [None, {}]


@pytest.mark.parametrize(
    ("body", "settings", "text"),
    [
        ("<x><row/></x>", {"root": "rows", "record": "row"}, "the root is <x>, neither <rows> nor <row>"),
        ("<rows><rwo/></rows>", {"root": "rows", "record": "row"}, "no <row> in <rows>"),
        ("<x/>", {"record": "row"}, "no <row> in <x>"),
        ("<x><a><row/></a></x>", {"record": "row"}, "no <row> in <x>"),
        ("<x/>", {"root": "rows"}, "the root is <x>, not <rows>"),
    ],
)
def test_a_document_with_other_elements_is_not_decodable(body, settings, text):
    failure = refusal(body, **settings)
    assert failure.code == "not-decodable"
    assert failure.text == text


BILLION_LAUGHS = (
    '<!DOCTYPE r [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><r>&i;</r>"
)
QUADRATIC = '<!DOCTYPE r [<!ENTITY a "' + "x" * 10_000 + '">]><r>' + "&a;" * 10_000 + "</r>"


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "<r>",
        "<r></s>",
        "<r/><r/>",
        "text",
        "{}",
        "<r a='1' a='2'/>",
        "<r a=1/>",
        "<r>&nbsp;</r>",
        "<r>\x00</r>",
        "<r>\x01</r>",
        "<r>&#0;</r>",
        "<r>&#xD800;</r>",
        "<r>]]></r>",
        "<p:r/>",
        "<r>" + "\ufffe" + "</r>",
        b"<r>\xff</r>",
        b"<r>\xed\xa0\x80</r>",
        b'<?xml version="1.0" encoding="no-such"?><r/>',
        b'<?xml version="1.0" encoding="utf-16"?><r/',
        "<!DOCTYPE r><r/>",
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><r/>',
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
        '<!DOCTYPE r [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><r/>',
        '<!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>',
        pytest.param(BILLION_LAUGHS, id="billion laughs"),
        pytest.param(QUADRATIC, id="quadratic blow-up"),
        f'<r {XSI}><a xsi:nil="true">x</a></r>',
        '<r xmlns:p="urn:p" xmlns:q="urn:q" p:a="1" q:a="2"/>',
    ],
)
def test_what_is_broken_or_hostile_is_not_decodable(body):
    assert refusal(body).code == "not-decodable"


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        pytest.param("<a>" * 9 + "</a>" * 9, {}, id="9 levels"),
        pytest.param("<a>" * 250 + "</a>" * 250, {}, id="250 levels"),
        pytest.param("<a>" * 20_000 + "</a>" * 20_000, {}, id="20000 levels"),
        pytest.param("<rows>" + "<row/>" * 101 + "</rows>", {"record": "row"}, id="101 records"),
        pytest.param("<r " + " ".join(f'a{n}=""' for n in range(257)) + "/>", {}, id="257 attributes"),
        pytest.param("<r>" + "x" * 200_000 + "</r>", {}, id="bytes"),
    ],
)
def test_what_is_too_large_is_refused_as_such(body, settings):
    assert refusal(body, **settings).code == "too-large"


def test_xinclude_and_stylesheets_are_only_text():
    body = (
        '<?xml-stylesheet href="file:///etc/passwd"?><r xmlns:x="http://www.w3.org/2001/XInclude">'
        '<x:include href="file:///etc/passwd" parse="text"/></r>'
    )
    assert decode(body) == [{"include": {"@href": "file:///etc/passwd", "@parse": "text"}}]


def test_rows_are_written_as_elements():
    row = {"a": Decimal("1.10"), "b": None, "c": "", "d": True, "e": datetime(2024, 5, 1, tzinfo=UTC), "f": b"\xff"}
    body = form(record="row").encode([row]).decode()
    assert body.split("\n", 1)[1] == (
        f'<row {XSI}><a>1.10</a><b xsi:nil="true"/><c></c><d>true</d><e>2024-05-01T00:00:00+00:00</e><f>/w==</f></row>'
    )


@pytest.mark.parametrize(
    ("settings", "rows", "text"),
    [
        ({"record": "row"}, [{"a": 1}], "<row><a>1</a></row>"),
        ({"record": "row"}, [{"a": 1}, {"a": 2}], "<rows><row><a>1</a></row><row><a>2</a></row></rows>"),
        ({"record": "rows"}, [{"a": 1}, {"a": 2}], "<records><rows><a>1</a></rows><rows><a>2</a></rows></records>"),
        ({"root": "all", "record": "row"}, [{"a": 1}], "<all><row><a>1</a></row></all>"),
        ({"root": "all", "record": "row"}, [], "<all/>"),
        ({}, [{"a": 1}], "<row><a>1</a></row>"),
        ({"root": "one"}, [{"a": 1}], "<one><a>1</a></one>"),
    ],
)
def test_what_is_written_reads_back_whatever_the_number_of_rows(settings, rows, text):
    body = form(**settings).encode(rows)
    assert body.decode().split("\n", 1)[1] == text
    assert decode(body, **settings) == [{"a": str(row["a"])} for row in rows]


@pytest.mark.parametrize(
    "text", ["\r", "a\r\nb", " lead", "trail ", "\n", "\t", "", "]]>", "<&>'\"", "é😀\u0085\u2028"]
)
def test_every_text_that_xml_can_hold_reads_back(text):
    xml = form(record="row")
    assert xml.decode(xml.encode([{"a": text}])) == [{"a": text}]


@pytest.mark.parametrize(
    "name",
    [
        "serial no",
        "1st",
        "a:b",
        "@id",
        "#text",
        "_x0020_",
        "a_x",
        "_xABCD_x",
        "größe",
        "温度",
        "a😀",
        "-",
        ".",
        "xml",
        "\t",
    ],
)
def test_every_column_name_reads_back(name):
    xml = form(record="row")
    assert xml.decode(xml.encode([{name: "v"}])) == [{name: "v"}]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"a": "x\x00"}, "column 'a': a control character, which XML cannot hold"),
        ({"a": "\x0b"}, "column 'a': a control character"),
        ({"a": "\ufffe"}, "column 'a': a control character"),
        ({"a": "\ud800"}, "column 'a': half a character"),
        ({"a": float("nan")}, "column 'a': nan is not a number"),
        ({"a": {"b": 1}}, "column 'a': an object is not one value"),
        ({"a": [1]}, "column 'a': a list is not one value"),
        ({"": 1}, "a column with the name ''"),
        ({"\ud800": 1}, "half a character"),
    ],
)
def test_what_xml_cannot_carry_is_not_encodable_and_names_the_column(row, text):
    with pytest.raises(Failed) as caught:
        form(record="row").encode([row])
    assert caught.value.failure.code == "not-encodable"
    assert text in caught.value.failure.text


def test_several_rows_need_the_name_of_a_record():
    with pytest.raises(Failed, match=r"need format\.record"):
        form().encode([{"a": 1}, {"a": 2}])


@pytest.mark.parametrize("settings", [{"record": "a b"}, {"root": ""}, {"root": 5}, {"root": "x", "record": "x"}])
def test_bad_names_in_the_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"root|record"):
        form(**settings)

"""JSON, XML, delimited text and CBOR, both ways: what select writes, subscribe reads back to the same values."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e import exact
from tests.e2e.conftest import EACH_DRIVER, Connector, reading
from tests.services.waiting import eventually

FORMATS: dict[str, dict[str, Any]] = {
    "json": {"type": "json"},
    "xml": {"type": "xml", "root": "rows", "record": "row"},
    "delimited": {"type": "delimited", "delimiter": "|", "columns": ["id", *exact.COLUMNS]},
    "cbor": {"type": "cbor"},
}
CONTENT_TYPES = {
    "json": "application/json",
    "xml": "application/xml",
    "delimited": "text/plain; charset=utf-8",
    "cbor": "application/cbor",
}

#: The one thing of all that a format cannot say.
CONTROL = {text for text in exact.TEXTS if "\x01" in text}


class Encoded(bytes):
    """A value of CBOR as it stands in the body."""


def cbor(value: Any) -> bytes:
    """Return a body, made without the library that reads it."""
    if isinstance(value, Encoded):
        return value
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return b"\x1a" + value.to_bytes(4)
    kind, content = b"\x9a", value
    if isinstance(value, str | bytes):
        kind, content = (b"\x7a", value.encode()) if isinstance(value, str) else (b"\x5a", value)
        return kind + len(content).to_bytes(4) + content
    if isinstance(value, dict):
        kind, content = b"\xba", [part for pair in value.items() for part in pair]
    return kind + len(value).to_bytes(4) + b"".join(map(cbor, content))


#: One message of three records each, as others write them.
SEVERAL = {
    "json": b"""[
        {"id": 9001, "word": "one", "short": "", "amount": 1.10, "whole": 7, "fraction": null, "truth": true,
         "moment": "2026-11-24T01:02:03", "zoned": null, "day": null, "hour": null, "data": "AAE="},
        {"id": 9002, "word": "zw\\u00f6lf \\ud83e\\udd89", "short": null, "amount": null, "whole": null,
         "fraction": 2.5, "truth": false, "moment": null, "zoned": null, "day": "2026-11-24", "hour": null,
         "data": null},
        {"id": 9003, "word": null, "short": null, "amount": null, "whole": null, "fraction": null, "truth": null,
         "moment": null, "zoned": null, "day": null, "hour": null, "data": ""}
    ]""",
    "xml": """<?xml version="1.0" encoding="ISO-8859-1"?>
        <p:rows xmlns:p="urn:plant" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><!-- from line 3 -->
          <p:row><id>9001</id><word>one</word><short/><amount>1.10</amount><whole>7</whole>
            <fraction xsi:nil="true"/><truth>true</truth><moment>2026-11-24T01:02:03</moment><zoned xsi:nil="true"/>
            <day xsi:nil="1"/><hour xsi:nil="true"/><data>AAE=</data></p:row>
          <p:row><id>9002</id><word><![CDATA[zwölf ]]>&#x1F989;</word><short xsi:nil="true"/><amount xsi:nil="true"/>
            <whole xsi:nil="true"/><fraction>2.5</fraction><truth>false</truth><moment xsi:nil="true"/>
            <zoned xsi:nil="true"/><day>2026-11-24</day><hour xsi:nil="true"/><data xsi:nil="true"/></p:row>
          <p:row><id>9003</id><word xsi:nil="true"/><short xsi:nil="true"/><amount xsi:nil="true"/>
            <whole xsi:nil="true"/><fraction xsi:nil="true"/><truth xsi:nil="true"/><moment xsi:nil="true"/>
            <zoned xsi:nil="true"/><day xsi:nil="true"/><hour xsi:nil="true"/><data></data></p:row>
        </p:rows>""".encode("latin-1"),
    "delimited": '9001|"one"|""|1.10|7||true|2026-11-24T01:02:03||||AAE=\r\n9002|zwölf 🦉|||||'.replace(
        "|||||", "||||2.5|"
    ).encode()
    + b'false|||2026-11-24||\r\n9003|||||||||||""',
    "cbor": cbor(
        [
            dict.fromkeys(["id", *exact.COLUMNS]) | record
            for record in (
                {"id": 9001, "word": "one", "short": "", "amount": Encoded(b"\xc4\x82\x21\x18\x6e"), "whole": 7}
                | {"truth": True, "moment": "2026-11-24T01:02:03", "data": b"\0\1"},
                {"id": 9002, "word": "zwölf 🦉", "fraction": Encoded(b"\xf9\x41\x00"), "truth": False}
                | {"day": Encoded(b"\xd9\x03\xec\x6a2026-11-24")},
                {"id": 9003, "data": b""},
            )
        ]
    ),
}
WRITTEN: dict[int, dict[str, Any]] = {
    9001: {
        "word": "one",
        "short": "",
        "amount": exact.stored("amount", "1.10"),
        "whole": 7,
        "truth": True,
        "moment": exact.stored("moment", "2026-11-24T01:02:03"),
        "data": b"\0\1",
    },
    9002: {"word": "zwölf 🦉", "fraction": 2.5, "truth": False, "day": exact.stored("day", "2026-11-24")},
    9003: {"data": b""},
}


@EACH_DRIVER
@pytest.mark.parametrize("kind", FORMATS)
def test_what_select_writes_subscribe_reads_back_to_the_same_values(connector: Connector, kind: str) -> None:
    database = connector.database
    exact.create(database, "sent")
    exact.create(database, "received")
    database.execute("CREATE TABLE failed (id integer, reason varchar(500))")
    wanted = exact.fill(database, "sent")
    connector.vhost.declare_queue("readings", "rows", "#")
    connector.vhost.declare_queue("copies", "rows", "#")
    connector.configure(
        database={
            "select": {
                "query": f"SELECT id, {', '.join(exact.COLUMNS)} FROM sent",
                "on_failed": "INSERT INTO failed (id, reason) VALUES (:id, :error)",
                "key": ["id"],
            }
        },
        write=[{"statement": exact.insert("received"), "values": {"data": {"path": "data", "type": "base64"}}}],
        broker={"destination": {"exchange": "rows", "routing_key": "row"}, "source": {"queue": "readings"}},
        format=FORMATS[kind],
    )
    done = connector.run("select", "-c", str(connector.file))
    assert done.returncode == 0, done.stderr
    connector.publish(SEVERAL[kind])
    failed = dict(database.rows("SELECT id, reason FROM failed"))
    control = (
        {id for id, values in wanted.items() if CONTROL & set(map(str, values.values()))} if kind == "xml" else set()
    )
    assert failed.keys() == control, failed
    assert all("': a control character, which XML cannot hold" in reason for reason in failed.values())

    expected = {id: values for id, values in wanted.items() if id not in failed} | WRITTEN
    with connector.subscribed():
        eventually(lambda: connector.vhost.depth("readings") == 0 and written(connector) >= len(expected), 30)
    assert [(body[:80], headers["dead-text"]) for body, headers in dead(connector)] == []
    assert exact.differences(exact.rows(database, "received"), expected) == []
    assert {properties.content_type for _, properties, _ in connector.vhost.get_all("copies")} == {CONTENT_TYPES[kind]}


def dead(connector: Connector) -> list[tuple[bytes, dict[str, Any]]]:
    return connector.dead() if connector.vhost.exists("dead-letter") else []


def written(connector: Connector) -> int:
    letters = connector.vhost.depth("dead-letter") if connector.vhost.exists("dead-letter") else 0
    return connector.database.count("received") + letters


# --- what is no message ----------------------------------------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
DEEP = 100_000
HOSTILE: dict[str, list[tuple[bytes, str]]] = {
    "json": [
        (b"", "empty"),
        (b'{"id": 1, "device": "p-1"', "line 1 column 26"),
        (b'{"id": 1, "device": "p-1", "value": 1} {}', "behind the value"),
        (b"{'id': 1}", "double quotes"),
        (b'{"id": 1, "device": "\xff", "value": 1}', "position 21"),
        ('{"id": 1, "device": "p-1", "value": 1}'.encode("utf-16"), "utf-8"),
        (b'{"id": 1, "id": 2, "device": "p-1", "value": 1}', "'id' occurs twice"),
        (b'{"id": 1, "device": "p-1", "value": NaN}', "NaN"),
        (b'{"id": 1, "device": "p-1", "value": -Infinity}', "Infinity"),
        (b'{"id": 1, "device": "p-1", "value": 1e400}', "1e400"),
        (b'{"id": 1, "device": "p-1", "value": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"id": 1, "device": "\\ud800", "value": 1}', "half a character"),
        (b'{"id": 1, "device": "a\\u0000b", "value": 1}', "NUL"),
        (b'{"id": 1, "device": "p-1", "value": 1, "more": ' + b"[" * 65 + b"]" * 65 + b"}", "limits.depth"),
        (b"[" * DEEP, "limits.depth"),
        (b'{"id": 1, "device": "' + b"x" * 300_000 + b'", "value": 1}', "limits.body_bytes is 200000"),
        (b"[" + b"{}," * 200 + b"{}]", "limits.records is 100"),
    ],
    "xml": [
        (b"", "empty"),
        (b"<rows><row><id>1</id></row>", "line 1"),
        (b"<row><id>1</id></row><row/>", "Extra content"),
        (b"id,device\n1,p-1\n", "'<' not found"),
        (b"<row><id>\xff</id></row>", "character encoding|UTF-8"),
        (b'<?xml version="1.0" encoding="klingon"?><row/>', "klingon"),
        (b"<row><id>1</id><device>&who;</device></row>", "who"),
        (b"<row><id>1</id><device>&#0;</device></row>", "invalid xmlChar value 0"),
        (b"<other><row><id>1</id></row></other>", "<other>, neither <rows> nor <row>"),
        (b'<!DOCTYPE row SYSTEM "http://127.0.0.1:9/x.dtd"><row><id>1</id></row>', "DOCTYPE"),
        (b'<!DOCTYPE row [<!ENTITY x SYSTEM "file://SECRET">]><row><device>&x;</device></row>', "DOCTYPE"),
        (b'<!DOCTYPE row [<!ENTITY % x SYSTEM "file://SECRET">%x;]><row/>', "DOCTYPE"),
        (
            f'<!DOCTYPE r [<!ENTITY l0 "lol">{LAUGHS}]><row><device>&l9;</device></row>'.encode(),
            "DOCTYPE|amplification",
        ),
        (b"<row>" + b"<a>" * 65 + b"</a>" * 65 + b"</row>", "limits.depth"),
        (b"<row>" * (DEEP // 5), "limits.depth"),
        (b"<row " + b" ".join(b'a%d="1"' % n for n in range(1000)) + b"/>", "1000 attributes"),
        (b"<row><device>" + b"x" * 300_000 + b"</device></row>", "limits.body_bytes is 200000"),
        (b"<rows>" + b"<row/>" * 200 + b"</rows>", "limits.records is 100"),
    ],
    "delimited": [
        (b"", "empty"),
        (b"1|p-1|1.5|more\n", "record 1: 3 fields expected, 4 found"),
        (b"1|p-1|1.5\n2|p-2\n", "record 2: 3 fields expected, 2 found"),
        (b"1|p-1|1.5\n\n", "record 2: 3 fields expected, 1 found (an empty line)"),
        (b'1|"p-1|1.5\n', "record 1, field 2"),
        (b'1|"p-"1|1.5\n', "record 1, field 2"),
        (b"1|\xff|1.5\n", "position 2"),
        (b"1|a\0b|1.5\n", "NUL"),
        (b"1|p-1|" + b"x" * 300_000 + b"\n", "limits.body_bytes is 200000"),
        (b"1|p-1|1.5\n" * 200, "limits.records is 100"),
    ],
    "cbor": [
        (b"", "empty"),
        (b"\xa1\x62id", "premature end"),
        (b"\xa1\x62id\x01\x02", "1 bytes behind the value"),
        (b"\xa2\x62id\x01\x62id\x02", "Duplicate map key"),
        (b"\xa1\x65value\xf9\x7e\x00", "nan is no number"),
        (b"\x9f" * DEEP, "limits.depth"),
        (b"\x9a\x00\x00\x00\x65" + b"\xa0" * 101, "limits.records is 100"),
        (cbor("x" * 300_000), "limits.body_bytes is 200000"),
        (b"\xd8\x23\x61a", "tag 35 is not accepted"),
    ],
}
GOOD = {
    "json": reading(7),
    "xml": b"<rows><row><id>7</id><device>p-1</device><value>1.5</value></row></rows>",
    "delimited": b"7|p-1|1.5",
    "cbor": cbor({"id": 7, "device": "p-1", "value": Encoded(b"\xf9\x3e\x00")}),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_body_that_is_no_message_is_a_dead_letter_that_says_why(on_sqlite: Connector, kind: str) -> None:
    secret = on_sqlite.folder / "secret"
    secret.write_text("do not tell")
    columns = {"columns": ["id", "device", "value"]} if kind == "delimited" else {}
    on_sqlite.configure(format=FORMATS[kind] | columns, limits={"body_bytes": 200_000, "records": 100})
    on_sqlite.vhost.declare_queue("readings")
    bodies = [(body.replace(b"SECRET", bytes(secret)), words) for body, words in HOSTILE[kind]]
    on_sqlite.publish(*[body for body, _ in bodies], GOOD[kind])
    with on_sqlite.subscribed() as running:
        eventually(lambda: on_sqlite.vhost.depth("dead-letter") + on_sqlite.database.count("reading") > len(bodies), 30)
    assert on_sqlite.database.rows("SELECT id FROM reading") == [(7,)]
    letters = on_sqlite.dead()
    assert [body for body, _ in letters] == [body for body, _ in bodies]
    for (_, headers), (body, words) in zip(letters, bodies, strict=True):
        check(headers, body, words)
    assert "do not tell" not in running.log


def check(headers: Mapping[str, Any], body: bytes, words: str) -> None:
    text = str(headers["dead-text"])
    code = "too-large" if "limits." in words or "attributes" in words else "not-decodable"
    assert (headers["dead-reason"], headers["dead-code"], headers["dead-detail"]) == ("reject", code, "format"), text
    assert any(word in text for word in words.split("|")), (body[:80], text)
    assert len(text) <= 200
    assert "do not tell" not in str(headers)

"""Hostile bodies and properties end in the dead-letter queue and stay there; their neighbours are written."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pika
import pytest

from connectorlib.errors import Failed
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits
from tests.corpus import attacks, vectors
from tests.e2e.conftest import Connector, Running, reading
from tests.services.waiting import eventually

NO = "not-decodable"
LARGE = "too-large"

JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", NO),
    "cut short": (b'{"id": 1,', NO),
    "not JSON": (b"id=1", NO),
    "two values": (b'{"id": 1}{"id": 2}', NO),
    "NaN": (b'{"id": 1, "device": "a", "value": NaN}', NO),
    "minus infinity": (b'{"id": 1, "device": "a", "value": -Infinity}', NO),
    "1e400": (b'{"id": 1, "device": "a", "value": 1e400}', NO),
    "a number of 5000 digits": (b'{"id": 1, "device": "a", "value": ' + b"9" * 5000 + b"}", NO),
    "half a character": (rb'{"id": 1, "device": "\ud800", "value": 1}', NO),
    "NUL": (rb'{"id": 1, "device": "a\u0000b", "value": 1}', NO),
    "one name twice": (b'{"id": 1, "id": 2, "device": "a", "value": 1}', NO),
    "not UTF-8": (b'{"id": 1, "device": "\xff", "value": 1}', NO),
    "UTF-16": ('{"id": 1, "device": "a", "value": 1}'.encode("utf-16"), NO),
    "100,000 deep": (b"[" * 100_000 + b"]" * 100_000, LARGE),
    "100,000 objects deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, LARGE),
    "2 MiB": (b'{"id": 1, "device": "' + b"a" * 2**21 + b'"}', LARGE),
    "20,000 records": (b"[" + b",".join([b'{"id":1}'] * 20_000) + b"]", LARGE),
    "null": (b"null", "missing-field"),
    "a text": (b'"id"', "missing-field"),
    "no field": (b'{"id": 1, "devcie": "a", "value": 1}', "missing-field"),
    "an object for a number": (b'{"id": {"$gt": 0}, "device": "a", "value": 1}', "bad-value"),
    "a list of 2 records, one bad": (b'[{"id": 900, "device": "a", "value": 1}, {"id": 901}]', "missing-field"),
}
LAUGHS = '<!DOCTYPE r [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
XML: dict[str, tuple[bytes, str]] = {
    "empty": (b"", NO),
    "cut short": (b"<r><id>1</id>", NO),
    "JSON": (reading(1), NO),
    "XXE": (b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><id>1</id><device>&x;</device></r>', NO),
    "XXE by parameter": (b'<!DOCTYPE r [<!ENTITY % x SYSTEM "file:///etc/passwd">%x;]><r><id>1</id></r>', NO),
    "a DTD from elsewhere": (b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><r><id>1</id></r>', NO),
    "entity bomb": (f"{LAUGHS}]><r><id>1</id><device>&i;</device></r>".encode(), NO),
    "unknown entity": (b"<r><id>1</id><device>&nope;</device></r>", NO),
    "a character that XML has not": (b"<r><id>1</id><device>&#0;</device></r>", NO),
    "10,000 deep": (b"<r>" * 10_000 + b"</r>" * 10_000, LARGE),
    "2 MiB": (b"<r><device>" + b"a" * 2**21 + b"</device></r>", LARGE),
    "one attribute twice": (b'<r a="1" a="2"><id>1</id></r>', NO),
    "no element": (b"<r><id>1</id><value>1</value></r>", "missing-field"),
    "an element twice": (b"<r><id>1</id><id>2</id><device>a</device><value>1</value></r>", "bad-value"),
}
DELIMITED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", NO),
    "too few fields": (b"1|a\n", NO),
    "too many fields": (b"1|a|2|3\n", NO),
    "an open quote": (b'1|"a|2\n', NO),
    "text behind a quote": (b'1|"a"b|2\n', NO),
    "NUL": (b"1|a\x00|2\n", NO),
    "not UTF-8": (b"1|\xff|2\n", NO),
    "2 MiB": (b"1|" + b"a" * 2**21 + b"|2\n", LARGE),
    "20,000 records": (b"1|a|2\n" * 20_000, LARGE),
}


def expect_dead(connector: Connector, cases: dict[str, tuple[bytes, str]], good: list[bytes]) -> None:
    """Publish each case between two good ones; wait for all; compare the codes and bodies of the dead letters."""
    connector.vhost.declare_queue("readings")
    messages: list[Any] = []
    for number, (name, (body, _)) in enumerate(cases.items()):
        messages += [good[number], (body, {"message_id": name})]
    connector.vhost.publish("", "readings", [*messages, good[len(cases)]])
    with connector.subscribed() as running:
        eventually(lambda: connector.database.count("reading") == len(cases) + 1, 40)
        eventually(lambda: connector.vhost.depth("dead-letter") == len(cases))
        assert "PAUSED" not in running.log
    letters = {properties.message_id: (body, properties.headers) for _, properties, body in taken(connector)}
    assert {name: headers["dead-code"] for name, (_, headers) in letters.items()} == {
        name: code for name, (_, code) in cases.items()
    }
    for name, (body, headers) in letters.items():
        assert body == cases[name][0]
        assert headers["dead-reason"] == "reject"
        assert headers["dead-text"]
    assert connector.vhost.depth("readings") == 0


def taken(connector: Connector) -> list[Any]:
    return connector.vhost.get_all("dead-letter")


def test_hostile_json(on: Any) -> None:
    connector = on("postgres_db")
    connector.configure()
    expect_dead(connector, JSON, [reading(n) for n in range(1, 100)])


def test_hostile_xml(on: Any) -> None:
    connector = on("maria_db")
    connector.configure(format={"type": "xml", "record": "r"})
    good = [f"<r><id>{n}</id><device>p-1</device><value>1.5</value></r>".encode() for n in range(1, 100)]
    expect_dead(connector, XML, good)


def test_hostile_delimited(on: Any) -> None:
    connector = on("sqlite_db")
    connector.configure(format={"type": "delimited", "delimiter": "|", "columns": ["id", "device", "value"]})
    expect_dead(connector, DELIMITED, [f"{n}|p-1|1.5\n".encode() for n in range(1, 100)])


@pytest.mark.parametrize("name", vectors.FORMATS)
def test_every_body_of_the_corpus_is_written_or_ends_with_its_reason(on_sqlite: Connector, name: str) -> None:
    connector = on_sqlite
    bodies = [vector.body for vector in vectors.read(name)]
    bodies += [make(100_000) for make in attacks.ATTACKS[name].values()]
    write = {"statement": "INSERT OR IGNORE INTO reading (id, device) VALUES (:id, 'p')"}
    number = {"path": "$headers.number", "type": "integer"}
    connector.configure(write=[write | {"values": {"id": number}}], format=vectors.FORMATS[name])
    connector.vhost.declare_queue("readings")
    connector.vhost.publish("", "readings", [(body, {"headers": {"number": at}}) for at, body in enumerate(bodies)])
    form, dead, rows = compile_format(vectors.FORMATS[name], Limits()), set(), set()
    for at, body in enumerate(bodies):
        try:
            rows |= {at} if form.decode(body) else set()  # an empty list makes no row
        except Failed:
            dead.add(at)
    with connector.subscribed() as running:
        eventually(lambda: connector.vhost.depth("dead-letter") == len(dead), 60)
        eventually(lambda: connector.database.count("reading") == len(rows))
        assert "PAUSED" not in running.log
    assert connector.vhost.depth("readings") == 0
    letters = [headers for _, headers in connector.dead()]
    assert {headers["number"] for headers in letters} == dead
    assert all(headers["dead-code"] in (NO, LARGE) and headers["dead-text"] for headers in letters)


# -- compressed bodies


def test_bombs_are_dead_letters_and_cost_neither_their_neighbours_nor_memory(on_sqlite: Connector) -> None:
    connector, count = on_sqlite, 50
    text = {"path": "text", "default": ""}
    insert = "INSERT INTO reading (id, device, value) VALUES (:id, :device, length(:text) / 10000)"
    connector.configure(write=[{"statement": insert, "values": {"text": text}}], lanes={"key": "device"})
    connector.vhost.declare_queue("readings")
    connector.publish(*(reading(number, text="x" * 1_000_000) for number in range(count)))
    with connector.subscribed() as running:
        eventually(lambda: connector.database.count("reading") == count, 30)
        before = peak_kb(running)
    bomb = gzip.compress(bytes(200_000_000), 6)  # of 194 KB
    # Within limits.body_bytes each.
    small = [gzip.compress(reading(number, text="x" * 1_000_000)) for number in range(count, 2 * count)]
    packed = {"content_encoding": "gzip"}
    messages: list[Any] = [(bomb, packed | {"message_id": f"bomb {number}"}) for number in range(count)]
    messages += [(body, packed | {"message_id": "small"}) for body in small]
    messages.append((gzip.compress(reading(2 * count)), packed | {"message_id": "good"}))
    connector.vhost.publish("", "readings", messages)
    with connector.subscribed() as running:
        eventually(lambda: connector.database.count("reading") == 2 * count + 1, 60)
        eventually(lambda: connector.vhost.depth("dead-letter") == count, 30)
        after = peak_kb(running)
        assert "PAUSED" not in running.log
    assert connector.database.value("SELECT count(*) FROM reading WHERE value = 100") == 2 * count
    assert after < before + 100_000, f"{before} KiB with plain bodies, {after} with compressed ones"  # half a bomb
    for _, properties, body in taken(connector):
        assert properties.headers["dead-code"] == LARGE
        assert properties.content_encoding == "gzip"
        assert body == bomb


def peak_kb(running: Running) -> int:
    """Return the most memory that a process has had so far."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


# -- properties


class Raw(pika.BasicProperties):  # type: ignore[misc]  # pika carries no types
    """Properties with a header table that pika would not encode."""

    def __init__(self, message_id: str, table: bytes) -> None:
        super().__init__(message_id=message_id)
        self._table = table

    def encode(self) -> list[bytes]:
        flags = self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE | self.FLAG_MESSAGE_ID
        name = self.message_id.encode()
        return [struct.pack(">HI", flags, len(self._table)), self._table, b"\x02", bytes([len(name)]), name]


def field(name: bytes, kind: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + kind + value


def deep(levels: int) -> bytes:
    table = b""
    for _ in range(levels):
        table = field(b"a", b"F", struct.pack(">I", len(table)) + table)
    return table


#: By the name that is the message's id; all of them are also sent with a good body.
HOSTILE: dict[str, dict[str, Any]] = {
    "expiration": {"expiration": "3600000"},
    "copies": {"headers": {"CC": ["elsewhere"], "BCC": ["elsewhere"]}},
    "forged": {"headers": {"dead-reason": "no reason", "dead-code": 7, "dead-exchange": [1], "x-death": "none"}},
    "100 KB": {"headers": {"big": "x" * 100_000, "small": "y"}},
    "many": {"headers": {f"header-{n}": n for n in range(5000)}},
    "timestamp": {"timestamp": 2**63 - 1},
    "priority": {"priority": 255},
    "long": {"app_id": "é" * 127, "type": "x" * 255, "content_type": "text/nonsense; charset=klingon"},
    "nested": {"headers": {"a": {"b": [{"c": [1, None, b"\xff"]}]}}},
    "no UTF-8": {"app_id": b"\xff" * 255, "headers": {"text": b"\xff\xfe"}},
}
RAW = {
    "a header's time": field(b"when", b"T", struct.pack(">Q", 2**63)),
    "a header's name": field(b"\xff" * 255, b"t", b"\x01"),
    "a deep header": deep(5000),
    "a fraction": field(b"share", b"d", struct.pack(">d", 1.75)),
}


def test_hostile_properties(on: Any) -> None:
    connector: Connector = on("postgres_db")
    vhost = connector.vhost
    share = {"path": "$headers.share", "default": 1.5}
    connector.configure(write=[{"statement": INSERT_SHARE, "values": {"share": share}}])
    for queue in ("readings", "elsewhere"):
        vhost.declare_queue(queue)
    properties = HOSTILE | {"user": {"user_id": vhost.username}}
    good = iter(range(1, 1000))
    for name, each in properties.items():
        messages = [(b"{", {"message_id": name, **each}), (reading(next(good)), {"message_id": name, **each})]
        vhost.publish("", "readings", messages)
    for name, table in RAW.items():
        publish_raw(connector, Raw(name, table), b"{", reading(next(good)))
    publish_by_management(connector, "200 KB", {"big": "x" * 200_000, "share": 1.75}, "{")
    publish_with_direct_reply(connector, "reply", b"{")
    names = {*properties, *RAW, "200 KB", "reply"}
    with connector.subscribed() as running:
        eventually(lambda: connector.database.count("reading") == len(properties) + len(RAW), 30)
        eventually(lambda: vhost.depth("dead-letter") == len(names))
        assert "PAUSED" not in running.log
    assert vhost.depth("elsewhere") == 2  # the copies that the publisher asked for, and not one more
    assert connector.database.value("SELECT count(*) FROM reading WHERE value = 1.75") == 1
    letters = {properties.message_id: properties for _, properties, _ in taken(connector)}
    assert set(letters) == names
    for letter in letters.values():
        assert letter.expiration is None
        assert letter.user_id is None
        assert letter.headers["dead-code"] == "not-decodable"
        assert len(json.dumps(letter.headers, default=str)) < 16 * 1024
    assert letters["expiration"].headers["dead-expiration"] == "3600000"
    assert letters["user"].headers["dead-user-id"] == vhost.username
    assert letters["100 KB"].headers["dead-headers-cut"] == "big"
    assert letters["100 KB"].headers["small"] == "y"
    assert letters["reply"].reply_to is None


INSERT_SHARE = "INSERT INTO reading (id, device, value) VALUES (:id, :device, :share)"


def publish_raw(connector: Connector, properties: Raw, *bodies: bytes) -> None:
    with connector.vhost.channel() as channel:
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("", "readings", body, properties, mandatory=True)


def publish_by_management(connector: Connector, message_id: str, headers: dict[str, Any], body: str) -> None:
    """Publish what no AMQP 0-9-1 client could: its frames are limited, those of the management plugin are not."""
    properties = {"delivery_mode": 2, "message_id": message_id, "headers": headers}
    message = {"routing_key": "readings", "payload": body, "payload_encoding": "string", "properties": properties}
    assert connector.vhost.api("POST", "/api/exchanges/{vhost}/amq.default/publish", message) == {"routed": True}


def publish_with_direct_reply(connector: Connector, message_id: str, body: bytes) -> None:
    with connector.vhost.channel() as channel:
        channel.basic_consume("amq.rabbitmq.reply-to", lambda *_: None, auto_ack=True)
        properties = pika.BasicProperties(message_id=message_id, reply_to="amq.rabbitmq.reply-to")
        channel.basic_publish("", "readings", body, properties)
        eventually(lambda: connector.vhost.depth("readings") > 0)


@pytest.mark.parametrize("key", ["$headers.when", "$timestamp"])
def test_a_property_in_no_known_year_is_a_bad_value(on_sqlite: Connector, key: str) -> None:
    connector = on_sqlite
    write = {"statement": "INSERT INTO reading (id, device) VALUES (:id, :when)"}
    when = {"path": key, "type": "timestamp"}
    connector.configure(write=[write | {"values": {"when": when}}])
    connector.vhost.declare_queue("readings")
    connector.vhost.publish("", "readings", [(reading(1), {"timestamp": 2**63 - 1, "headers": {"when": "never"}})])
    with connector.subscribed():
        ((_, headers),) = eventually(connector.dead)
    assert headers["dead-code"] == "bad-value"
    assert headers["dead-detail"].startswith(f"write[0].values.when <- {key}: ")

"""db.config as a whole: what a good one becomes, and what a bad one is told, all at once."""

import copy
import json
import os
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings

from connectorlib import shared_settings as shared
from connectorlib.errors import ConfigurationError
from connectorlib.service.redaction import secrets
from dbconnector.config import load
from dbconnector.settings import Cron, Follow, Select, State
from dbconnector.wall_clock import WallClock
from tests.services.certificates import Authority
from tests.unit import configs

GOOD: dict[str, Any] = {
    "database": {
        "connection": {"Driver": "PostgreSQL Unicode", "Port": 5433, "Uid": "app", "Pwd": "${DB_PASSWORD}"},
        "select": {
            "query": ["SELECT id, device", "FROM outbox"],
            "on_sent": "UPDATE outbox SET sent_at = CURRENT_TIMESTAMP WHERE id = :id",
            "fetch": 200,
        },
        "write": [
            {
                "statement": "INSERT INTO alarm (id, device) VALUES (:id, :device) RETURNING id",
                "values": {"device": "device.name"},
                "name": "alarm",
            },
            {
                "statement": "INSERT INTO reading (alarm_id, value) VALUES (:alarm, :value)",
                "for_each": "readings",
                "values": {"alarm": "$result.alarm.id"},
                "when": {"type": ["alarm", "warning"]},
            },
        ],
    },
    "broker": {
        "host": "127.0.0.1",
        "source": {"queue": "readings", "exchange": "devices", "routing_keys": ["reading.#"]},
        "destination": {"exchange": "rows", "routing_key": "row.{device}"},
    },
    "format": {"type": "json"},
    "idempotency": {"table": "connector_inbox", "key": "$message_id"},
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    yield
    secrets.clear()


@pytest.fixture
def write(tmp_path):
    return configs.writer(tmp_path / "db.config")


changed = partial(configs.changed, GOOD)
told = partial(configs.told, load)


# -- a good file


def test_a_good_file_becomes_settings(write):
    config = load(write(GOOD))
    assert config.name == "readings"
    assert config.database.connection == {
        "Driver": "PostgreSQL Unicode",
        "Port": "5433",
        "Uid": "app",
        "Pwd": "hunter22",
    }
    assert config.database.select is not None
    assert config.database.select.query == "SELECT id, device\nFROM outbox"
    assert [each.place(at) for at, each in enumerate(config.database.write)] == ["alarm", "write[1]"]
    assert config.source == shared.Source("readings", "devices", "topic", ("reading.#",))
    assert config.broker.hosts == (("127.0.0.1", 5672),)
    assert config.monitoring is None
    assert config.warnings == ()


def test_a_zone_becomes_a_clock(write):
    assert load(write(GOOD)).database.clock is None
    zoned = changed(["database", "zone"], "Europe/Vienna")
    assert load(write(zoned)).database.clock == WallClock(ZoneInfo("Europe/Vienna"), fold=0)
    zoned["database"]["fold"] = "second"
    assert load(write(zoned)).database.clock == WallClock(ZoneInfo("Europe/Vienna"), fold=1)


def test_the_repr_of_the_settings_shows_no_secret(write):
    data = changed(["broker", "password"], "swordfish")
    text = repr(load(write(data)))
    assert "hunter22" not in text
    assert "swordfish" not in text


def test_what_is_left_out_has_the_default_of_the_settings(write):
    data = {"database": {"connection": "DSN=x"}, "broker": {}}
    config = load(write(data))
    assert (config.source, config.destination, config.idempotency) == (None, None, None)
    assert config.broker == shared.BrokerSettings()
    assert (config.batch, config.limits, config.retry) == (shared.Batch(), shared.Limits(), shared.Retry())
    assert (config.logging, config.hold_seconds, config.name) == (shared.Logging(), 300.0, "dbconnector")


def test_a_fraction_becomes_a_float_where_the_settings_say_so(write):
    config = load(write(GOOD | {"limits": {"seconds": 1.5}, "retry": {"max_s": 2}, "hold_seconds": 60}))
    assert (config.limits.seconds, config.retry.max_s, config.hold_seconds) == (1.5, 2.0, 60.0)
    assert type(config.limits.seconds) is float


@pytest.mark.parametrize(
    ("fmt", "mistake"),
    [
        ({"type": "ndjson"}, ""),
        ({"type": "xml", "record": "row"}, ""),
        (
            {"type": "xml"},
            'format: "record" is missing: with destination.rows it is the name',
        ),
        ({"type": "text"}, "broker.destination.rows: the format text has no records"),
    ],
)
def test_many_rows_need_a_format_with_records(write, fmt, mistake):
    config = changed(["broker", "destination"], ROWS) | {"format": fmt}
    if not mistake:
        load(write(config))
        return
    (found,) = told(write(config))
    assert found.startswith(mistake)


def test_with_follow_rows_is_a_number(write):
    config = changed(SELECT, FOLLOWED)
    config["broker"]["destination"] = ROWS | {"rows": "all"}
    assert told(write(config)) == [
        "broker.destination.rows: with follow it is a number: rows are published as they come"
    ]


@pytest.mark.parametrize(
    ("fetch", "rows", "more", "pages"),
    [
        (1000, 300, True, 1200),
        (1000, 500, True, 1000),
        (10, 25, True, 25),
        (1000, 300, False, 1000),
        (7, "all", True, 7),
    ],
)
def test_pages_that_are_marked_by_themselves_have_whole_messages(write, fetch, rows, more, pages):
    select = {"query": "SELECT id FROM t", "fetch": fetch} | (
        {"on_sent": "DELETE FROM t WHERE id = :id"} if more else {}
    )
    config = changed(SELECT, select)
    config["broker"]["destination"] = ROWS | {"rows": rows}
    loaded = load(write(config)).database.select
    assert loaded is not None
    assert loaded.fetch == pages
    assert loaded.fetch_small is None


@pytest.mark.parametrize(
    ("select", "most"),
    [
        ({"on_sent": "DELETE FROM t WHERE id = :id"}, 9600),
        ({"on_sent": "DELETE FROM t WHERE id = :id", "fetch": 1000}, None),
        ({}, None),
    ],
)
def test_pages_that_are_marked_grow_unless_their_size_is_set(write, select, most):
    config = changed(SELECT, {"query": "SELECT id FROM t", **select})
    config["broker"]["destination"] = ROWS | {"rows": 300}
    loaded = load(write(config)).database.select
    assert loaded is not None
    assert loaded.fetch_small == most


EVERY = [("30s", 30.0), ("5m", 300.0), ("1h30m", 5400.0), ("250ms", 0.25), ("2d", 172800.0), (45, 45.0), (0.5, 0.5)]


@pytest.mark.parametrize(("text", "seconds"), EVERY)
def test_every_is_a_duration(write, text, seconds):
    select = load(write(changed(["database", "select", "every"], text))).database.select
    assert select is not None
    assert select.every == seconds


def test_names_default_to_the_source_queue_then_the_destination(write):
    assert load(write(GOOD | {"name": "mine"})).name == "mine"
    data = copy.deepcopy(GOOD)
    del data["broker"]["source"]
    assert load(write(data)).name == "rows"


def test_prefetch_is_twice_the_batch_unless_given(write):
    source = load(write(GOOD | {"batch": {"size": 40}})).source
    assert source is not None
    assert source.prefetch == 80


@pytest.mark.parametrize(("given", "prefetch"), [({}, 320), ({"prefetch": 1000}, 1000), ({"prefetch": 80}, 320)])
def test_each_shard_can_fill_a_batch(write, given, prefetch):
    section = {"queue": "readings", "shards": 8, **given}
    data = changed(["broker", "source"], section) | {"batch": {"size": 40}}
    source = load(write(data)).source
    assert source is not None
    assert source.prefetch == prefetch


def test_one_statement_or_several_on_connect(write):
    assert load(write(changed(["database", "on_connect"], "SET x = 1"))).database.on_connect == ("SET x = 1",)
    assert load(write(changed(["database", "on_connect"], ["a", "b"]))).database.on_connect == ("a", "b")


def test_sql_is_never_resolved(write):
    data = changed(["database", "on_connect"], ["SET x = '${DB_PASSWORD}'"])
    assert load(write(data)).database.on_connect == ("SET x = '${DB_PASSWORD}'",)


def test_offline_nothing_is_resolved_and_nothing_complains(write, monkeypatch):
    monkeypatch.delenv("DB_PASSWORD")
    config = load(write(GOOD), resolve_secrets=False)
    assert isinstance(config.database.connection, dict)
    assert config.database.connection["Pwd"] == "${DB_PASSWORD}"


# -- all mistakes at once


def test_five_mistakes_are_five_lines_in_the_order_of_the_file(write):
    file = write(
        """{
  "database": {
    "connection": {"Driver": "SQLite3", "Pwd": "${NOT_SET}"},
    "write": [{"statement": "INSERT INTO a (id) VALUES (:id)", "values": {"idd": "device.id"}}],
    "selekt": {}
  },
  "broker": {
    "port": "5672",
    "source": {"exchange": "devices"}
  },
}
"""
    )
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(caught.value).splitlines() == [
        f"{file}: line 3: database.connection.Pwd: the environment variable NOT_SET is not set",
        f'{file}: line 4: database.write[0].values.idd: the statement has no :idd; did you mean ":id"?',
        f'{file}: line 5: database.selekt: unknown key; did you mean "select"?',
        f'{file}: line 8: broker.port: expected a whole number, not the text "5672"; write 5672 without quotes',
        f'{file}: line 9: broker.source: "queue" is missing: Name of the queue, such as "readings"',
        f"{file}: line 10: column 4: trailing comma before }}",
    ]


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    assert told(tmp_path / "none.json") == ["cannot be read: No such file or directory"]
    assert told(tmp_path) == ["cannot be read: Is a directory"]
    os.mkfifo(tmp_path / "pipe")
    assert told(tmp_path / "pipe") == ["cannot be read: it is a pipe or a device, not a file"]


def test_a_file_that_is_no_utf8_names_its_line(tmp_path):
    file = tmp_path / "db.config"
    file.write_bytes(b'{\n"a": "\xff"}')
    with pytest.raises(ConfigurationError, match=r"line 2: is not UTF-8 text; save the file as UTF-8"):
        load(file)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    file = tmp_path / "db.config"
    file.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert load(file).name == "readings"


def test_a_list_is_no_configuration(write):
    assert told(write("[]")) == ["expected an object {…} that holds the whole configuration"]


S, W, B = ["broker", "source"], ["database", "write"], ["broker"]
SCHEMA_MISTAKES: list[tuple[list[Any], Any, str | None]] = [
    ([*B, "hots"], "x", 'broker.hots: unknown key; did you mean "host"?'),
    (["source"], {}, 'source: unknown key; it belongs in "broker"'),
    (
        [*B, "declare"],
        "crete",
        'broker.declare: expected "create", "passive" or "never", not the text "crete"; did you',
    ),
    ([*B, "port"], 70000, "broker.port: expected at most 65535, not 70000"),
    ([*B, "port"], 0, "broker.port: expected at least 1, not 0"),
    ([*B, "host"], [], "broker.host: expected at least 1 element, not an empty list"),
    ([*B, "host"], 5, "broker.host: expected a text in double quotes or a list […], not 5"),
    ([*B, "password"], 12345, "broker.password: expected a text in double quotes, not a number"),
    ([*B, "tls"], "yes", "broker.tls: expected true or false or an object {…}, not the text"),
    ([*B, "tls"], {"verfy": True}, 'broker.tls.verfy: unknown key; did you mean "verify"?'),
    ([*S, "queue"], "", 'broker.source.queue: expected a text that is not empty, not the text ""'),
    (
        [*S, "exchange_type"],
        "topik",
        "broker.source.exchange_type: expected topic, direct, fanout, headers or a plugin",
    ),
    ([*S, "routing_keys"], "a", "broker.source.routing_keys: expected a list […], not the text"),
    (
        ["database", "connection"],
        None,
        'database: "connection" is missing: ODBC keywords, or a complete connection string',
    ),
    (["database", "connection"], 5, "database.connection: expected an object of ODBC keywords or a connection string"),
    (["database", "errors"], {"2350": "retry"}, "database.errors.2350: expected an SQLSTATE such as 23505"),
    (["database", "errors"], {"23505": "ignore"}, "database.errors.23505: expected"),
    ([*W, 0, "statement"], None, 'database.write[0]: "statement" is missing'),
    ([*W, 0, "statement"], 5, "database.write[0].statement: expected SQL as a text or a list of lines, not 5"),
    (
        [*W, 0, "values", "device"],
        5,
        "database.write[0].values.device: expected a path, a template or an object (a con",
    ),
    (
        [*W, 0, "values", "device"],
        {"pth": "a"},
        'database.write[0].values.device.pth: unknown key; did you mean "path"?',
    ),
    ([*W, 0, "name"], "a b", "database.write[0].name: expected a name of letters, digits, _ and -, not the text"),
    ([*W, 0, "must_change"], "yes", "database.write[0].must_change: expected true or false, not the text"),
    (["database", "write"], [], "database.write: expected at least 1 element, not an empty list"),
    (
        ["format"],
        {"type": "delimted"},
        'format.type: expected "json", "ndjson", "xml", "delimited", "text", "cbor" or "msgpack", not the text '
        '"delimted"; did',
    ),
    (["format"], {}, 'format: "type" is missing: json, ndjson, xml, delimited, text, cbor or msgpack, such as "json"'),
    (["format"], {"type": "xml", "columns": ["a"]}, "format.columns: unknown key; known here: type, root, record"),
    (["idempotency", "table"], "a b", "idempotency.table: expected a table name of letters, digits and _"),
    (["limits"], {"depth": 2.5}, "limits.depth: expected a whole number, not 2.5"),
    (["hold_seconds"], 0, "hold_seconds: expected more than 0, not 0"),
    (
        ["logging"],
        {"level": "INFO"},
        'logging.level: expected "debug", "info", "warning" or "error", not the text "INFO"',
    ),
]
TOKEN = {"url": "https://login.example.com/oauth2/token", "client_id": "c", "client_secret": "${DB_PASSWORD}"}
FOLLOW: dict[str, Any] = {"column": "changed_at", "key": "id", "state": {"table": "cursor"}}
SELECT = ["database", "select"]
FOLLOWED: dict[str, Any] = {"query": "SELECT id, changed_at FROM t", "follow": FOLLOW}


def followed(**follow: Any) -> dict[str, Any]:
    return FOLLOWED | {"follow": FOLLOW | follow}


FOLLOW_MISTAKES: list[tuple[list[Any], Any, str | None]] = [
    (SELECT, FOLLOWED, None),
    (SELECT, followed(overlap="1m", clock="database", ignore=["pg_dump"]), None),
    (SELECT, followed(key=["site", "id"], **{"from": "2026-01-31T08:00:00Z"}), None),
    (
        SELECT,
        FOLLOWED | {"follow": {"column": "a", "state": {"table": "c"}}},
        'database.select.follow: "key" is',
    ),
    (SELECT, FOLLOWED | {"follow": {"column": "a", "key": "id"}}, 'database.select.follow: "state" is missing'),
    (
        SELECT,
        FOLLOWED | {"on_sent": "DELETE FROM t WHERE id = :id"},
        "database.select.on_sent: either on_sent or",
    ),
    (SELECT, FOLLOWED | {"key": "id"}, "database.select.key: with follow the key is follow.key"),
    (
        SELECT,
        FOLLOWED | {"query": "SELECT id FROM t LIMIT 5"},
        "database.select.query: with follow it is a",
    ),
    (SELECT, followed(overlap=0), "database.select.follow.overlap: must not be 0"),
    (SELECT, followed(overlap="0s"), "database.select.follow.overlap: expected a duration"),
    (SELECT, followed(overlap="soon"), "database.select.follow.overlap: "),
    (SELECT, followed(clock="mine"), 'database.select.follow.clock: expected "application" or "database"'),
    (SELECT, followed(**{"from": "yesterday"}), "database.select.follow.from: 'yesterday' is neither a moment such as"),
    (SELECT, followed(state={"table": "a b"}), "database.select.follow.state.table: expected a table name"),
    (
        SELECT,
        followed(state={"table": "c", "connection": {"Server": "x"}}),
        "database.select.follow.state.connection: ",
    ),
]
CRON: dict[str, Any] = {"query": "SELECT id FROM t", "cron": "0 2 * * *"}
CRON_MISTAKES: list[tuple[list[Any], Any, str | None]] = [
    (SELECT, CRON | {"zone": "Europe/Vienna", "missed": "skip"}, None),
    (SELECT, CRON | {"cron": "0 2 * *"}, "database.select.cron: expected five fields"),
    (SELECT, CRON | {"cron": "0 25 * * *"}, "database.select.cron: bad hour in '0 25 * * *'"),
    (SELECT, CRON | {"zone": "Vienna"}, "database.select.zone: there is no time zone 'Vienna'"),
    (SELECT, CRON | {"missed": "twice"}, 'database.select.missed: expected "once" or "skip"'),
    (
        SELECT,
        {"query": "SELECT 1", "state": {"table": "c"}},
        'database.select: "cron" is missing: "state" belongs to it',
    ),
    (
        SELECT,
        FOLLOWED | {"state": {"table": "c"}},
        'database.select: "cron" is missing: "state" belongs to it; that of f',
    ),
    (SELECT, CRON | {"every": "1h"}, "database.select.cron: either every or cron"),
    (SELECT, {"query": "SELECT 1", "zone": "UTC"}, 'database.select: "cron" is missing: "zone" belongs to it'),
    (SELECT, FOLLOWED | {"cron": "0 2 * * *"}, "database.select.cron: with follow it is every"),
]
D = ["broker", "destination"]
ROWS: dict[str, Any] = {"exchange": "rows", "routing_key": "a", "rows": 5}
ROWS_MISTAKES: list[tuple[list[Any], Any, str | None]] = [
    (D, ROWS | {"headers": {"part": "$part"}}, None),
    (D, ROWS | {"rows": "all", "routing_key": "row.{$part}"}, None),
    (D, ROWS | {"rows": "some"}, 'broker.destination.rows: expected a number of rows, or "all"'),
    (D, ROWS | {"rows": 1.5}, 'broker.destination.rows: expected a number of rows, or "all"'),
    (D, ROWS | {"rows": 0}, "broker.destination.rows: expected"),
    (D, ROWS | {"body": "id"}, "broker.destination.rows: either rows, which are written in the format, or body"),
    (D, {"exchange": "rows", "headers": {"n": "$part"}}, "broker.destination.headers.n: $part is the number of"),
    (D, {"exchange": "rows", "routing_key": "{$part}"}, "broker.destination.routing_key: $part is the number of"),
]
MEANING_MISTAKES: list[tuple[list[Any], Any, str | None]] = [
    *ROWS_MISTAKES,
    *CRON_MISTAKES,
    ([*B, "host"], ["a", "b:99999"], "broker.host[1]: expected a port from 1 to 65535 behind the colon"),
    (
        [*B, "host"],
        "amqp://u:p@h",
        "broker.host: expected only the host: port, virtual_host, username and password have",
    ),
    (
        [*B, "host"],
        ["a:5671", "b:5672"],
        'broker: "tls" is missing: some hosts have port 5671, others not; say true or',
    ),
    (B, {"virtual_host": "a", "vhost": "b"}, "broker.vhost: differs from virtual_host"),
    (B, {"virtual_host": "a", "vhost": "a"}, None),
    ([*B, "tls"], {"ca": "/no/such"}, "broker.tls.ca: /no/such cannot be read: No such file or directory"),
    ([*B, "tls"], {"ca": "/dev/null"}, "broker.tls.ca: /dev/null cannot be read: it is a pipe or a device, not a file"),
    ([*B, "tls"], {"key": __file__}, 'broker.tls: "cert" is missing: a key needs its certificate'),
    ([*B, "auth"], "external", 'broker: "tls" is missing: "auth": "external" logs in with the certificate that tls.'),
    (B, {"auth": "external", "tls": {}}, 'broker.tls: "cert" is missing: "auth": "external" logs in with it'),
    (
        B,
        {"auth": "external", "tls": {"cert": __file__}, "username": "a"},
        'broker: "password" is missing: with "auth": "external", username is for the management API, which needs both',
    ),
    (B, {"auth": "external", "tls": {"cert": __file__}}, None),
    (
        [*B, "token"],
        {**TOKEN, "url": "http://h/token"},
        "broker.token.url: expected https://; http:// only for this mac",
    ),
    ([*B, "token"], {**TOKEN, "url": "http://127.0.0.1/token"}, None),
    ([*B, "token"], {**TOKEN, "url": "https://u:p@h/token"}, "broker.token.url: expected only the address, such as"),
    (
        [*B, "token"],
        {**TOKEN, "url": "https://h:x/token"},
        "broker.token.url: expected an address such as https://login",
    ),
    ([*B, "token"], {**TOKEN, "url": "login"}, "broker.token.url: expected an address that begins with https://"),
    ([*B, "token"], {**TOKEN, "tls": {"ca": "/no/such"}}, "broker.token.tls.ca: /no/such cannot be read"),
    ([*B, "token"], {"url": "https://h", "client_id": "c"}, 'broker.token: "client_secret" is missing'),
    (B, {"token": TOKEN, "password": "x"}, "broker.password: the token is used to log in; remove this"),
    (B, {"token": TOKEN, "username": "x"}, "broker.username: the token is used to log in; remove this"),
    (
        B,
        {"token": TOKEN, "auth": "external", "tls": {"cert": __file__}},
        'broker.token: no token with "auth": "external", where the certificate is the login',
    ),
    ([*S, "exchange_type"], "direct", None),  # has routing keys
    (
        [*S],
        {"queue": "q", "exchange": "e", "exchange_type": "direct"},
        'broker.source: "routing_keys" is missing: a dire',
    ),
    (
        [*S],
        {"queue": "q", "exchange": "amq.direct"},
        'broker.source: "routing_keys" is missing: a direct exchange needs',
    ),
    (
        [*S],
        {"queue": "q", "routing_keys": ["a"]},
        'broker.source: "exchange" is missing: "routing_keys" belongs to the',
    ),
    (
        [*S],
        {"queue": "q", "exchange": "amq.topic", "exchange_type": "direct"},
        "broker.source.exchange_type: amq.topic is",
    ),
    (
        [*S],
        {"queue": "q", "exchange": "amq.topic", "routing_keys": ["a.b", "devices/+/temp"]},
        "broker.source.routing_keys[1]: MQTT devices/+/temp is devices.*.temp here",
    ),
    ([*S, "routing_keys"], ["a/b"], None),  # only amq.topic speaks MQTT
    (
        [*S, "queue"],
        "dead-letter",
        "broker.source.queue: this is the dead-letter queue: dead letters would be consumed",
    ),
    (
        [*S, "exchange"],
        "dead-letter",
        "broker.source.exchange: this is the dead-letter exchange: dead letters would be",
    ),
    ([*S, "arguments"], {"x-delivery-limit": -1}, "broker.source.arguments.x-delivery-limit: must not be negative"),
    ([*S], {"queue": "q", "shards": 2, "type": "classic"}, "broker.source.type: shards are quorum queues"),
    (
        [*S],
        {"queue": "q", "shards": 2, "arguments": {"x-single-active-consumer": False}},
        "broker.source.arguments.x-single-active-consumer: each shard has a single active consumer",
    ),
    ([*S], {"queue": "ä" * 125, "shards": 2}, "broker.source.queue: too long: the names of the shards"),
    ([*S, "shards"], 1, "broker.source.shards: expected at least 2, not 1"),
    (
        [*S, "arguments"],
        {"x-queue-type": "quorum"},
        "broker.source.arguments.x-queue-type: set the type of the queue",
    ),
    (
        [*B, "dead_letter"],
        {"queue": "amq.x"},
        "broker.dead_letter.queue: names that begin with amq. are reserved by the broker",
    ),
    ([*B, "destination"], {"exchange": ""}, 'broker.destination: "routing_key" is missing: with the default exchange'),
    ([*B, "destination"], {"exchange": "x", "routing_key": "{a"}, "broker.destination.routing_key: the brace at"),
    ([*B, "destination"], {"exchange": "x", "message_id": "a..b"}, "broker.destination.message_id: unexpected"),
    ([*B, "destination"], {"exchange": "x", "headers": {"h": "a["}}, "broker.destination.headers.h: a whole number"),
    (
        ["database", "connection"],
        {"Server": "x"},
        'database.connection: "Driver" is missing, such as "PostgreSQL Unico',
    ),
    (["database", "connection"], {"DSN": "x", "dsn": "y"}, "database.connection.dsn: given twice; ODBC ignores case"),
    (["database", "connection"], "Server=x", "database.connection: expected Driver=… or DSN=… in it"),
    (["database", "connection"], "nonsense", "database.connection: not a keyword=value pair"),
    (
        ["database", "zone"],
        "Europe/Wien",
        "database.zone: unknown zone 'Europe/Wien'; write it as Europe/Vienna or UTC",
    ),
    (["database", "zone"], "../etc/passwd", "database.zone: unknown zone"),
    (["database", "fold"], "second", 'database.fold: says nothing without "zone"'),
    (["database", "select", "query"], "SELECT 'x", "database.select.query: the quote at"),
    (["database", "select", "every"], "5 parsecs", "database.select.every: expected a duration such as 30s"),
    (
        ["database", "select", "params"],
        {"site": 1},
        "database.select.params.site: the query has no :site; it has no para",
    ),
    (
        ["database", "select", "on_sent"],
        "UPDATE x SET a = :error",
        "database.select.on_sent: :error is known only to on_",
    ),
    ([*W, 0, "statement"], "INSERT INTO a VALUES (?)", "database.write[0].statement: it contains a ?"),
    (
        [*W, 0, "values", "devise"],
        "x",
        'database.write[0].values.devise: the statement has no :devise; did you mean ":de',
    ),
    ([*W, 0, "values", "zzz"], "x", "database.write[0].values.zzz: the statement has no :zzz; it has: :id, :device"),
    ([*W, 0, "values", "device"], "a..b", "database.write[0].values.device: unexpected"),
    ([*W, 0, "values", "device"], {"path": "a", "value": 1}, "database.write[0].values.device: exactly one of path"),
    (["accept_when"], {"$result.alarm.id": 1}, 'accept_when."$result.alarm.id": $result is not known before'),
    (["ignore_when"], {"t": {"not": {}}}, "ignore_when.t.not: expected"),
    ([*W, 0, "when"], [{"type": "x"}, {"a..b": "x"}], 'database.write[0].when[1]."a..b": unexpected'),
    ([*W, 0, "when"], {"a..b": "x"}, 'database.write[0].when."a..b": unexpected'),
    ([*W, 1, "for_each"], "{x", "database.write[1].for_each: the brace"),
    ([*W, 1, "name"], "alarm", "database.write[1].name: write[0] has this name already"),
    (
        [*W, 1, "values", "alarm"],
        "$result.alrm.id",
        "database.write[1].values.alarm: $result.alrm: no statement has this",
    ),
    (
        [*W, 0, "values", "device"],
        "$result.alarm.id",
        "database.write[0].values.device: $result.alarm is the result of t",
    ),
    ([*W, 0, "for_each"], "x", "database.write[1].values.alarm: $result.alarm: that statement runs for_each element"),
    (
        ["idempotency", "key"],
        "$mesage_id",
        "idempotency.key: unknown $mesage_id in '$mesage_id'; did you mean $message_id",
    ),
    (["idempotency", "key"], "$result.alarm.id", "idempotency.key: $result is not available when the key is evaluated"),
    (["format"], {"type": "delimited", "columns": ["a", "b"], "encoding": "utf-99"}, "format: "),
]


@pytest.mark.parametrize(("path", "value", "said"), SCHEMA_MISTAKES + MEANING_MISTAKES + FOLLOW_MISTAKES)
def test_a_mistake_is_told_once_with_its_path_and_what_to_write(write, path, value, said):
    file = write(changed(path, value))
    if said is None:
        load(file)
        return
    (found,) = told(file)
    assert found.startswith(said)


def test_a_shared_schedule_has_a_name_and_a_state_beside_the_one_file_of_sqlite(write):
    sqlite = {"Driver": "SQLite3", "Database": "plant.db"}
    data = copy.deepcopy(GOOD) | {"name": "nightly"}
    data["database"]["select"] = CRON | {"state": {"table": "cursor", "connection": sqlite}}
    settings = load(write(data)).database
    assert settings.select is not None
    assert settings.select.cron == Cron("0 2 * * *", state=State("cursor", sqlite))
    assert settings.state.connection == sqlite
    del data["name"], data["database"]["select"]["state"]["connection"]
    assert told(write(data)) == ['"name" is missing: it tells this schedule from others in the state table']
    data = data | {"name": "nightly"}
    data["database"]["connection"] = sqlite
    assert told(write(data)) == [
        'database.select.state: "connection" is missing: sqlite has one writer at a time, and the lease is renewed'
        " while the query runs; name another file"
    ]


def test_a_followed_table_is_read_every_second_unless_it_is_said(write):
    assert load(write(changed(SELECT, FOLLOWED))).database.select == Select(
        FOLLOWED["query"], every=1.0, follow=Follow("changed_at", ("id",), State("cursor"))
    )
    slower = load(write(changed(SELECT, FOLLOWED | {"every": "30s"}))).database.select
    assert slower is not None
    assert slower.every == 30


def test_the_result_of_a_later_statement_cannot_be_used(write):
    data = copy.deepcopy(GOOD)
    data["database"]["write"].reverse()
    assert told(write(data)) == [
        "database.write[0].values.alarm: $result.alarm is the result of a later statement; only earlier ones have one"
    ]


def test_a_value_that_was_refused_is_not_called_missing(write):
    data = changed(["broker", "source"], {"queue": "q", "exchange": "e", "exchange_type": "direct", "routing_keys": 5})
    assert told(write(data)) == ["broker.source.routing_keys: expected a list […], not 5"]


def test_a_key_that_is_misspelt_is_not_called_missing_as_well(write):
    data = changed(["database", "conection"], {"Driver": "SQLite3"})
    del data["database"]["connection"]
    assert told(write(data)) == ['database.conection: unknown key; did you mean "connection"?']


def test_a_message_that_repeats_a_value_does_not_repeat_a_secret(write):
    data = changed(
        ["database", "write", 0, "values", "device"], {"path": "a", "type": "date", "default": "${DB_PASSWORD}"}
    )
    (found,) = told(write(data))
    assert "hunter22" not in found
    assert "[secret]" in found


# -- hosts and TLS

HOSTS = [
    ({}, ((("127.0.0.1", 5672),), False)),
    ({"host": "a"}, ((("a", 5672),), False)),
    ({"host": "a", "port": 5673}, ((("a", 5673),), False)),
    ({"host": ["a", "b:5673"]}, ((("a", 5672), ("b", 5673)), False)),
    ({"host": "[::1]:5673"}, ((("::1", 5673),), False)),
    ({"host": "[2001:db8::5]"}, ((("2001:db8::5", 5672),), False)),
    ({"host": "::1"}, ((("::1", 5672),), False)),
    ({"host": "a", "port": 5671}, ((("a", 5671),), True)),
    ({"host": ["a:5671", "b:5671"]}, ((("a", 5671), ("b", 5671)), True)),
    ({"host": "a", "tls": {}}, ((("a", 5671),), True)),
    ({"host": "a", "tls": True, "port": 5700}, ((("a", 5700),), True)),
    ({"host": "a", "port": 5671, "tls": False}, ((("a", 5671),), False)),
]


@pytest.mark.parametrize(("broker", "expected"), HOSTS)
def test_hosts_ports_and_tls_go_together(write, broker, expected):
    settings = load(write({"database": {"connection": "DSN=x"}, "broker": broker})).broker
    assert (settings.hosts, settings.tls is not None) == expected


@pytest.mark.parametrize("host", ["a b", "a:", "a:x", "[::1", "::1]", "a/b", "", "[]", "a:0", "x:1:2"])
def test_what_is_no_host_is_told(write, host):
    data = {"database": {"connection": "DSN=x"}, "broker": {"host": host}}
    (found,) = told(write(data))
    assert found.startswith("broker.host: expected")


def test_a_log_in_by_certificate_has_no_user_of_its_own(write):
    broker = {"auth": "external", "tls": {"cert": __file__}}
    found = load(write({"database": {"connection": "DSN=x"}, "broker": broker})).broker
    assert (found.auth, found.username, found.password) == ("external", "", "")


def test_a_token_is_the_log_in(write, tmp_path):
    Authority(tmp_path)
    token = {**TOKEN, "scope": "a b", "tls": {"ca": "ca.pem"}}
    found = load(write({"database": {"connection": "DSN=x"}, "broker": {"token": token}})).broker
    tls = shared.HttpTls(str(tmp_path / "ca.pem"))
    assert found.token == shared.TokenSettings(TOKEN["url"], "c", "hunter22", "a b", tls)
    assert (found.username, found.password) == ("c", "")
    assert "hunter22" not in repr(found)


@pytest.mark.parametrize("names", [["virtual_host"], ["vhost"], ["virtual_host", "vhost"]])
def test_the_virtual_host_has_a_short_name_too(write, names):
    broker = dict.fromkeys(names, "plant")
    assert load(write({"database": {"connection": "DSN=x"}, "broker": broker})).broker.virtual_host == "plant"


def test_tls_files_begin_at_the_configuration(write, tmp_path):
    Authority(tmp_path)
    tls = load(write(changed(["broker", "tls"], {"ca": "ca.pem", "verify": False}))).broker.tls
    assert tls == shared.Tls(ca=str(tmp_path / "ca.pem"), verify=False)


ROUTING_KEYS = [
    ({"exchange": "e"}, "topic", ("#",)),
    ({"exchange": "e", "exchange_type": "fanout"}, "fanout", ("",)),
    ({"exchange": "e", "exchange_type": "headers"}, "headers", ("",)),
    ({"exchange": "amq.fanout"}, "fanout", ("",)),
    ({"exchange": "e", "exchange_type": "x-consistent-hash", "routing_keys": ["10"]}, "x-consistent-hash", ("10",)),
    ({}, "topic", ("#",)),
]


@pytest.mark.parametrize(("source", "kind", "keys"), ROUTING_KEYS)
def test_routing_keys_default_by_the_type_of_the_exchange(write, source, kind, keys):
    found = load(write(changed(["broker", "source"], {"queue": "q", **source}))).source
    assert found is not None
    assert (found.exchange_type, found.routing_keys) == (kind, keys)


# -- what is allowed but looks wrong

WARNINGS = [
    (["broker", "heartbeat"], 2, "broker.heartbeat: below 5 seconds"),
    (["broker", "tls"], {"verify": False}, "broker.tls.verify: the broker's certificate is not verified"),
    (["broker", "source", "prefetch"], 100, "broker.source.prefetch: 100 is less than batch.size"),
    (
        ["broker", "source", "prefetch_bytes"],
        20 << 30,
        "broker.source.prefetch_bytes: bodies may take 20 GiB of memory",
    ),
    (["limits"], {"body_bytes": 3 << 30}, "broker.source.prefetch_bytes: bodies may take 3 GiB of memory"),
    (
        ["broker", "source"],
        {"queue": "q", "exchange": "amq.topic"},
        "idempotency.key: MQTT messages have no message id",
    ),
    (["accept_when"], {"t": ">80"}, "accept_when.t: '>80' is compared as text"),
    (["ignore_when"], [{"t": {"gt": 80, "lt": 70}}], "ignore_when[0].t: never holds"),
    ([*W, 0, "when"], {"t": ["<0", "x"]}, "database.write[0].when.t: '<0' is compared as text"),
]


@pytest.mark.parametrize(("key", "count"), [(None, 0), ("$routing_key", 0), ("$routing_key[1]", 1), ("device.id", 1)])
def test_shards_have_the_order_of_routing_keys(write, key, count):
    data = changed(["broker", "source", "shards"], 8) | {"lanes": {"key": key} if key else {}}
    warnings = load(write(data)).warnings
    assert len([each for each in warnings if "lanes.key: the shards are divided by the whole" in each]) == count


@pytest.mark.parametrize(("path", "value", "said"), WARNINGS)
def test_what_looks_wrong_is_a_warning(write, path, value, said):
    (warning,) = load(write(changed(path, value))).warnings
    assert said in warning
    assert warning.startswith("line ")


# -- nothing breaks it


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=configs.nonsense(GOOD))
def test_any_nonsense_is_either_taken_or_told_and_shows_no_secret(write, junk):
    try:
        load(write(configs.spoilt(GOOD, junk)))
    except ConfigurationError as error:
        problems = str(error)
    else:
        return
    assert problems
    assert "hunter22" not in problems

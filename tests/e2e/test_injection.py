"""What a sender writes is data wherever it goes: into SQL, into SOQL, into the headers of a dead letter."""

import json
from pathlib import Path

from tests.e2e.cases import Divisions
from tests.e2e.conftest import EACH_DRIVER, Connector, reading
from tests.e2e.workbench import Workbench
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

HOSTILE = [
    "'; DROP TABLE reading; --",
    "' OR '1'='1",
    "\\'; DELETE FROM reading; -- ",
    "x'); DELETE FROM reading; --",
    '"; DROP TABLE reading; --',
    "`; DROP TABLE reading; --",
    "$$; DROP TABLE reading; $$",
    "'||(SELECT password FROM users)||'",
    "1 UNION SELECT 1,2,3",
    "/* */ ; -- #",
    "? :id {id} ${HOME} {call x} {fn now()}",
    "%s %(id)s %n",
    "\\x27; SELECT pg_sleep(9)",
    "line\nend\r\n'; --",
    "=cmd|' /C calc'!A0",
    "\u02bc\uff07; DROP TABLE reading; --",
]
SAID = (
    "CREATE TABLE said (id integer PRIMARY KEY, body varchar(200), header varchar(200), message varchar(200), "
    "correlation varchar(200), routing varchar(200), templated varchar(400))"
)
COLUMNS = "body, header, message, correlation, routing, templated"
VALUES = {
    "id": {"path": "$headers.number", "type": "integer"},
    "body": "text",
    "header": "$headers.text",
    "message": "$message_id",
    "correlation": "$correlation_id",
    "routing": "$routing_key",
    "templated": "<{text}|{$headers.text}>",
}


@EACH_DRIVER
def test_no_text_of_a_message_becomes_sql(connector: Connector) -> None:
    database = connector.database
    database.execute(SAID)
    database.execute("INSERT INTO reading (id, device) VALUES (1, 'p-1')")
    insert = (
        f"INSERT INTO said (id, {COLUMNS}) VALUES (:id, :body, :header, :message, :correlation, :routing, :templated)"
    )
    connector.configure(
        write=[
            {"statement": insert, "values": VALUES},
            {"statement": "UPDATE reading SET value = 2 WHERE device = :h", "values": {"h": "$headers.text"}},
            {"statement": "DELETE FROM reading WHERE device = :text", "when": {"text": "*"}},
        ],
        idempotency={"key": "{$message_id}{text}", "table": "inbox"},
        broker={"source": {"queue": "readings", "exchange": "devices", "routing_keys": ["#"]}},
    )
    assert connector.run("inbox", "-c", str(connector.file), "--create").returncode == 0
    with connector.subscribed():
        for number, text in enumerate(HOSTILE):
            properties = {"message_id": text, "correlation_id": text, "headers": {"number": number, "text": text}}
            body = json.dumps({"text": text}).encode()
            connector.vhost.publish("devices", text, [(body, properties)])
        eventually(lambda: database.count("said") == len(HOSTILE), 30)
    found = [tuple(row) for row in database.rows(f"SELECT {COLUMNS} FROM said ORDER BY id")]
    assert found == [(text, text, text, text, text, f"<{text}|{text}>") for text in HOSTILE]
    assert [(id, value) for id, value in database.rows("SELECT id, value FROM reading")] == [(1, None)]


def test_no_text_of_a_message_becomes_soql(divisions: Divisions) -> None:
    texts = [text for text in HOSTILE if "\r" not in text]
    org = divisions.org
    org.seed("Contact", {"LastName": "Victim", "Email": "victim@example.com"})
    mapping = {
        "Subject": "text",
        "SuppliedName": "$headers.text",
        "ContactId": {"first_of": [lookup("text"), lookup("$headers.text"), lookup("$message_id")]},
    }
    hostile = [*texts, "' OR Email != '", "' OR Email LIKE '%", "x') OR (Email != '"]
    queue = divisions.division(mapping=mapping, external_id={"field": "Message_Id__c", "value": "{$message_id}-{text}"})
    with divisions.started():
        for text in hostile:
            properties = {"message_id": text, "headers": {"text": text}}
            divisions.vhost.publish("", queue, [(json.dumps({"text": text}).encode(), properties)])
        cases = divisions.cases(len(hostile))
    assert {case["Subject"] for case in cases} == {text.strip() for text in hostile}
    assert {case["ContactId"] for case in cases} == {None}


def lookup(path: str) -> dict[str, object]:
    return {"lookup": "Contact", "where": {"Email": path}, "missing": "skip", "ambiguous": "first"}


def test_no_header_of_a_message_steers_its_dead_letter_or_its_return(on_sqlite: Connector, tmp_path: Path) -> None:
    vhost: Vhost = on_sqlite.vhost
    on_sqlite.configure()
    for queue in ("readings", "elsewhere"):
        vhost.declare_queue(queue)
    forged = {
        **{"CC": ["elsewhere"], "BCC": ["elsewhere"], "x-death": [{"queue": "elsewhere", "reason": "rejected"}]},
        **{"dead-queue": "elsewhere", "dead-exchange": "amq.fanout", "dead-routing-key": "elsewhere"},
        **{"dead-reason": "none", "dead-fingerprint": "0", "dead-connector": "boss", "dead-attempts": -1},
        **{"x-delivery-count": 99, "x-delay": 9, "big": "x" * 100_000},
    }
    properties = {"expiration": "3600000", "user_id": vhost.username, "reply_to": "elsewhere", "headers": forged}
    with on_sqlite.subscribed():
        vhost.publish("", "readings", [(b"{", properties)])
        eventually(lambda: vhost.depth("dead-letter") == 1)
    copies = vhost.depth("elsewhere")  # that the sender had a right to
    ((_, letter, body),) = vhost.get_all("dead-letter")
    told = {name: letter.headers[name] for name in ("dead-queue", "dead-reason", "dead-connector", "dead-attempts")}
    assert told == {"dead-queue": "readings", "dead-reason": "reject", "dead-connector": "readings", "dead-attempts": 1}
    vhost.publish("", "dead-letter", [(body, {"headers": letter.headers, "message_id": "m"})])
    bench = Workbench(tmp_path, vhost)
    assert bench.json("replay")["to"] == [{"exchange": "", "routing_key": "readings", "count": 1}]
    assert (vhost.depth("elsewhere"), vhost.depth("readings")) == (copies, 1)
    ((_, again, _),) = vhost.get_all("readings")
    assert not {"CC", "BCC", "x-death", "x-delay", "x-delivery-count", "dead-queue"} & set(again.headers)
    assert (again.expiration, again.user_id) == (None, None)


def test_a_good_message_with_such_headers_is_just_written(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    on_sqlite.vhost.declare_queue("readings")
    headers = {
        "dead-reason": "x",
        "dead-replays": 2**62,
        "dead-queue": "x",
        "x-delivery-count": "many",
        "n": "x" * 90_000,
    }
    on_sqlite.vhost.publish("", "readings", [(reading(1), {"headers": headers, "message_id": "é" * 127})])
    with on_sqlite.subscribed() as running:
        eventually(lambda: on_sqlite.database.count("reading") == 1)
    assert "done=1 already=0\n" in running.log
    assert (on_sqlite.vhost.depth("readings"), on_sqlite.dead()) == (0, [])

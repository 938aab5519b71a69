"""`check` against worlds that are as the configuration says, and against broken ones: a line for each thing."""

import json
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.cases import Divisions, alarm
from tests.e2e.conftest import Connector, reading
from tests.services.rabbitmq import Vhost
from tests.services.selfsigned import certificate
from tests.services.waiting import eventually

SOURCE = {"queue": "readings", "exchange": "devices", "routing_keys": ["reading.#"]}
INBOX = (
    "CREATE TABLE inbox (consumer varchar(255), message_key char(64), applied_at timestamp DEFAULT CURRENT_TIMESTAMP"
)
OUT_OF_SUPPORT = re.compile(r"! RabbitMQ [\d.]+: community support ended ")
PRIMARY_KEY = ", PRIMARY KEY (consumer, message_key))"


def lines(done: "subprocess.CompletedProcess[str]", sign: str = "") -> list[str]:
    """Return the findings, or those with one sign, without that of the broker's age; the last line is no finding."""
    assert done.stderr == ""
    *found, _ = done.stdout.splitlines()
    assert all(re.match("[✔!✘] .+: ", line) for line in found), done.stdout
    return [line for line in found if line.startswith(sign) and not OUT_OF_SUPPORT.match(line)]


def management(vhost: Vhost) -> tuple[str, str]:
    return "--management-url", f"http://{vhost.host}:{vhost.node.management_port}"


def told(done: "subprocess.CompletedProcess[str]", sign: str, patterns: Sequence[str]) -> None:
    """Exactly these lines have the sign."""
    found = lines(done, sign)
    assert len(found) == len(patterns), done.stdout
    for line, pattern in zip(found, patterns, strict=True):
        assert re.match(f"{sign} {pattern}".lstrip(), line), f"{line}\nis not\n{pattern}"


# -- dbconnector


def test_where_all_is_as_configured_every_line_is_good(connector: Connector) -> None:
    connector.database.execute(INBOX + PRIMARY_KEY)
    connector.configure(idempotency={"table": "inbox", "key": "$message_id"})
    assert connector.run("receive", "-c", str(connector.file)).returncode == 3  # makes the queues
    connector.publish(reading(1))
    done = connector.run("check", "-c", str(connector.file), *management(connector.vhost))
    told(
        done,
        "",
        [
            r'✔ broker 127\.0\.0\.1:\d+: RabbitMQ \d+\.\d+\.\d+, virtual host "v\d+", as connector$',
            r"✔ dead-letter exchange dead-letter: topic$",
            r"✔ dead-letter queue dead-letter: quorum, 0 messages waiting, no consumer$",
            r"✔ binding dead-letter → dead-letter: by '#'$",
            r"✔ exchange devices: topic$",
            r"✔ queue readings: quorum, 1 message waiting, no consumer$",
            r"✔ binding devices → readings: by 'reading\.#'$",
            r"✔ rights of connector: may publish to dead-letter exchange dead-letter, read queue readings$",
            r"✔ database: .+ through .+$",
            r"✔ driver: .+, with .+=.+$",
            r"✔ write\[0\]: the database takes the statement, 3 parameters$",
            r"✔ inbox inbox: exists, and prevents duplicates$",
        ],
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("OK")
    assert (connector.vhost.depth("readings"), connector.vhost.depth("dead-letter")) == (1, 0)
    assert connector.database.rows("SELECT count(*) FROM inbox") == [(0,)]


def test_each_thing_that_is_broken_is_one_line(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    vhost.declare_queue("readings", "devices", "old.#", arguments={"x-dead-letter-exchange": "dlx", "x-max-length": 10})
    write = {"statement": "INSERT INTO reading (id, devise, value) VALUES (:id, :device, :value)"}
    broker = {"source": {**SOURCE, "arguments": {"x-max-length": 1000}}, "declare": "passive"}
    on_sqlite.configure(write=[write], broker=broker, idempotency={"table": "inbox", "key": "$message_id"})
    done = on_sqlite.run("check", "-c", str(on_sqlite.file), *management(vhost))
    told(
        done,
        "✘",
        [
            r'dead-letter exchange dead-letter: is not there, and with "declare": "passive" it is not created → ',
            r"dead-letter queue dead-letter: is not there, .* → deadletter-queue -c \S+ makes it",
            r"queue readings: x-max-length is 10, 1000 was asked for → delete the queue",
            r"binding devices → readings: not by 'reading\.#': no such message comes → bind it",
            r"write\[0\]: HY000/1 table reading has no column named devise \(1\) → correct the statement",
            r"inbox inbox: .*no such table: inbox.* → create it: dbconnector inbox --create",
        ],
    )
    told(done, "!", [r"binding devices → readings: also by 'old\.#', which the configuration does not say"])
    assert done.returncode == 78
    assert re.fullmatch("6 errors in 1[23] checks", done.stdout.splitlines()[-1])


def test_what_is_made_at_the_start_is_told_and_not_made(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    told(
        done,
        "!",
        [
            f"{what}: does not exist yet → it is created at startup"
            for what in ("dead-letter exchange dead-letter", "dead-letter queue dead-letter", "exchange devices")
        ]
        + ["queue readings: does not exist yet → it is created at startup"],
    )
    assert done.returncode == 0
    assert not on_sqlite.vhost.exists("readings")


def test_what_the_broker_loses_while_the_dead_letter_queue_is_away_is_told(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    vhost = on_sqlite.vhost
    assert on_sqlite.run("receive", "-c", str(on_sqlite.file)).returncode == 3  # makes the queues
    with vhost.channel() as channel:
        channel.queue_delete("readings")
    vhost.declare_queue("readings", "devices", "reading.#", arguments={"x-dead-letter-exchange": "dead-letter"})
    check = ("check", "-c", str(on_sqlite.file), *management(vhost))
    loses = "while queue dead-letter is unavailable, RabbitMQ loses what expires, what another consumer rejects"
    does = f"`deadletter-queue --vhost {vhost.name} --policy` prints the policy that keeps it"
    told(on_sqlite.run(*check), "!", [f"queue readings: {loses}, what is over the delivery limit.*{does}$"])
    policy = {"dead-letter-strategy": "at-least-once", "overflow": "reject-publish"}
    definition = {"pattern": "^readings$", "definition": policy, "apply-to": "queues"}
    vhost.api("PUT", "/api/policies/{vhost}/kept", definition)
    eventually(lambda: lines(on_sqlite.run(*check), "!") == [], what="the policy at work")


def test_what_a_user_may_not_do_is_told(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    on_sqlite.configure()
    assert on_sqlite.run("receive", "-c", str(on_sqlite.file)).returncode == 3
    vhost.node.api("PUT", "/api/users/limited", {"password": "pass/word;3", "tags": ""})
    rights = {"configure": "", "write": "^none$", "read": ""}
    vhost.node.api("PUT", f"/api/permissions/{vhost.quoted}/limited", rights)
    on_sqlite.configure(broker={"username": "limited", "password": "pass/word;3"})
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    told(
        done,
        "✘",
        [
            r"rights of limited: may not publish to dead-letter exchange dead-letter → give limited the right write",
            r"rights of limited: may not read queue readings → give limited the right read",
        ],
    )
    assert done.returncode == 77


def test_a_routing_key_that_a_user_may_not_dead_letter_with_is_told(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    on_sqlite.configure()
    assert on_sqlite.run("receive", "-c", str(on_sqlite.file)).returncode == 3
    topics = {"exchange": "dead-letter", "write": "^others$", "read": ".*"}
    vhost.node.api("PUT", f"/api/topic-permissions/{vhost.quoted}/{vhost.username}", topics)
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    may_not = "may not publish to dead-letter exchange dead-letter with the routing key readings"
    told(
        done, "✘", [rf"rights of connector: {may_not} → give connector .* set_topic_permissions -p \w+ connector dead-"]
    )
    assert done.returncode == 77
    assert vhost.depth("dead-letter") == 0


@pytest.mark.parametrize(
    ("broker", "database", "said", "code"),
    [
        ({"password": "wrong"}, {}, r"broker 127\.0\.0\.1:\d+: 403 .* → correct username and password", 77),
        ({"port": 1}, {}, r"broker 127\.0\.0\.1:1: unreachable .*connection refused → is it running", 69),
        ({"virtual_host": "nowhere"}, {}, r"broker .*: 530 .* → create the virtual host", 78),
        ({}, {"connection": {"Driver": "None", "Database": "x"}}, r"database: .* → install the driver, or correct", 78),
    ],
)
def test_what_cannot_be_reached_is_told_with_what_to_do(
    on_sqlite: Connector, broker: dict[str, Any], database: dict[str, Any], said: str, code: int
) -> None:
    on_sqlite.configure(broker=broker, database=database)
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    told(done, "✘", [said])
    assert done.returncode == code


def test_a_file_of_sqlite_that_is_not_there_is_told_and_not_made(on_sqlite: Connector) -> None:
    file = on_sqlite.folder / "none.db"
    on_sqlite.configure(database={"connection": {"Driver": "SQLite3", "Database": str(file)}})
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    told(done, "✘", [r"database: \S+/none\.db is not there → create it"])
    assert done.returncode == 78
    assert not file.exists()


def test_the_mapping_is_compared_with_the_columns(on: Any) -> None:
    connector: Connector = on("postgres_db")
    connector.database.execute("CREATE TABLE log (id integer, at timestamptz, note text NOT NULL, n integer)")
    write = {
        "statement": "INSERT INTO log (id, at, n) VALUES (:id, :at, :n)",
        "values": {"at": {"path": "at", "type": "boolean"}, "n": {"path": "n", "map": {"a": "one"}, "default": 0}},
    }
    connector.configure(write=[write])
    done = connector.run("check", "-c", str(connector.file))
    told(
        done,
        "✘",
        [
            r"write\[0\]\.values\.at: type boolean is nothing for column at: .* → correct write\[0\]\.values\.at",
            r"write\[0\]\.values\.n: map value 'one' is nothing for column n: .* → ",
        ],
    )
    assert "! write[0]: note is NOT NULL without a default, and the statement does not fill it" in done.stdout
    assert done.returncode == 78


def test_a_right_that_the_user_lacks_in_the_database_is_told(on: Any) -> None:
    connector: Connector = on("postgres_db")
    connector.database.execute("REVOKE INSERT ON reading FROM CURRENT_USER")
    connector.configure()
    done = connector.run("check", "-c", str(connector.file))
    told(done, "✘", [r"write\[0\]: 42501 .*permission denied for table reading → grant the user this privilege"])
    assert done.returncode == 77


def test_a_query_is_compared_with_what_is_made_of_its_rows(connector: Connector) -> None:
    select = {
        "query": "SELECT id, device AS Device FROM reading WHERE id > :least",
        "params": {"least": 0},
        "on_sent": "DELETE FROM reading WHERE id = :number",
    }
    destination = {"exchange": "rows", "routing_key": "row.{Device}", "headers": {"kind": "kind"}}
    connector.configure(write=(), database={"select": select}, broker={"source": SOURCE, "destination": destination})
    done = connector.run("check", "-c", str(connector.file))
    told(
        done,
        "✘",
        [
            r"destination\.headers\.kind: kind is no column of the query; they are id, [Dd]evice",
            r"select\.on_sent: :number is no column of the query",
        ]
        if "Device" in done.stdout.partition("select.query: gives")[2].splitlines()[0]
        else [
            r"destination\.routing_key: Device is no column of the query; they are id, device",
            r"destination\.headers\.kind: kind is no column of the query; they are id, device",
            r"select\.on_sent: :number is no column of the query",
        ],
    )
    assert done.returncode == 78


def test_an_inbox_that_takes_doubles_is_told(on_sqlite: Connector) -> None:
    on_sqlite.database.execute(INBOX + ")")
    on_sqlite.configure(idempotency={"table": "inbox", "key": "$message_id"})
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    told(done, "✘", ["inbox inbox: accepts a key twice: it has no primary key"])
    assert on_sqlite.database.rows("SELECT count(*) FROM inbox") == [(0,)]


@pytest.mark.parametrize(
    ("body", "line", "code"),
    [
        (reading(1), "✔ sample message.json: would be written by 1 statement", 0),
        (
            b'{"id": 1, "device": ["p-1"], "value": 1.5}',
            "✘ sample message.json: would be rejected: bad-value write[0].values.device <- device: a list cannot be",
            1,
        ),
    ],
)
def test_a_sample_is_mapped_by_the_columns_that_there_are(
    on_sqlite: Connector, body: bytes, line: str, code: int
) -> None:
    on_sqlite.configure()
    (on_sqlite.folder / "message.json").write_bytes(body)
    done = on_sqlite.run("check", "-c", str(on_sqlite.file), "--sample", "message.json")
    assert lines(done)[-1].startswith(line)
    assert done.returncode == code
    assert on_sqlite.database.rows("SELECT count(*) FROM reading") == [(0,)]


def test_mistakes_in_the_file_are_lines_too_and_json_has_them_all(on_sqlite: Connector) -> None:
    on_sqlite.configure(limitz={})
    done = on_sqlite.run("check", "-c", str(on_sqlite.file), "--json")
    found = json.loads(done.stdout)
    assert found["exit"] == done.returncode == 78
    assert [each["mark"] for each in found["findings"]] == ["bad"]
    assert "limitz" in found["findings"][0]["text"]


# -- sfconnector


def test_an_org_that_is_as_configured_has_only_good_lines(divisions: Divisions) -> None:
    divisions.org.contacts(1)
    mapping = {"Subject": "Pump {device}: {alarm}", "ContactId": {"lookup": "Contact", "where": {"Email": "email"}}}
    divisions.division(auth="jwt", mapping=mapping, lanes={"count": 4, "key": "device"})
    with divisions.started():
        pass  # makes the queues
    (divisions.folder / "message.json").write_bytes(alarm(email="c0@example.com"))
    more = ("--sample", "message.json", "--message-id", "m1")
    before = divisions.org.logins("field-service@example.com")
    done = divisions.run("check", "-i", str(divisions.file), *management(divisions.vhost), *more)
    told(
        done,
        "",
        [
            r"✔ broker 127\.0\.0\.1:\d+: RabbitMQ",
            r"✔ dead-letter exchange dead-letter: topic",
            r"✔ dead-letter queue dead-letter: quorum",
            r"✔ binding dead-letter → dead-letter: by '#'",
            r"✔ queue sfconnector\.field-service: quorum, 0 messages waiting",
            r"✔ rights of connector: may publish .*, read queue sfconnector\.field-service$",
            r"✔ login of field-service: field-service@example\.com at http://127\.0\.0\.1:\d+ \(this was one login\)",
            r"✔ API of field-service: version 62\.0; the org has \d+\.0 to \d+\.0",
            r"✔ case of field-service: all 2 fields are there and may be filled",
            r"✔ case of field-service: Message_Id__c is a unique external id",
            r"✔ lookup of field-service: Contact where Email may be asked for",
            r"✔ API calls of field-service: [\d,]+ of 15,000 left in 24 hours",
            r"✔ lanes of field-service: 4 calls at a time, in the order of each device",
            r"✔ sample message\.json: division field-service would make one Case of it, in the order of key \"p-0\"",
        ],
    )
    assert done.returncode == 0
    assert divisions.org.logins("field-service@example.com") == before + 1
    assert divisions.org.cases() == []


def test_each_thing_that_an_org_lacks_is_one_line(divisions: Divisions) -> None:
    lookup = {"lookup": "Contact", "where": {"Emial": "email"}}
    mapping = {"Subject": "Pump {device}", "Priorty": "severity", "ContactId": lookup}
    divisions.division("pumps", auth="jwt", mapping=mapping)
    section = divisions.divisions["pumps"]["salesforce"]
    section["private_key"] += certificate(section["private_key"], -3)
    divisions.division("doors")
    divisions.divisions["doors"]["salesforce"]["password"] = "wrong"
    divisions.configure()
    done = divisions.run("check", "-i", str(divisions.file))
    expired = f"{datetime.now(UTC) - timedelta(3):%Y-%m-%d}"
    told(
        done,
        "✘",
        [
            f"certificate of pumps: expired on {expired} → make a new key and certificate",
            r'case of pumps: mapping\.Priorty: Case has no field "Priorty" .*; did you mean "Priority"\? → ',
            r'lookup of pumps: Contact has no field Emial; did you mean "Email"\? → ',
            r"login of doors: invalid_grant authentication failure .* → correct the login before",
        ],
    )
    assert re.search(r"! auth of doors: Salesforce .* username-password flow on 2027-02-20", done.stdout)
    assert done.returncode == 78


def test_an_api_version_that_the_org_does_not_have_ends_the_look_at_the_division(divisions: Divisions) -> None:
    divisions.division(auth="client_credentials", salesforce={"api_version": "999.0"})
    done = divisions.run("check", "-i", str(divisions.file))
    told(
        done,
        "✘",
        [r"API of field-service: the org has no version 999\.0, only \d+\.0 to \d+\.0 → correct api_version"],
    )
    assert "case of field-service" not in done.stdout
    assert done.returncode == 78


def test_an_org_that_does_not_answer_is_told_with_what_to_do(divisions: Divisions) -> None:
    divisions.division(auth="client_credentials", salesforce={"login_url": "http://127.0.0.1:1"})
    done = divisions.run("check", "-i", str(divisions.file))
    told(done, "✘", [r"login of field-service: .*127\.0\.0\.1:1.* → is login_url right"])
    assert done.returncode == 69

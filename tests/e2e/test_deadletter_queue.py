"""`deadletter-queue` as an operator runs it: making the queue, and looking at what is in it without changing it."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Connector, installed, reading
from tests.e2e.workbench import Workbench
from tests.services.deadletters import bury, dead, ids, of_four_causes
from tests.services.headers import SENT, fields, octets
from tests.services.rabbitmq import Vhost
from tests.services.server import free_port
from tests.services.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workbench(tmp_path: Path, vhost: Vhost) -> Workbench:
    return Workbench(tmp_path, vhost)


def statuses(printed: str) -> dict[str, str]:
    """Return what became of each part of the topology."""
    lines = [line.split() for line in printed.splitlines() if line.startswith("  ")]
    return {words[0]: words[-1] for words in lines if words and words[0] in ("exchange", "queue", "binding")}


# -- making it


def test_the_first_run_makes_everything_and_the_second_changes_nothing(workbench: Workbench) -> None:
    assert statuses(workbench()) == dict.fromkeys(("exchange", "queue", "binding"), "made")
    assert workbench.arguments_of("dead-letter") == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    assert statuses(workbench()) == dict.fromkeys(("exchange", "queue", "binding"), "unchanged")
    workbench.vhost.publish("dead-letter", "any.queue", b"{}")
    assert workbench.vhost.depth("dead-letter") == 1


def test_what_it_makes_is_what_the_connectors_make(workbench: Workbench, on_sqlite: Connector) -> None:
    on_sqlite.configure()
    with on_sqlite.subscribed():
        on_sqlite.publish(b"no json")
        eventually(lambda: on_sqlite.vhost.depth("dead-letter") == 1)
    assert statuses(workbench()) == dict.fromkeys(("exchange", "queue", "binding"), "unchanged")
    assert workbench.json("group")[0]["code"] == "not-decodable"


def test_a_full_queue_refuses_instead_of_dropping(workbench: Workbench) -> None:
    workbench("--max-length", "2", "--type", "classic", "--queue", "small", "--exchange", "small", "--ttl", "30d")
    assert workbench.arguments_of("small") == {
        "x-queue-type": "classic",
        "x-max-length": 2,
        "x-overflow": "reject-publish",
        "x-message-ttl": 30 * 86_400_000,
    }
    assert "older than 30 days, 0:00:00 will be deleted by the broker" in workbench.said


def test_what_is_made_differently_is_left_and_both_are_shown(workbench: Workbench) -> None:
    workbench.vhost.declare_queue("dead-letter", arguments={"x-delivery-limit": 20, "x-max-length": 5})
    printed = workbench(code=78)
    assert statuses(printed) == {"exchange": "made", "queue": "different"}
    rows = [line.split() for line in printed.splitlines()]
    assert ["x-delivery-limit", "20", "1000000"] in rows
    assert ["x-max-length", "5", "not", "set"] in rows
    assert "queue 'dead-letter' exists with other arguments, and was left as it is" in workbench.said
    assert workbench.arguments_of("dead-letter")["x-delivery-limit"] == 20
    assert [each["there"] for each in workbench.json(code=78)["parts"][1]["differences"]] == [20, 5]


def test_an_exchange_that_would_take_nothing_is_told(workbench: Workbench) -> None:
    workbench.vhost.declare_exchange("dead-letter", "direct")
    assert "direct" in workbench(code=78)
    workbench.vhost.declare_exchange("fan", "fanout")
    assert statuses(workbench("--exchange", "fan"))["exchange"] == "unchanged"


def test_a_binding_that_is_missing_is_made_and_said(workbench: Workbench) -> None:
    workbench()
    with workbench.vhost.channel() as channel:
        channel.queue_unbind("dead-letter", "dead-letter", "#")
    assert statuses(workbench())["binding"] == "made"


def test_the_policy_is_printed_and_applied(workbench: Workbench) -> None:
    workbench.vhost.declare_queue("others")
    workbench.vhost.declare_queue("old", type="classic")
    printed = workbench("--policy")
    assert "rabbitmqctl set_policy" in printed
    assert f"/api/policies/{workbench.vhost.quoted}/dead-letter" in printed
    assert workbench.vhost.api("GET", "/api/policies/{vhost}") == []

    for status in ("made", "unchanged"):
        assert [each["status"] for each in workbench.json("--apply-policy")["policies"]] == [status, status]

    def effective(queue: str) -> Any:
        return workbench.vhost.api("GET", f"/api/queues/{{vhost}}/{queue}").get("effective_policy_definition")

    target = {"dead-letter-exchange": "dead-letter"}
    kept = {"dead-letter-strategy": "at-least-once", "overflow": "reject-publish"}
    eventually(lambda: effective("others") == {**target, **kept}, what="the policy of quorum queues at work")
    eventually(lambda: effective("old") == target, what="that of others, which know no strategy")
    assert not effective("dead-letter")
    with workbench.vhost.channel() as channel:
        workbench.vhost.publish("", "others", b"{}")
        method, _, _ = channel.basic_get("others")
        channel.basic_reject(method.delivery_tag, requeue=False)
    eventually(lambda: workbench.vhost.depth("dead-letter") == 1, what="a dead letter of the broker")
    assert workbench.json("list")[0]["reason"] == "rejected"


def test_other_policies_are_told_since_a_queue_takes_only_one(workbench: Workbench) -> None:
    policy = {"pattern": ".*", "definition": {"max-length": 9}, "priority": 7, "apply-to": "queues"}
    workbench.vhost.api("PUT", "/api/policies/{vhost}/short", policy)
    workbench("--apply-policy")
    assert "policy 'short' is there too (priority 7, pattern '.*')" in workbench.said


# -- what can be wrong


def test_a_virtual_host_that_is_missing_is_told(workbench: Workbench) -> None:
    address = f"{workbench.vhost.host}:{workbench.vhost.port}"
    arguments = ["--vhost", "nope", "--host", address, "--username", workbench.vhost.username]
    done = workbench.run(*arguments, AMQP_PASSWORD=workbench.vhost.password)
    assert done.returncode == 78
    assert "virtual host 'nope' does not exist on this broker. Create it: rabbitmqctl add_vhost nope" in done.stderr


def test_a_wrong_password_is_told_and_never_printed(workbench: Workbench) -> None:
    workbench(code=77, AMQP_PASSWORD="wr0ng-password")
    assert "ACCESS_REFUSED" in workbench.said
    assert "wr0ng-password" not in workbench.said


def test_a_user_who_may_not_make_it_is_told_what_allows_it(workbench: Workbench) -> None:
    node = workbench.vhost.node
    node.api("PUT", "/api/users/reader", {"password": "r", "tags": ""})
    node.api("PUT", f"/api/permissions/{workbench.vhost.quoted}/reader", {"configure": "", "write": "", "read": ".*"})
    arguments = ["--host", f"{node.host}:{node.port}", "--vhost", workbench.vhost.name, "--username", "reader"]
    done = workbench.run(*arguments, AMQP_PASSWORD="r")
    assert done.returncode == 77
    assert f"rabbitmqctl set_permissions -p {workbench.vhost.name} reader" in done.stderr


def test_a_broker_that_is_not_there_is_told(workbench: Workbench) -> None:
    done = workbench.run("--port", str(free_port()), "--vhost", "x")
    assert done.returncode == 69
    assert "connection refused" in done.stderr


def test_a_queue_that_is_not_there_is_told(workbench: Workbench) -> None:
    workbench("list", "--from", "nope", code=78)
    assert "there is no queue 'nope' in this virtual host" in workbench.said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["list", "--where", "colour=red"], "has to be FIELD=PATTERN, with one of the fields reason, code"),
        (["list", "--since", "noon"], "neither a duration such as"),
        (["group", "--match", "device"], "has to be EXPRESSION=PATTERN"),
        (["--max-length", "5", "list"], "--max-length belongs behind list"),
        (["show", "first"], "'first' is not a valid integer"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(workbench: Workbench, arguments: list[str], problem: str) -> None:
    done = workbench.run(*arguments)
    assert done.returncode == 2
    assert problem in " ".join(done.stderr.split())


@pytest.mark.parametrize("option", ["-?", "-h", "--help"])
@pytest.mark.parametrize("program", ["installed", "script"])
def test_every_way_of_asking_for_help_gives_it(option: str, program: str) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "deadletter_queue.py")]
    command = script if program == "script" else [str(installed("deadletter-queue"))]
    done = subprocess.run([*command, option], capture_output=True, text=True, timeout=60, check=True, cwd="/")
    for text in ("--vhost", "--max-length", "list", "show", "group", "export", "import", "purge", "Exit codes:"):
        assert text in done.stdout


def test_the_script_of_a_checkout_does_the_same(workbench: Workbench) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "deadletter_queue.py"), *workbench.options()]
    done = subprocess.run(script, env=workbench.environment, capture_output=True, text=True, timeout=60, check=True)
    assert statuses(done.stdout) == dict.fromkeys(("exchange", "queue", "binding"), "made")


def test_the_configuration_of_a_connector_will_do(workbench: Workbench, on_sqlite: Connector) -> None:
    file = on_sqlite.configure(broker={"dead_letter": {"queue": "dead", "exchange": "dead"}})
    for option in ("-c", "-i"):
        done = workbench.run(option, str(file))
        assert done.returncode == 0, done.stderr
    assert workbench.vhost.exists("dead")
    assert workbench.run("list", "-c", str(file)).stdout == "dead is empty\n"


def test_options_may_stand_before_the_command_too(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(3))
    done = workbench.run(*workbench.options(), "list", "--limit", "1", AMQP_PASSWORD=workbench.vhost.password)
    assert "1 of 3 in dead-letter" in done.stdout


# -- looking


def test_group_counts_what_died_of_one_cause(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(1_000))
    groups = workbench.json("group")
    assert {group["code"]: group["count"] for group in groups} == dict.fromkeys(
        ("22001", "23503", "not-decodable", "missing-field"), 250
    )
    printed = workbench("group")
    assert sum(line.strip().startswith("250 ") for line in printed.splitlines()) == 4
    assert "1,000 of 1,000 in dead-letter" in printed
    one = groups[2]
    assert len(workbench.ids("--where", f"fingerprint={one['fingerprint']}")) == 250


@pytest.mark.slow
def test_list_25_times_changes_nothing(workbench: Workbench) -> None:
    workbench()
    workbench.vhost.publish("", "dead-letter", of_four_causes(100))
    all_of_them = [f"m-{number}" for number in range(100)]
    looks = workbench.repeated(*(["list", "--json", "--limit", str(limit)] for limit in range(1, 26)))
    for limit, (code, printed, said) in enumerate(looks, 1):
        assert code == 0, said
        assert [each["message_id"] for each in json.loads(printed)] == all_of_them[:limit]
    assert workbench.ids() == all_of_them
    eventually(lambda: workbench.vhost.unsettled("dead-letter") == 0, what="nothing held")
    assert workbench.vhost.depth("dead-letter") == 100
    assert ids(workbench.vhost.get_all("dead-letter")) == all_of_them


@pytest.mark.slow
def test_list_25_times_on_a_queue_with_a_low_limit_stops_in_time(workbench: Workbench) -> None:
    workbench.vhost.declare_queue("foreign", arguments={"x-delivery-limit": 20})
    workbench.vhost.publish("", "foreign", of_four_causes(30))
    looks = workbench.repeated(*[["list", "--from", "foreign"]] * 25)
    assert [code for code, _, _ in looks] == [0] * 15 + [78] * 10
    said = looks[-1][2]
    assert "looking stops here, nothing is lost" in said
    assert "delivery limit (20)" in said
    assert sorted(ids(workbench.vhost.get_all("foreign"))) == sorted(f"m-{number}" for number in range(30))


@pytest.mark.slow
def test_a_policy_makes_a_queue_without_a_limit_good_to_look_at_again(workbench: Workbench) -> None:
    workbench.vhost.declare_queue("foreign")
    policy = {"pattern": "^foreign$", "definition": {"delivery-limit": 20}, "apply-to": "queues"}
    workbench.vhost.api("PUT", "/api/policies/{vhost}/looks", policy)
    workbench.vhost.publish("", "foreign", of_four_causes(3))
    looks = workbench.repeated(*[["list", "--from", "foreign"]] * 17)
    assert [code for code, _, _ in looks] == [0] * 15 + [78] * 2
    assert "rabbitmqctl set_policy" in looks[-1][2]
    policy["definition"] = {"delivery-limit": 1_000_000}
    workbench.vhost.api("PUT", "/api/policies/{vhost}/looks", policy)
    eventually(lambda: workbench.answers("list", "--from", "foreign"), 15, 0.5, "a look at the queue again")
    assert len(workbench.json("list", "--from", "foreign")) == 3


def test_the_filters_choose(workbench: Workbench) -> None:
    letters = of_four_causes(8)
    letters.append(dead(b"<reading><id>8</id></reading>", code="no-row", message_id="m-8", content_type="text/xml"))
    letters.append((b"\xff\xfe", {"message_id": "m-9"}))
    bury(workbench.vhost, letters)
    assert workbench.ids("--where", "code=22001") == ["m-0", "m-4"]
    assert workbench.ids("--match", "device=p-3") == ["m-3"]
    assert workbench.ids("--match", "id=8") == ["m-8"]
    assert workbench.ids("--where", "reason=", "--limit", "1") == ["m-9"]
    assert workbench.ids("--where", "code=2*", "--limit", "3") == ["m-0", "m-1", "m-4"]
    assert workbench.json("list", "--since", "1s", code=3) == []
    assert "none of the 10 in dead-letter is meant" in workbench("list", "--queue", "others", code=3)


def test_show_tells_all_there_is_to_know_and_lets_nothing_through_to_the_terminal(workbench: Workbench) -> None:
    body = b'{"text": "\\u001b[2J <script>", "raw": "\x1b[31m", "value": 1.50}'
    bury(workbench.vhost, [*of_four_causes(2), dead(body, message_id="m-\x1b[0m", headers={"tenant": "t\x07"})])
    shown = workbench("show", "3")
    assert "\x1b" not in shown
    assert "\x07" not in shown
    for text in ("write[0].values.device", "'devices' with routing key 'reading.p-1'", '"value": 1.50', "<script>"):
        assert text in shown
    told = workbench.json("show", "3")[0]
    assert told["body"].encode() == body
    assert told["headers"]["tenant"] == "t\x07"
    assert (told["position"], told["exchange"], told["queue"]) == (3, "devices", "readings")
    assert "22001" in workbench("show", "--where", "code=22001")
    assert workbench("show", "9", code=3) == "there is no number 9: 3 in dead-letter\n"


def test_a_stop_signal_gives_everything_back(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(5_000))
    with workbench.started("list", "--json") as it:
        assert it.stdout is not None
        it.stdout.readline()  # it is looking, and waits until somebody reads on
        it.send_signal(signal.SIGINT)
        _, said = it.communicate(timeout=30)
    assert it.returncode == 1
    assert b"stopped" in said
    assert ids(workbench.vhost.get_all("dead-letter")) == [f"m-{number}" for number in range(5_000)]


def test_a_reader_who_has_seen_enough_changes_nothing(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(5_000))
    with workbench.started("list", "--json") as it:
        assert it.stdout is not None
        it.stdout.readline()
        it.stdout.close()
        assert it.stderr is not None
        said = it.stderr.read()
    assert b"Traceback" not in said
    assert ids(workbench.vhost.get_all("dead-letter")) == [f"m-{number}" for number in range(5_000)]


@pytest.mark.slow
def test_100_000_are_grouped_in_little_memory(workbench: Workbench) -> None:
    workbench()
    letters = of_four_causes(1_000, headers={"tenant": "x" * 50})
    for _ in range(100):
        workbench.vhost.publish("", "dead-letter", letters)
    environment = {"AMQP_PASSWORD": workbench.vhost.password}
    done, megabytes = workbench.measured("group", "--json", *workbench.options(), timeout=300, **environment)
    assert done.returncode == 0, done.stderr
    groups = json.loads(done.stdout)
    assert [group["count"] for group in groups] == [25_000] * 4
    assert megabytes * 1024 * 1024 < 200_000_000
    assert workbench.vhost.depth("dead-letter") == 100_000


# -- out, back and away


def test_what_is_exported_is_imported_as_it_was(workbench: Workbench) -> None:
    odd = dead(b"\xff\x00\xfe", message_id="m-odd", priority=3, headers={"n": {"a": [1, b"\xff"]}, "t": "ü"})
    bury(workbench.vhost, [*of_four_causes(20), odd])
    workbench("export", "dead.jsonl", "--where", "code=22001")
    file = workbench.folder / "dead.jsonl"
    assert len(file.read_text().splitlines()) == 6
    assert file.stat().st_mode & 0o777 == 0o600
    workbench("purge", "--where", "code=22001", "--yes")
    assert workbench.vhost.depth("dead-letter") == 15
    workbench("import", "dead.jsonl")

    taken = workbench.vhost.get_all("dead-letter")
    assert ids(taken) == [f"m-{number}" for number in range(20) if number % 4] + [
        "m-0",
        "m-4",
        "m-8",
        "m-12",
        "m-16",
        "m-odd",
    ]
    _, properties, body = taken[-1]
    assert body == b"\xff\x00\xfe"
    assert properties.priority == 3
    assert properties.headers["n"] == {"a": [1, b"\xff"]}
    assert properties.headers["dead-code"] == "22001"
    assert properties.delivery_mode == 2


def test_headers_keep_their_types_from_their_death_to_their_return(workbench: Workbench, on_sqlite: Connector) -> None:
    vhost = workbench.vhost
    on_sqlite.configure()
    with on_sqlite.subscribed():
        on_sqlite.publish(b"no json", headers=fields())
        eventually(lambda: vhost.depth("dead-letter") == 1, what="the dead letter")
    workbench("export", "dead.jsonl")
    workbench("purge", "--yes")
    workbench("import", "dead.jsonl")
    workbench("replay")
    with on_sqlite.subscribed():
        eventually(lambda: vhost.depth("dead-letter") == 1, what="its second death")
    vhost.declare_queue("back")
    workbench("edit", "--set", "$message_id=m-1", "--to-queue", "back")
    ((_, properties, _),) = vhost.get_all("back")
    assert properties.message_id == "m-1"
    found = octets(properties.headers)
    assert {name: found.get(name) for name in SENT if found.get(name) != SENT[name]} == {}


def test_export_goes_to_standard_output_and_import_takes_standard_input(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(3))
    lines = workbench("export")
    workbench("purge", "--yes")
    workbench.told(lines, "import", "-", "--where", "code=2*")
    assert workbench.ids() == ["m-0", "m-1"]


def test_a_file_is_not_replaced_unless_told(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(2))
    file = workbench.folder / "dead.jsonl"
    file.write_text("mine")
    workbench("export", "dead.jsonl", code=78)
    assert file.read_text() == "mine"
    workbench("export", "dead.jsonl", "--overwrite")
    assert len(file.read_text().splitlines()) == 2
    assert list(workbench.folder.glob(".*")) == []


def test_export_purge_and_import_tell_as_json_what_they_did(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(8))
    assert workbench.json("export", "dead.jsonl", "--where", "code=22001") == {"queue": "dead-letter", "exported": 2}
    assert workbench.json("purge", "--yes") == {"queue": "dead-letter", "purged": 8}
    assert workbench.json("purge", "--yes", code=3) == {"queue": "dead-letter", "purged": 0}
    assert workbench.json("import", "dead.jsonl") == {"queue": "dead-letter", "imported": 2}
    assert [json.loads(line)["properties"]["message_id"] for line in workbench("export", "--json").splitlines()]
    assert json.loads(workbench.said) == {"queue": "dead-letter", "exported": 2}


def test_a_file_with_one_bad_line_imports_nothing(workbench: Workbench) -> None:
    workbench()
    (workbench.folder / "bad.jsonl").write_text('{"body": "1"}\n{"body": "2"}\n{"bdy": "3"}\n')
    workbench("import", "bad.jsonl", code=78)
    assert "bad.jsonl, line 3: expected an object with body or body_base64" in workbench.said
    assert workbench.vhost.depth("dead-letter") == 0


def test_purge_asks_first(workbench: Workbench) -> None:
    bury(workbench.vhost, of_four_causes(8))
    question = ("purge", "--where", "code=22001")
    for answer in ("n\n", ""):
        done = workbench.told(answer, *question)
        assert done.returncode == 1
        assert "Remove 2 dead letters from dead-letter permanently?" in done.stderr
        assert workbench.vhost.depth("dead-letter") == 8
    assert workbench.told("y\n", *question).returncode == 0
    assert workbench.ids() == [f"m-{number}" for number in range(8) if number % 4]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [([], []), (["--limit", "5"], [5, 6, 7]), (["--where", "code=2*", "--limit", "3"], [2, 3, 5, 6, 7])],
)
def test_purge_removes_what_is_meant_and_nothing_else(
    workbench: Workbench, arguments: list[str], left: list[int]
) -> None:
    bury(workbench.vhost, of_four_causes(8))
    workbench("purge", "--yes", *arguments)
    assert ids(workbench.vhost.get_all("dead-letter")) == [f"m-{number}" for number in left]
    assert "nothing to purge" in (workbench("purge", "--yes", code=3) or workbench.said)


def test_a_connector_processes_what_was_mended_at_the_broker(on_sqlite: Connector, workbench: Workbench) -> None:
    """From the connector into the queue, out into a file, and back as a dead letter: nothing of it changes."""
    on_sqlite.configure()
    with on_sqlite.subscribed():
        on_sqlite.publish(reading(1, value=5000), message_id="m-1")
        eventually(lambda: on_sqlite.vhost.depth("dead-letter") == 1)
    first = workbench.json("show", "1")
    workbench("export", "one.jsonl")
    workbench("purge", "--yes")
    workbench("import", "one.jsonl")
    assert workbench.json("show", "1") == first


# -- what strangers wrote into the headers

HOSTILE: list[dict[str, Any]] = [
    {"dead-reason": "reject", "dead-time": "0001-01-01T00:00:00+23:59"},
    {"dead-reason": "reject", "dead-time": "9999-12-31T23:59:59-23:59"},
    {"dead-reason": "reject", "dead-time": 253402300799, "dead-replays": 2**63 - 1},
    {"dead-reason": "reject", "dead-replays": -(2**63), "dead-attempts": -1},
    {"dead-reason": "\x1b[2J", "dead-text": "\x9b2J\u202e\u2028", "dead-queue": "\x85"},
    {"dead-reason": b"\xff", "dead-queue": ["q"], "dead-detail": {"a": 1}},
    {"x-death": [{"time": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "queue": "q", "reason": "expired"}]},
    {"x-death": [{"time": datetime(1970, 1, 1, tzinfo=UTC), "count": "many", "routing-keys": [1]}]},
    {"x-death": ["none"], "x-first-death-queue": 1},
    {"x-death": {"time": 1}, "": ""},
]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
def test_what_strangers_wrote_into_headers_costs_no_other_letter(
    workbench: Workbench, zone: str, tmp_path: Path
) -> None:
    good = dead(message_id="good")
    bury(workbench.vhost, [*((b"{}", {"headers": headers}) for headers in HOSTILE), good])
    count = len(HOSTILE) + 1
    assert [each["position"] for each in workbench.json("list", TZ=zone)] == list(range(1, count + 1))
    assert f"{count} of {count} in dead-letter" in workbench("list", TZ=zone)
    assert sum(each["count"] for each in workbench.json("group", TZ=zone)) == count
    assert f"{count} of {count} in dead-letter" in workbench("group", TZ=zone)
    assert len(workbench.json("show", TZ=zone)) == count
    assert "message_id" in workbench("show", "--limit", "99", TZ=zone)
    assert workbench("export", "-", TZ=zone).count("\n") == count
    assert workbench.ids("--since", "2026-01-01", "--until", "2026-12-31") == ["good"]
    report = workbench.json("replay", "--to-queue", "dead-letter.2", "--dry-run", code=1, TZ=zone)
    assert report["sent"] + sum(each["count"] for each in report["left"]) == count
    workbench("purge", "--yes", TZ=zone)
    assert workbench.vhost.depth("dead-letter") == 0

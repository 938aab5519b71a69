"""A source in shards, as an operator sees it: what `check` says before and after, what the status shows; and Cases."""

import re
from collections import defaultdict
from typing import Any

from tests.e2e.cases import Divisions, alarm
from tests.e2e.conftest import Connector, reading
from tests.e2e.test_check import lines, management, told
from tests.services.server import free_port
from tests.services.waiting import eventually

SOURCE = {"queue": "readings", "exchange": "devices", "routing_keys": ["#"], "shards": 3}


def test_check_and_status_show_which_process_has_which_shard(on_sqlite: Connector) -> None:
    vhost, file = on_sqlite.vhost, str(on_sqlite.file)
    check = ("check", "-c", file, *management(vhost))
    on_sqlite.configure(broker={"source": SOURCE}, monitoring={"port": free_port()}, lanes={"key": "device"})
    before = on_sqlite.run(*check)
    assert before.returncode == 0
    missing = "does not exist yet → it is created at startup"
    assert f"! exchange readings.shards: {missing}" in before.stdout
    assert f"! queue readings.2: {missing}" in before.stdout
    assert re.search("! .*lanes.key: the shards are divided by the whole routing key", before.stdout)
    assert not vhost.exists("readings.0")
    on_sqlite.configure(broker={"source": SOURCE}, monitoring={"port": free_port()}, lanes={"key": "$routing_key"})

    with on_sqlite.subscribed():
        for number in range(1, 31):
            vhost.publish("devices", f"d-{number}", reading(number))
        eventually(lambda: on_sqlite.database.count("reading") == 30)
        status = on_sqlite.run("status", "-c", file)
        assert status.returncode == 0
        (process,) = re.findall(r"^  process +(\S+-\d+-\w{4})\b", status.stdout, re.MULTILINE)
        assert len(re.findall(r"^  shard readings\.\d +last message in ", status.stdout, re.MULTILINE)) == 3
        assert "readings: 0 waiting, 0 held, 3 consumers" in status.stdout
        held = [rf"✔ queue readings\.{n}: quorum, 0 messages waiting, 1 consumer, {process} has it$" for n in range(3)]
        eventually(lambda: f"{process} has it" in on_sqlite.run(*check).stdout)
        found = "\n".join(lines(on_sqlite.run(*check)))
        for pattern in (
            *held,
            r"[✔!] exchange readings\.shards: (hashes|after a restart of a node)",
            r"✔ binding devices → readings\.shards: by '#'$",
        ):
            assert re.search(pattern, found, re.MULTILINE), found

    vhost.declare_queue("readings")
    text = r"shards of readings: queue 'readings' without shards is still there, 0 waiting in it"
    told(on_sqlite.run(*check), "✘", [text])
    refused = on_sqlite.run("subscribe", "-c", file)
    assert refused.returncode == 78
    assert "without shards is still there" in refused.stderr
    assert on_sqlite.run("receive", "-c", file).returncode == 78


def test_the_cases_of_each_device_are_made_in_order_from_the_shards_that_divisions_share(divisions: Divisions) -> None:
    taking: dict[str, Any] = {
        "source": {"queue": "alarms", "exchange": "devices", "shards": 4},
        "batch": {"size": 20, "wait_ms": 20},
        "lanes": {"count": 2, "key": "$routing_key"},
    }
    divisions.division("pumps", match={"alarm": "hot*"}, **taking)
    divisions.division("fans", match={}, **taking)
    keys = [f"d{number}" for number in range(10)]
    with divisions.started():
        for kind in ("hot", "cold"):
            for key in keys:
                bodies = [alarm(alarm=f"{kind} {number:02d}", device=key) for number in range(6)]
                messages = [(body, {"message_id": f"{kind}-{key}-{at}"}) for at, body in enumerate(bodies)]
                divisions.vhost.publish("devices", key, messages)
        divisions.cases(120)
    found: dict[str, list[str]] = defaultdict(list)
    for case in divisions.org.cases():
        device, alarmed = re.fullmatch(r"Pump (\S+): (.+)", case["Subject"]).groups()  # type: ignore[union-attr]
        found[f"{device} {alarmed.split()[0]}"].append(alarmed)
    assert len(found) == 20
    assert all(each == sorted(each) and len(each) == 6 for each in found.values())
    assert divisions.vhost.depth("dead-letter") == 0

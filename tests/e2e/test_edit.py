"""`deadletter-queue edit`: dead letters are put right and sent back; what would die again stays, originals are kept."""

import json
import re
import stat
from pathlib import Path

import pytest

from tests.e2e.conftest import Connector
from tests.e2e.workbench import Workbench
from tests.services.deadletters import QUEUE, bury, dead, headers, ids, of_four_causes
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


@pytest.fixture
def bench(tmp_path: Path, vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.delenv("VISUAL", raising=False)
    vhost.declare_queue("readings")
    return Workbench(tmp_path, vhost)


def editor(bench: Workbench, script: str) -> str:
    """Return a command that edits a file as a person would: `script` is Python over its `text`."""
    program = bench.folder / "editor"
    program.write_text(
        "#!/usr/bin/env python3\n"
        "import os, sys\n"
        "text = open(sys.argv[-1], newline='').read()\n"
        f"{script}\n"
        "open(sys.argv[-1], 'w', newline='').write(text)\n"
        # Editors tell by the time of the last change; two writes can come within one tick of the clock.
        "os.utime(sys.argv[-1], (2_000_000_000, 2_000_000_000))\n"
    )
    program.chmod(0o755)
    return str(program)


def originals(bench: Workbench) -> list[Path]:
    return sorted(bench.folder.glob("originals-*.jsonl"))


def bodies(vhost: Vhost, queue: str) -> list[bytes]:
    return [body for _, _, body in vhost.get_all(queue)]


def test_a_value_is_put_right_in_all_that_are_chosen_and_they_are_processed(on_sqlite: Connector) -> None:
    vhost, database = on_sqlite.vhost, on_sqlite.database
    bench = Workbench(on_sqlite.folder, vhost)
    on_sqlite.configure()
    bury(vhost, of_four_causes(40))
    with on_sqlite.subscribed():
        arguments = ("--where", "code=22001", "--set", "device=p-77", "-c", str(on_sqlite.file))
        report = bench.json("edit", *arguments)
        assert (report["sent"], report["left"], report["others"]) == (10, [], 30)
        eventually(lambda: database.count("reading") == 10)
    assert database.rows("SELECT DISTINCT device FROM reading") == [("p-77",)]
    assert ids(vhost.get_all(QUEUE)) == [f"m-{number}" for number in range(40) if number % 4]


def test_the_originals_are_kept_for_their_owner_and_can_be_put_back(bench: Workbench) -> None:
    vhost = bench.vhost
    bury(vhost, of_four_causes(4))
    before = {taken[1].message_id: (taken[2], dict(headers(taken))) for taken in vhost.get_all(QUEUE)}
    bury(vhost, of_four_causes(4))
    bench("edit", "--set", "device=p-77")
    (file,) = originals(bench)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.name in bench.said
    bench("import", str(file))
    assert {taken[1].message_id: (taken[2], dict(headers(taken))) for taken in vhost.get_all(QUEUE)} == before


def test_a_dry_run_shows_the_difference_and_changes_nothing(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(8))
    said = bench("edit", "--where", "code=22001", "--set", "device=p-77", "--dry-run")
    assert '-  "device": "p-0",' in said
    assert '+  "device": "p-77",' in said
    assert "2 would be sent back" in said
    assert (bench.vhost.depth(QUEUE), bench.vhost.depth("readings"), originals(bench)) == (8, 0, [])


def test_a_json_patch_changes_those_that_it_fits(bench: Workbench) -> None:
    patch = bench.folder / "mend.json"
    patch.write_text(json.dumps([{"op": "remove", "path": "/old"}, {"op": "add", "path": "/new", "value": 1}]))
    bury(bench.vhost, [dead(b'{"old":1}', message_id="m-0"), dead(b'{"id":1}', message_id="m-1")])
    report = bench.json("edit", "--patch", str(patch), code=1)
    assert report["sent"] == 1
    assert "does not apply" in report["left"][0]["reason"]
    assert bodies(bench.vhost, "readings") == [b'{"new":1}']
    assert ids(bench.vhost.get_all(QUEUE)) == ["m-1"]


def test_a_header_and_a_field_are_removed_where_both_are(bench: Workbench) -> None:
    stale = {"stale": "x", "n": 1}
    messages = [
        dead(b'{"id":0,"unit":"C"}', message_id="m-0", headers=stale),
        dead(b'{"id":1,"unit":"C"}', message_id="m-1"),
        dead(b'{"id":2}', message_id="m-2", headers=stale),
        dead(b"<r><unit>C</unit><id>3</id></r>", message_id="m-3", headers=stale),
    ]
    bury(bench.vhost, messages)
    said = bench("edit", "--unset", "unit", "--unset", "$headers.stale", "--dry-run", code=1)
    assert '-stale: "x"' in said
    assert '-  "unit": "C"' in said
    report = bench.json("edit", "--unset", "unit", "--unset", "$headers.stale", code=1)
    assert report["sent"] == 2
    reasons = {each["reason"]: each["count"] for each in report["left"]}
    assert reasons == {"there is no header 'stale'": 1, "there is no unit in the body": 1}
    sent = bench.vhost.get_all("readings")
    assert [body for _, _, body in sent] == [b'{"id":0}', b"<r><id>3</id></r>"]
    assert [[name for name in headers(each) if not name.startswith("dead-")] for each in sent] == [["n"], ["n"]]
    assert ids(bench.vhost.get_all(QUEUE)) == ["m-1", "m-2"]


def test_a_path_that_no_message_has_sends_nothing(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(8))
    said = bench("edit", "--set", "device=p-77", "--unset", "$headers.typo", code=1)
    assert "left: there is no header 'typo'" in said
    assert "0 sent back, 8 left" in said
    assert (bench.vhost.depth(QUEUE), bench.vhost.depth("readings"), originals(bench)) == (8, 0, [])


def test_what_would_die_again_stays_as_it_is(bench: Workbench, on_sqlite: Connector) -> None:
    on_sqlite.configure()
    bury(bench.vhost, [dead(b'{"id":1,"device":"p","value":1}'), dead(b'{"id":2,"value":1}')])
    report = bench.json("edit", "--set", "value=2", "-c", str(on_sqlite.file), code=1)
    assert report["sent"] == 1
    assert "it would be dead-lettered again" in report["left"][0]["reason"]
    assert "device" in report["left"][0]["reason"]
    assert bodies(bench.vhost, QUEUE) == [b'{"id":2,"value":1}']


def test_a_message_of_another_connector_is_not_held_to_this_configuration(
    bench: Workbench, on_sqlite: Connector
) -> None:
    on_sqlite.configure()
    bench.vhost.declare_queue("alarms")
    bury(bench.vhost, [dead(b'{"a":1}', queue="alarms", message_id=f"m-{number}") for number in range(2)])
    report = bench.json("edit", "1", "--set", "a=2", "--to-queue", "readings", "-c", str(on_sqlite.file), code=1)
    assert "it would be dead-lettered again" in report["left"][0]["reason"]
    assert bench.json("edit", "--set", "a=2", "-c", str(on_sqlite.file))["sent"] == 2
    assert bodies(bench.vhost, "alarms") == [b'{"a":2}', b'{"a":2}']


def test_a_change_that_changes_nothing_is_not_sent(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(1))
    report = bench.json("edit", "--set", "device=p-0", "--set", "$headers.a=1", code=0)
    assert report["sent"] == 1
    bury(bench.vhost, [dead(b'{"device":"p-0"}')])
    assert bench.json("edit", "--set", "device=p-0", code=1)["left"][0]["reason"] == "the change has no effect"


def test_one_that_was_sent_back_too_often_can_be_mended_all_the_same(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(1, headers={"dead-replays": 9}))
    bench("edit", "--set", "device=p-77")
    (taken,) = bench.vhost.get_all("readings")
    assert headers(taken)["dead-replays"] == 10


def test_the_one_at_a_position_is_changed_and_its_neighbours_are_not(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(5))
    assert bench.json("edit", "3", "--set", "device=p-77")["sent"] == 1
    assert ids(bench.vhost.get_all("readings")) == ["m-2"]
    assert ids(bench.vhost.get_all(QUEUE)) == ["m-0", "m-1", "m-3", "m-4"]


def test_in_an_editor_body_and_headers_are_changed(bench: Workbench) -> None:
    bury(bench.vhost, [*of_four_causes(3), dead(b"a|b\r\n", message_id="m-3", headers={"division": "north"})])
    change = "text = text.replace('a|b', 'c|d').replace('north', 'south')"
    report = json.loads(bench("edit", "4", "--json", EDITOR=editor(bench, change)))
    assert (report["sent"], report["others"]) == (1, 3)
    (taken,) = bench.vhost.get_all("readings")
    assert (taken[2], headers(taken)["division"]) == (b"c|d\r\n", "south")
    assert ids(bench.vhost.get_all(QUEUE)) == ["m-0", "m-1", "m-2"]


def test_many_broken_bodies_are_corrected_in_a_file(bench: Workbench) -> None:
    broken = [dead(b'{"id":%d,' % number, code="not-decodable", message_id=f"m-{number}") for number in range(30)]
    bury(bench.vhost, [*broken, *of_four_causes(1)])
    bench("export", "broken.jsonl", "--where", "code=not-decodable")
    bench("purge", "--where", "code=not-decodable", "--yes")
    lines = (bench.folder / "broken.jsonl").read_text()
    (bench.folder / "corrected.jsonl").write_text(re.sub(',"}$', '}"}', lines, flags=re.MULTILINE))
    bench("import", "corrected.jsonl")
    bench("replay", "--where", "code=not-decodable")
    sent = bench.vhost.get_all("readings")
    assert [body for _, _, body in sent] == [b'{"id":%d}' % number for number in range(30)]
    assert {headers(each)["dead-replays"] for each in sent} == {1}
    assert ids(bench.vhost.get_all(QUEUE)) == ["m-0"]


def test_in_an_editor_those_that_are_left_alone_stay(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(4))
    change = "text = text.replace('p-1', 'p-77')"
    assert json.loads(bench("edit", "--json", EDITOR=editor(bench, change)))["sent"] == 1
    assert ids(bench.vhost.get_all("readings")) == ["m-1"]
    assert ids(bench.vhost.get_all(QUEUE)) == ["m-0", "m-2", "m-3"]
    bury(bench.vhost, of_four_causes(2))
    bench("edit", EDITOR=editor(bench, "pass"), code=3)
    assert "nothing was changed" in bench.said
    assert bench.vhost.depth(QUEUE) == 2


def test_what_a_person_writes_is_checked_before_it_is_sent(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(1))
    bench("edit", EDITOR=editor(bench, "text = text.replace('}', '', 9)"), code=3)
    assert "not sent" in bench.said
    assert bench.vhost.depth(QUEUE) == 1


def test_nobody_has_to_edit_hundreds_by_hand(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(100))
    bench("edit", EDITOR=editor(bench, "raise SystemExit(1)"), code=1)
    assert "more than 20 are meant" in bench.said
    assert bench.ids("--limit", "100") == [f"m-{number}" for number in range(100)]


def test_an_editor_that_does_not_start_is_told(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(1))
    bench("edit", EDITOR="/no/such/editor", code=78)
    assert "/no/such/editor" in bench.said
    assert bench.vhost.depth(QUEUE) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--set", "nonsense"], "'nonsense' has to be PATH=VALUE"),
        (["--set", "$now=1"], "'$now' cannot be"),
        (["--unset", "device=1"], "'device=1' has to be a path"),
        (["--unset", "$headers.dead-code"], "'$headers.dead-code' cannot be changed"),
        (["--patch", "gone.json"], "gone.json"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(bench: Workbench, arguments: list[str], text: str) -> None:
    bury(bench.vhost, of_four_causes(1))
    bench("edit", *arguments, code=2)
    assert text in bench.said
    assert (bench.vhost.depth(QUEUE), bench.vhost.depth("readings")) == (1, 0)


def test_without_a_terminal_no_editor_is_started_that_needs_one(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    bury(bench.vhost, of_four_causes(1))
    done = bench.told("", "edit", "1")
    assert (done.returncode, "give --set, --unset or --patch" in done.stderr) == (78, True)


def test_originals_that_cannot_be_written_keep_everything_where_it_is(bench: Workbench) -> None:
    bury(bench.vhost, of_four_causes(3))
    bench("edit", "--set", "device=p-77", "--originals", "/no/such/folder/file", code=78)
    assert bench.ids() == ["m-0", "m-1", "m-2"]
    assert bench.vhost.depth("readings") == 0

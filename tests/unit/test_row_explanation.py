"""What a row of `select` would become, without broker and database: for `explain --row` and for configuration tests."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from connectorlib.preflight.explanation import Explanation, Given
from dbconnector import explain as db
from dbconnector.cli import main
from tests.pages import blocks

OUTBOX: dict[str, Any] = {
    "database": {
        "connection": {"Driver": "SQLite3", "Database": "nowhere.db", "Pwd": "${NOT_SET_HERE}"},
        "select": {
            "query": "SELECT id, device, payload FROM outbox",
            "on_sent": "UPDATE outbox SET sent = 1 WHERE id = :ID",
            "on_failed": "UPDATE outbox SET error = :error WHERE id = :id",
        },
    },
    "broker": {
        "host": "nowhere.invalid",
        "password": "${NOT_SET_HERE}",
        "destination": {
            "exchange": "commands",
            "routing_key": "command.{device}",
            "message_id": "outbox-{id}",
            "headers": {"site": {"value": "plant-7"}, "at": "$now"},
            "expiration": {"value": 60000},
        },
    },
}
FOLLOW = {"column": "changed_at", "key": "id", "state": {"table": "connector_cursor"}}
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def configured(destination: dict[str, Any] | None = None, **select: Any) -> dict[str, Any]:
    """Return the configuration with other members of these sections; None takes one out."""
    config = json.loads(json.dumps(OUTBOX))
    for section, members in (
        (config["database"]["select"], select),
        (config["broker"]["destination"], destination or {}),
    ):
        section |= members
        for name in [name for name, value in section.items() if value is None]:
            del section[name]
    return dict(config)


def explained(folder: Path, row: dict[str, Any], config: Any = OUTBOX) -> Explanation:
    file = folder / "db.config"
    file.write_text(json.dumps(config))
    (found,) = db.opened(str(file)).explain_rows([row], Given(now=NOW))
    return found


def test_a_row_is_explained_with_its_message_and_with_what_marks_it(tmp_path: Path) -> None:
    found = explained(tmp_path, {"id": 7, "device": "p-1"})
    assert found.title == "would be published to exchange commands with routing key 'command.p-1'"
    assert found.data == {
        "published": {
            "exchange": "commands",
            "routing_key": "command.p-1",
            "message_id": "outbox-7",
            "content_type": "application/json",
            "expiration": "60000",
            "headers": {"site": "plant-7", "at": "2026-01-02T00:00:00+00:00"},
            "body": {"id": 7, "device": "p-1"},
        },
        "on_sent": {"ID": 7},
    }
    assert '    "device": "p-1"' in found.lines
    assert "  expiration    60000 (milliseconds)" in found.lines
    assert found.lines[-7:] == [
        "on_sent, once the broker has confirmed it",
        "  UPDATE outbox SET sent = 1 WHERE id = :ID",
        "    :ID = 7",
        "",
        "on_failed, if no queue takes it",
        "  UPDATE outbox SET error = :error WHERE id = :id",
        "    :error = <why it failed>, :id = 7",
    ]


@pytest.mark.parametrize(
    ("destination", "row", "content"),
    [
        ({}, {"id": 1, "device": "ä", "payload": [1.50]}, {"body": {"id": 1, "device": "ä", "payload": [1.50]}}),
        ({"body": "payload"}, {"id": 1, "device": "a", "payload": "text"}, {"body": "text"}),
        (
            {"body": "payload"},
            {"id": 1, "device": "a", "payload": {"type": "hex", "value": "00ff"}},
            {"base64": "AP8="},
        ),
        (
            {"body": "payload", "content_type": "application/json"},
            {"id": 1, "device": "a", "payload": "{no"},
            {"body": "{no"},
        ),
    ],
)
def test_a_body_is_shown_as_what_it_is(
    tmp_path: Path, destination: dict[str, Any], row: dict[str, Any], content: dict[str, Any]
) -> None:
    published = explained(tmp_path, row, configured(destination)).data["published"]
    assert {name: value for name, value in published.items() if name in ("body", "base64")} == content


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"type": "timestamp", "value": "2026-01-02T03:04:05Z"}, "2026-01-02T03:04:05+00:00"),
        ({"type": "date", "value": "2026-01-02"}, "2026-01-02"),
        ({"type": "decimal", "value": "1.50"}, 1.5),
        ({"type": "base64", "value": "AP8="}, "AP8="),
        ({"type": "json", "value": {"type": "date", "value": 1}}, {"type": "date", "value": 1}),
        ({"type": "door", "value": 1}, {"type": "door", "value": 1}),
    ],
)
def test_a_value_may_say_its_type(tmp_path: Path, value: Any, text: Any) -> None:
    row = {"id": 1, "device": "a", "payload": value}
    assert explained(tmp_path, row).data["published"]["body"]["payload"] == text


def test_a_value_that_is_none_of_its_type_is_named_by_its_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^at: 'soon' is not a date"):
        explained(tmp_path, {"id": 1, "device": "a", "at": {"type": "date", "value": "soon"}})


def test_a_row_that_cannot_be_published_shows_what_on_failed_would_get(tmp_path: Path) -> None:
    found = explained(tmp_path, {"id": 7, "device": None})
    assert found.rejection is not None
    failure = found.rejection.failure
    assert (failure.code, failure.detail) == ("missing-field", "destination.routing_key")
    assert found.data == {"on_failed": {"error": "destination.routing_key: missing-field device: is null", "id": 7}}
    assert found.lines[-1] == "    :error = 'destination.routing_key: missing-field device: is null', :id = 7"


@pytest.mark.parametrize(
    ("config", "row"),
    [
        (configured(on_failed=None), {"id": 7, "device": None}),
        (OUTBOX, {"id": 7, "dvice": "p-1"}),
        (OUTBOX, {"device": "p-1"}),
        (configured(on_sent=None, follow=FOLLOW), {"id": 7, "device": "p-1"}),
    ],
)
def test_a_row_at_which_reading_stops_is_rejected(tmp_path: Path, config: Any, row: dict[str, Any]) -> None:
    found = explained(tmp_path, row, config)
    assert found.rejection is not None
    assert found.data == {}


def test_without_on_sent_it_is_told_that_every_run_publishes_the_row_again(tmp_path: Path) -> None:
    found = explained(tmp_path, {"id": 7, "device": "p-1"}, configured({"message_id": None}, on_sent=None))
    assert found.lines[-1] == "nothing marks the row: every run publishes it again"
    assert found.data["published"]["message_id"] == "(a random UUID)"


def test_a_followed_row_has_its_id_and_the_query_is_shown_as_it_is_run(tmp_path: Path) -> None:
    config = configured({"message_id": None}, on_sent=None, follow=FOLLOW)
    row = {"id": 7, "device": "p-1", "Changed_At": "2026-01-02 03:04:05"}
    assert explained(tmp_path, row, config).data["published"]["message_id"] == "commands:7:2026-01-02 03:04:05"
    query = list(db.opened(str(tmp_path / "db.config")).query_lines())
    assert query[-2:] == [
        "  ) followed WHERE followed.changed_at >= :low AND followed.changed_at < :horizon",
        "  ) page ORDER BY page.changed_at, page.id LIMIT 1000",
    ]


ROWS = [{"id": number, "device": device} for number, device in enumerate(["a", "a", None, "a", "b"])]


def test_rows_that_share_a_message_are_explained_together(tmp_path: Path) -> None:
    many = {"rows": 2, "message_id": None, "headers": {"part": "$part"}}
    (tmp_path / "db.config").write_text(json.dumps(configured(many)))
    found = db.opened(str(tmp_path / "db.config")).explain_rows(ROWS, Given(now=NOW))
    assert [each.title.rpartition(", ")[2] for each in found] == ["rejected", "with 2 rows", "with 1 row", "with 1 row"]
    taken = [each for each in found if each.rejection is None]
    assert [each.data["published"]["headers"]["part"] for each in taken] == [1, 2, 3]
    assert [each.data["published"]["body"] for each in taken] == [ROWS[:2], ROWS[3:4], ROWS[4:]]
    assert [each.data["on_sent"] for each in taken] == [[{"ID": 0}, {"ID": 1}], [{"ID": 3}], [{"ID": 4}]]
    assert "    row 1: :ID = 1" in taken[0].lines


# -- the commands


def run(folder: Path, command: str, *options: str, config: Any = OUTBOX, stdin: str = "") -> Result:
    (folder / "db.config").write_text(json.dumps(config))
    return CliRunner().invoke(main, [command, "-c", str(folder / "db.config"), *options], input=stdin)


GOOD = {"id": 7, "device": "p-1"}


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        (GOOD, 0, "row: would be published to exchange commands with routing key 'command.p-1'"),
        ([GOOD, {"id": 8, "device": None}], 1, "row, 2 of 2: would be rejected: missing-field device: is null"),
        ([], 2, "expected a row such as"),
        ([GOOD, {"id": 8}], 2, "row 1 has the columns id, row 0 has id, device"),
        ("text", 2, "expected a row such as"),
        ({"id": {"type": "date", "value": "x"}}, 2, "id: 'x' is not a date"),
    ],
)
def test_explain_takes_rows(tmp_path: Path, rows: Any, code: int, said: str) -> None:
    done = run(tmp_path, "explain", "--row", "-", stdin=json.dumps(rows))
    assert done.exit_code == code
    assert said in done.output


def test_explain_prints_rows_as_json(tmp_path: Path) -> None:
    done = run(tmp_path, "explain", "--row", "-", "--json", stdin=json.dumps([GOOD, GOOD]))
    assert [each["on_sent"] for each in json.loads(done.output)] == [{"ID": 7}, {"ID": 7}]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "give a MESSAGE, or a row with --row"),
        (("-", "--row", "-"), 2, "--row goes alone"),
        (("--row", "-", "--routing-key", "x"), 2, "--row: exchange, routing key and headers are for a MESSAGE"),
        (("-",), 78, "database.write is missing"),
        (("--row", "nowhere.json"), 2, "cannot be read"),
    ],
)
def test_a_message_or_a_row_is_explained_not_both(
    tmp_path: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    done = run(tmp_path, "explain", *options, stdin=json.dumps(GOOD))
    assert done.exit_code == code
    assert said in done.output


def test_rows_of_a_configuration_that_publishes_none_are_refused(tmp_path: Path) -> None:
    config = {**OUTBOX, "database": {"connection": "Driver=x", "write": [{"statement": "DELETE FROM t"}]}}
    done = run(tmp_path, "explain", "--row", "-", config=config, stdin=json.dumps(GOOD))
    assert (done.exit_code, "database.select is missing" in done.output) == (78, True)


PASSES = {
    "name": "passes",
    "row": GOOD,
    "published": {"routing_key": "command.p-1", "body": {"device": "p-1", "id": 7.0}},
    "on_sent": {"ID": 7},
}


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({}, []),
        ({"on_sent": {"ID": 8}}, ['-    "ID": 8', '+    "ID": 7']),
        (
            {"published": {"routing_key": "command.p-2", "priority": 3}},
            ['-    "priority": 3', '+    "routing_key": "command.p-1"'],
        ),
        ({"published": {"headers": {}}}, ['-    "headers": {}', '+      "site": "plant-7",']),
        ({"row": {"id": 8, "device": None}}, ['+    "code": "missing-field",', "message: would be rejected"]),
        ({"row": {"id": {"type": "date", "value": "soon"}}}, ["id: 'soon' is not a date"]),
    ],
)
def test_a_test_of_a_row_compares_what_it_names(tmp_path: Path, change: dict[str, Any], lines: list[str]) -> None:
    test = {**PASSES, "now": "2026-01-02T00:00:00Z", **change}
    (tmp_path / "db.config.tests.json").write_text(json.dumps({"tests": [test]}))
    done = run(tmp_path, "test")
    assert done.exit_code == bool(lines)
    assert [line for line in lines if line not in done.output] == []


def test_a_test_of_several_rows_compares_their_messages(tmp_path: Path) -> None:
    config = configured({"rows": "all", "message_id": None, "headers": None})
    test = {
        "name": "rows share a message",
        "row": [ROWS[0], ROWS[1], ROWS[4]],
        "published": [{"routing_key": "command.a", "body": ROWS[:2]}, {"body": ROWS[4:]}],
        "on_sent": [{"ID": 0}, {"ID": 1}, {"ID": 4}],
    }
    one = {"name": "one row", "row": ROWS[0], "published": {"body": ROWS[:1]}, "on_sent": {"ID": 0}}
    (tmp_path / "db.config.tests.json").write_text(json.dumps({"tests": [test, one]}))
    done = run(tmp_path, "test", config=config)
    assert (done.exit_code, done.output) == (0, "✔ rows share a message\n✔ one row\nall 2 passed\n")
    test["published"][1] = {"body": []}  # type: ignore[index]
    (tmp_path / "db.config.tests.json").write_text(json.dumps({"tests": [test]}))
    assert run(tmp_path, "test", config=config).exit_code == 1


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        ({"rejected": "missing-field"}, 0),
        ({"rejected": {"code": "missing-field", "detail": "routing_key"}, "on_failed": {"id": 7, "error": "x"}}, 1),
        ({"rejected": "missing-field", "on_sent": {"ID": 7}}, 1),
    ],
)
def test_a_test_of_a_rejected_row_compares_what_on_failed_gets(
    tmp_path: Path, expected: dict[str, Any], code: int
) -> None:
    test = {"name": "rejected", "row": {"id": 7, "device": None}, **expected}
    (tmp_path / "db.config.tests.json").write_text(json.dumps({"tests": [test]}))
    assert run(tmp_path, "test").exit_code == code


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"name": "a"}, "tests[0]: expected a message or a row"),
        ({"name": "a", "row": GOOD, "rows": []}, "tests[0].rows: is what a message becomes"),
        ({"name": "a", "row": GOOD, "rejected": "x", "key": "m"}, "tests[0].key: is what a message becomes"),
        ({"name": "a", "message": {"body": 1}, "rows": [], "published": {"body": 1}}, "is what a row becomes"),
        ({"name": "a", "row": GOOD, "message": {"body": 1}, "rejected": "x"}, "a message or a row, not both"),
        ({"name": "a", "row": GOOD}, "expected exactly one of rejected or published"),
        ({"name": "a", "row": GOOD, "published": {"body": 1, "rooting_key": "x"}}, "rooting_key: unknown key"),
    ],
)
def test_mistakes_of_a_tests_file_with_rows_are_told(tmp_path: Path, test: Any, said: str) -> None:
    (tmp_path / "db.config.tests.json").write_text(json.dumps({"tests": [test]}))
    done = run(tmp_path, "test")
    assert done.exit_code == 78
    assert said in done.output


def test_without_a_tests_file_the_command_shows_how_to_begin(tmp_path: Path) -> None:
    done = run(tmp_path, "test")
    assert done.exit_code == 78
    assert "db.config has no tests yet" in done.output
    begin, end = done.output.index("{"), done.output.rindex("}") + 1
    (tmp_path / "db.config.tests.json").write_text(done.output[begin:end])
    shown = configured({"headers": {}})
    assert run(tmp_path, "test", config=shown).exit_code == 0


def test_the_rows_in_the_documentation_become_what_it_says(tmp_path: Path) -> None:
    config = next(json.loads(each.text) for each in blocks("docs/how-to/select.md") if each.title == "select.json")
    tests = [each.text for each in blocks("docs/checking.md") if each.language == "json"]
    (tmp_path / "db.config.tests.json").write_text(tests[-1])
    assert run(tmp_path, "test", config=config).output.endswith("all 2 passed\n")

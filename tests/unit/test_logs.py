"""Logs for people at night and for machines: one line a fact, no secret, no body, repeats counted."""

import json
import logging
import re
import threading
import time

import pytest

from connectorlib.config.secrets import is_secret
from connectorlib.errors import Failed
from connectorlib.service import logs
from connectorlib.service.log_dedup import Repeats, Summary
from connectorlib.service.log_filters import QuietPika, Redact
from connectorlib.service.log_format import TextFormatter
from connectorlib.service.log_writer import flush_all
from connectorlib.service.logs import Output
from connectorlib.service.redaction import Secrets, is_secret_name, keyword_secrets, secrets
from connectorlib.shared_settings import Logging
from dbconnector.odbc import connection_string

logger = logging.getLogger("connectorlib.test")


class Lines(logging.Handler):
    """Where a test looks at what was logged."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self.came = threading.Event()
        self.now = [1000.0]
        self.output = Output([self], clock=lambda: self.now[0])

    def emit(self, record):
        self.lines.append(self.format(record))
        self.came.set()


@pytest.fixture
def log():
    """Return what logs one record through the whole way out, and the text lines that came of it."""
    lines = Lines()
    lines.setFormatter(TextFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(lines.output)
    root.setLevel("INFO")
    yield lines
    root.removeHandler(lines.output)
    lines.output.close()
    root.setLevel(level)
    secrets.clear()


def without_time(lines):
    return [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in lines.lines]


# -- text and JSON


def test_an_event_is_a_line_with_its_fields(log):
    logs.event(logger, logging.WARNING, "dead-lettered", queue="readings", code="22001", nothing=None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING dead-lettered queue=readings code=22001", log.lines[0])


VALUES = [
    (5, "5"),
    (True, "true"),
    ("plain", "plain"),
    ("Grün", "Grün"),
    ("two words", '"two words"'),
    ("a=b", '"a=b"'),
    ('say "x"', '"say \\"x\\""'),
    ("", '""'),
    ("line\nbreak", '"line\\nbreak"'),
    ("\x1b[31m", '"\\u001b[31m"'),
    (["a", "b"], "a,b"),
    (b"body", '"<4 bytes>"'),
    ("x" * 3000, "x" * 2000 + "… (3000 characters)"),
]


@pytest.mark.parametrize(("value", "shown"), VALUES)
def test_a_value_is_quoted_when_it_needs_to_be(log, value, shown):
    logs.event(logger, logging.INFO, "event", field=value)
    expected = f"INFO event field={shown}"
    assert without_time(log)[0].replace('field="x', "field=x").removesuffix('"') == expected.removesuffix('"')


def test_what_others_sent_cannot_forge_a_log_line(log):
    logger.error("%s", "bad\n2026-11-24 03:02:11 INFO all is well\u2028really")
    assert without_time(log) == ["ERROR bad\\n2026-11-24 03:02:11 INFO all is well\\u2028really"]


STEERING = [*range(0x80, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]


@pytest.mark.parametrize("code", STEERING)
def test_no_character_that_steers_a_terminal_is_in_a_line(log, code):
    evil = f"a{chr(code)}b"
    logger.info("message %s", evil)
    logs.event(logger, logging.INFO, "event", field=evil, several=[evil, "c"], text=f'"{evil}"')
    logs.paused(logger, {"flow": evil, "cause": evil, "text": evil}, do=evil)
    try:
        raise ValueError(evil)
    except ValueError:
        logger.exception("bug")
    assert len(log.lines) == 4
    for line in log.lines:
        assert chr(code) not in line
        assert f"\\u{code:04x}" in line


def test_half_a_character_is_an_escape_too(log):
    logs.event(logger, logging.INFO, "event", field="a\ud83d")
    assert log.lines[0].endswith('field="a\\ud83d"')


def test_a_bug_keeps_its_traceback(log):
    try:
        raise ValueError("with secret s3cr3t-value")
    except ValueError:
        secrets.add("s3cr3t-value")
        logger.exception("bug", extra={"event": "bug"})
    assert log.lines[0].splitlines()[0].endswith("ERROR bug")
    assert log.lines[0].splitlines()[-1] == "ValueError: with secret [secret]"


@pytest.fixture
def configured(capsys):
    """Return what configures the logs; afterwards the root logger is as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield logs.configure
    for handler in [each for each in root.handlers if each not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)
    secrets.clear()


def test_json_lines_have_stable_names(configured, capsys):
    configured(Logging(format="json"), "dbconnector")
    logs.event(logger, logging.WARNING, "given back", queue="readings", held=7, text="Grün\ud83d", message="mine")
    logger.info("plain %s", "text")
    event, plain = map(json.loads, capsys.readouterr().err.splitlines())
    assert list(event)[:5] == ["time", "level", "connector", "event", "message"]
    assert event | {"time": "", "text": ""} == {
        "time": "",
        "level": "warning",
        "connector": "dbconnector",
        "event": "given-back",
        "message": "given back",
        "queue": "readings",
        "held": 7,
        "text": "",
        "logger": "connectorlib.test",
    }
    assert (plain["event"], plain["message"]) == ("log", "plain text")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", event["time"])


def test_logs_go_to_a_file_too_which_may_be_rotated(configured, capsys, tmp_path):
    file = tmp_path / "connector.log"
    configured(Logging(file=str(file)), "dbconnector")
    logger.info("one")
    flush_all()
    file.rename(tmp_path / "connector.log.1")
    logger.info("two")
    flush_all()
    assert (tmp_path / "connector.log.1").read_text().endswith("INFO one\n")
    assert file.read_text().endswith("INFO two\n")
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_log_file_is_opened_again_once_its_folder_is_back(configured, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    configured(Logging(file=str(folder / "connector.log")), "dbconnector")
    folder.rename(tmp_path / "away")
    for text, known in (("lost", False), ("kept", True)):
        if known:
            folder.mkdir()
        logger.info(text)
        flush_all()
    assert "INFO kept\n" in (folder / "connector.log").read_text()


def test_a_line_that_cannot_be_written_is_told_and_stops_nobody():
    class Broken(logging.Formatter):
        def format(self, record):
            if record.msg == "odd":
                raise ValueError("no text")
            return super().format(record)

    written = []

    def write(data):
        written.append(data)
        return len(data)

    handler = logs.Queued(write)
    handler.setFormatter(Broken())
    handler.handle(logging.LogRecord("x", logging.INFO, "x", 1, "odd", None, None))
    handler.close()
    assert written == [b"'odd' cannot be written: ValueError('no text')\n"]


def test_a_log_file_on_a_full_disk_costs_one_line(configured, capsys):
    output = configured(Logging(file="/dev/full"), "dbconnector")
    for number in range(3):
        logger.info("line %d", number)
        output.flush()
    assert without_time_text(capsys.readouterr().err) == [
        "INFO line 0",
        "WARNING the log file /dev/full cannot be written: No space left on device",
        "INFO line 1",
        "INFO line 2",
    ]


def test_a_log_file_that_cannot_be_opened_is_a_bad_configuration(configured):
    with pytest.raises(Failed, match=r"the log file /no/such/file cannot be opened: No such file or directory"):
        configured(Logging(file="/no/such/file"), "dbconnector")


def test_configured_twice_a_line_comes_once(configured, capsys):
    configured(Logging(), "dbconnector")
    configured(Logging(level="warning"), "dbconnector")
    logger.info("hidden")
    logger.error("shown")
    assert without_time_text(capsys.readouterr().err) == ["ERROR shown"]


def without_time_text(text):
    return [line[20:] for line in text.splitlines()]


def test_a_wrong_format_string_costs_no_work(log):
    logger.error("%d %d", "x")
    assert without_time(log) == ["ERROR %d %d (arguments do not fit: TypeError)"]


# -- the pause line


def test_the_pause_line_is_the_one_of_the_documentation():
    fields = {
        "division": "field-service",
        "since": "03:02:11",
        "cause": "invalid_grant",
        "text": "authentication failure",
        "held": 0,
        "waiting": 1204,
        "next_try": "never",
    }
    do = "correct the password or security token, then systemctl restart sfconnector"
    assert logs.pause_line(fields, do) == (
        'PAUSED division=field-service since=03:02:11 cause=invalid_grant "authentication failure" held=0 waiting=1204 '
        'next_try=never do="correct the password or security token, then systemctl restart sfconnector"'
    )


PAUSES = [
    ({"cause": "08001"}, "wait", 'PAUSED cause=08001 do="wait"'),
    ({"cause": "08001", "text": "down"}, "wait", 'PAUSED cause=08001 "down" do="wait"'),
    ({"name": "two words"}, 'say "x"', 'PAUSED name="two words" do="say \\"x\\""'),
    ({"text": "a\nb"}, "wait", 'PAUSED "a\\nb" do="wait"'),
]


@pytest.mark.parametrize(("fields", "do", "line"), PAUSES)
def test_a_pause_line_quotes_what_needs_it(fields, do, line):
    assert logs.pause_line(fields, do) == line


def test_a_pause_is_one_line_and_is_never_held_back(log):
    for _ in range(3):
        logs.paused(logger, {"name": "readings", "cause": "08001"}, do="start the database")
        logs.event(logger, logging.WARNING, "RESUMED", name="readings")
    assert (
        without_time(log)
        == [
            'WARNING PAUSED name=readings cause=08001 do="start the database"',
            "WARNING RESUMED name=readings",
        ]
        * 3
    )


def test_a_pause_has_its_fields_in_json(configured, capsys):
    configured(Logging(format="json"), "dbconnector")
    logs.paused(logger, {"cause": "08001"}, do="wait")
    entry = json.loads(capsys.readouterr().err)
    assert (entry["event"], entry["cause"], entry["do"]) == ("paused", "08001", "wait")


# -- repeats


def test_the_same_warning_is_told_once_and_then_counted(log):
    for number in range(313):
        logs.event(logger, logging.WARNING, "dead-lettered", code="22001", message_id=str(number))
    log.now[0] += 60
    logs.event(logger, logging.INFO, "next")
    first, summary, following = without_time(log)
    assert (first, following) == ("WARNING dead-lettered code=22001 message_id=0", "INFO next")
    assert re.fullmatch(
        r"WARNING dead-lettered \(earlier, same warning 312 times in 60 s, last at \d\d:\d\d:\d\d\)"
        " code=22001 message_id=312",
        summary,
    )


def test_a_summary_names_no_cause_as_if_it_were_the_present_one(log):
    for cause in ("refused", "refused", "no route"):
        logs.event(logger, logging.ERROR, "failed", cause=cause)
    log.now[0] += 60
    logger.info("next")
    assert [line for line in without_time(log) if line.endswith("cause=refused")][-1].startswith(
        "ERROR failed (earlier, same error once more in 60 s, last at "
    )


def test_another_code_is_another_warning(log):
    for code in ("22001", "23505", "22001"):
        logs.event(logger, logging.WARNING, "dead-lettered", code=code)
    assert [line.split()[-1] for line in log.lines] == ["code=22001", "code=23505"]


def test_information_is_never_counted(log):
    for _ in range(3):
        logger.info("same")
    assert len(log.lines) == 3


def test_what_was_held_back_is_told_without_waiting_for_the_next_record(log, monkeypatch):
    repeats: Repeats[logging.LogRecord] = Repeats(window=0.05)
    monkeypatch.setattr(log.output, "_repeats", repeats)
    log.output._clock = time.monotonic
    logger.error("same")
    logger.error("same")
    log.came.clear()
    assert log.came.wait(5.0)
    assert without_time(log)[-1].startswith("ERROR same (earlier, same error once more in ")


def test_what_was_held_back_is_told_at_the_end(log):
    logger.error("same")
    logger.error("same")
    log.output.close()
    assert len(log.lines) == 2


def test_repeats_go_on_while_they_come_and_end_with_a_quiet_window():
    repeats: Repeats[str] = Repeats(window=60)
    assert repeats.offer("key", "a", 0)
    assert not repeats.offer("key", "b", 1)
    assert repeats.next_due() == 60
    assert repeats.due(59) == []
    assert repeats.due(60) == [Summary("b", 1, 60)]
    assert not repeats.offer("key", "c", 61)
    assert repeats.due(120) == [Summary("c", 1, 60)]
    assert repeats.due(180) == []
    assert repeats.offer("key", "d", 181)


def test_with_a_full_table_everything_is_told():
    repeats: Repeats[str] = Repeats(max_keys=1)
    assert [repeats.offer(key, key, 0) for key in ("a", "b", "b")] == [True, True, True]


# -- redaction

SHAPES = [
    ("Driver=x;PWD=abc;Server=y", "Driver=x;PWD=[secret];Server=y"),
    ("pwd={a;b}}c};x", "pwd=[secret];x"),
    ("password = 'it''s'", "password = [secret]"),
    ('{"password": "a\\"b", "x": 1}', '{"password": [secret], "x": 1}'),
    ("amqp://user:p@ss:w/rd@host:5672/vh", "amqp://user:[secret]@host:5672/vh"),
    ("https://host/path?x=1", "https://host/path?x=1"),
    ("the JWT eyJhbGciOi-JI1.eyJzdWIiOiIx.c2lnbmF0dXJl is old", "the JWT [secret] is old"),
    ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [secret]"),
    ("client_secret=abc&grant_type=password", "client_secret=[secret]&grant_type=password"),
    ("password authentication failed for user app", "password authentication failed for user app"),
    ("broker.password: expected a text", "broker.password: expected a text"),
    (
        "private_key=x api_key=x token=x secret=x",
        "private_key=[secret] api_key=[secret] token=[secret] secret=[secret]",
    ),
    ("sslpassword=x;APIKEY=x;DB_PASS=x", "sslpassword=[secret];APIKEY=[secret];DB_PASS=[secret]"),
    ("https://host/a?user=u&access_token=a%2Bb&x=1", "https://host/a?user=u&access_token=[secret]&x=1"),
    ("Driver=x;PWD={a;b}}c};Uid=u", "Driver=x;PWD=[secret];Uid=u"),
    ('{"client_secret": "x", "n": 1}', '{"client_secret": [secret], "n": 1}'),
    ('{"token": 12, "tokens": ["a", "b"]}', '{"token": [secret], "tokens": [secret]}'),
    (r'{"body": "{\"api_key\": \"a b\", \"n\": 1}"}', r'{"body": "{\"api_key\": [secret], \"n\": 1}"}'),
    ("{'private-key': 'a b'}", "{'private-key': [secret]}"),
    ("Authorization: Basic dXNlcjpwdw==, x", "Authorization: Basic [secret], x"),
    ("X-Api-Key: abc", "X-Api-Key: [secret]"),
    ("token_type=x secret_file=/run/key passed=3", "token_type=x secret_file=/run/key passed=3"),
    ("mapping.token <- token: no such field", "mapping.token <- token: no such field"),
]

NAMES = {
    "password": True,
    "Pwd": True,
    "sslKeyPassphrase": True,
    "db_pass": True,
    "client_secret": True,
    "security_token": True,
    "accessTokens": True,
    "private_key": True,
    "privateKey2": True,
    "X-Api-Key": True,
    "Authorization": True,
    "AWS_SECRET_ACCESS_KEY": True,
    "token_type": False,
    "secret_file": False,
    "client_id": False,
    "passive": False,
    "bypass": False,
    "key": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_one_table_says_which_names_mean_a_secret(name):
    assert is_secret_name(name) is NAMES[name]
    assert ("[secret]" in Secrets().redact(f"{name}=x")) is NAMES[name]
    assert (connection_string.hide_secrets({name: "x"}) == {name: "***"}) is NAMES[name]
    assert is_secret(("section", name)) is NAMES[name]


@pytest.mark.parametrize(("text", "found"), [("PWD={a;b}}c};Uid=u", "a;b}c"), ("Uid=u;Password=a b ", "a b ")])
def test_the_password_in_a_connection_string_is_a_secret_of_the_configuration(text, found):
    assert keyword_secrets(text) == [found]


def test_a_long_hostile_text_is_redacted_in_a_moment():
    for text in ("pass" * 20_000, "token-" * 20_000 + "=", "secret={" * 20_000, "token=" + '\\"' * 40_000):
        started = time.thread_time()  # what other processes do to the machine does not count
        Secrets().redact(text)
        assert time.thread_time() - started < 2


@pytest.mark.parametrize(("text", "shown"), SHAPES)
def test_shapes_of_secrets_are_hidden_though_nobody_named_them(text, shown):
    assert Secrets().redact(text) == shown


FORMS = ["pass word", "p%wd", "q'u\"o\\te", "br}ace", "tab\tbed", "pässword", "50% + more"]


@pytest.mark.parametrize("secret", FORMS)
def test_a_secret_is_hidden_in_every_form_that_libraries_print(secret):
    from urllib.parse import quote, quote_plus

    registry = Secrets()
    registry.add(secret)
    printed = [secret, repr(secret), json.dumps(secret), quote(secret), quote(secret, safe=""), quote_plus(secret)]
    for text in [*printed, f"{{{secret.replace('}', '}}')}}}"]:
        assert "[secret]" in registry.redact(f"<{text}>"), text


def test_a_short_secret_is_hidden_only_as_a_word():
    registry = Secrets()
    registry.add("able")
    assert registry.redact("able cable (able) able_c") == "[secret] cable ([secret]) able_c"


@pytest.mark.parametrize("secret", ["x", "ab", " abc\n"])
def test_a_secret_that_is_too_short_to_be_one_blots_nothing_out(secret):
    registry = Secrets()
    registry.add(secret)
    assert registry.redact(f"arguments.x-queue-type ab abc; PWD={secret.strip()};") == (
        "arguments.x-queue-type ab abc; PWD=[secret];"
    )


def test_of_two_secrets_the_longer_one_is_taken():
    registry = Secrets()
    registry.add("first-secret")
    registry.add("first-secret-and-more")
    assert registry.redact("first-secret-and-more") == "[secret]"


def test_every_line_of_a_key_is_hidden():
    registry = Secrets()
    registry.add("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nshort\n")
    assert registry.redact("got MIIEvQIBADANBgkqhkiG9w0 short") == "got [secret] short"


def test_the_public_default_password_is_no_secret():
    registry = Secrets()
    registry.add("guest")
    registry.add("")
    assert registry.redact("user guest") == "user guest"


def test_secrets_are_taken_out_of_message_arguments_and_fields(log):
    secrets.add("hunter22")
    logger.error("said %s and %r", "hunter22", {"a": "hunter22"})
    logs.event(logger, logging.ERROR, "event", field="x hunter22", password="unknown", many=["hunter22"], number=5)
    assert without_time(log) == [
        "ERROR said [secret] and {'a': '[secret]'}",
        'ERROR event field="x [secret]" password=[secret] many=[secret] number=5',
    ]


def test_other_handlers_get_the_cleaned_record_too():
    secrets.add("hunter22")
    record = logging.LogRecord("x", logging.ERROR, "", 0, "said %s", ("hunter22",), None)
    assert Redact().filter(record)
    assert record.getMessage() == "said [secret]"
    secrets.clear()


# -- pika


def pika_record(name, text, *args, error=None):
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, logging.ERROR, "", 0, text, args, exc_info)


def test_what_pika_tells_is_for_level_debug_and_without_bodies():
    record = pika_record("pika.channel", "Unexpected frame: %r", {"fragment": b"the 'body'", "other": b'"x'})
    assert not QuietPika().filter(record)
    assert record.getMessage() == "Unexpected frame: {'fragment': <bytes>, 'other': <bytes>}"
    assert (record.levelname, record.exc_info) == ("DEBUG", None)


def test_a_bug_of_ours_inside_pika_stays_an_error_in_one_line():
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = pika_record("pika.callback", "Calling %s failed", "f", error=error)
    assert QuietPika().filter(record)
    assert re.fullmatch(r"Calling f failed: ValueError: broken \(test_logs\.py:\d+\)", record.getMessage())
    assert (record.levelname, record.exc_info) == ("ERROR", None)


def test_at_level_info_pika_is_silent(configured, capsys):
    configured(Logging(), "dbconnector")
    logging.getLogger("pika.adapters").error("Socket failed to connect")
    assert capsys.readouterr().err == ""


def test_at_level_debug_pika_is_heard(configured, capsys):
    configured(Logging(level="debug"), "dbconnector")
    logging.getLogger("pika.adapters").error("Socket failed to connect")
    assert without_time_text(capsys.readouterr().err) == ["DEBUG Socket failed to connect"]


# -- called from Python: somebody else's log


@pytest.fixture
def foreign():
    """A log that is set up by somebody else; what it shows."""
    shown: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(handler.format(record))  # type: ignore[method-assign]
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield shown
    root.removeHandler(handler)


def test_a_standard_formatter_shows_an_event_with_its_fields_and_without_secrets(foreign):
    secrets.add("s3cret-value")
    fields = {"queue": "a b", "rows": 3, "nothing": None, "password": "x1y2z3", "text": "is s3cret-value"}
    logs.event(logging.getLogger("x"), logging.INFO, "sent", **fields)
    logs.event(logging.getLogger("x"), logging.DEBUG, "not shown")
    assert foreign == ['INFO sent queue="a b" rows=3 password=[secret] text="is [secret]"']
    secrets.clear()


def test_pika_is_quiet_in_our_threads_and_as_ever_in_others(foreign):
    library = logging.getLogger("pika.adapters.utils.connection_workflow")
    logs.quiet_pika("amqp")
    logs.quiet_pika("amqp")
    try:
        for name in ("amqp plant", "MainThread"):
            thread = threading.Thread(target=lambda: library.error("connection failed"), name=name)
            thread.start()
            thread.join()
        assert foreign == ["ERROR connection failed"]
        assert len(library.filters) == 1
    finally:
        library.filters.clear()

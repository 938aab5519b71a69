"""What is fuzzed: each target takes any bytes and returns what kind of answer there was; it raises when a promise does
not hold."""

import json
import re
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from pika import BasicProperties

from connectorlib.amqp.field_tables import decode_table
from connectorlib.config import json_source
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import Scope, compile_condition, compile_expression, describe_missing
from connectorlib.messages import Dead, Delivery
from connectorlib.pipeline.dead_letter import MAX_HEADER_BYTES, dead_letter
from connectorlib.service.redaction import Secrets
from connectorlib.shared_settings import DeadLetterSettings
from connectorlib.values.types import TYPES
from dbconnector.sql import compile_statement
from dbconnector.sql.lexer import tokenize
from deadletterqueue.changes import compile_set, compile_text, compile_unset, text_of
from deadletterqueue.letter import letter as letter_of
from sfconnector.soql import literal
from tests.fuzz.bodies import BODIES
from tests.fuzz.target import Target, same_kind

# -- statements

_SQL = b"""SELECT INSERT INTO t VALUES ( ) , ; :a :b :: := = ' " ` [ ] -- /* */ # $$ $t$ E' N' q' q'[ \\ ? ?| @> { } \n
UPDATE DELETE FROM WHERE SET ON CONFLICT DO NOTHING DUPLICATE KEY IN CAST AS INT BEGIN END RETURNING NULL 1 1.5 x'00'
""".split()
_STATEMENTS = [
    b"INSERT INTO t (a, b) VALUES (:a, CAST(:b AS int))",
    b"INSERT INTO t VALUES (:a, 'x', NULL) ON CONFLICT (a) DO UPDATE SET b = excluded.b",
    b"UPDATE t SET a = :a WHERE b = :b AND c IN (:c, :d)",
    b"DELETE FROM t WHERE a = :a",
    b"SELECT a::text, b[1], ':c', \":d\", `:e` /* :f */ FROM t WHERE a = :a -- :g\n ORDER BY 1",
    b"WITH x AS (SELECT :a) INSERT INTO t SELECT * FROM x",
    b"{call p(:a, :b)}",
    b"BEGIN p(:a); x := :b; END;",
    b"SELECT $$ :a $$, $t$ :b $t$, E'\\\\', q'[:c]'",
]


class Names(dict[str, None]):
    """Answers for every parameter, and remembers which were asked for."""

    def __missing__(self, name: str) -> None:
        self[name] = None


@cache
def sqlite() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b, c, d)")
    return connection


def sqlite_names(text: str) -> set[str] | None:
    """Return the parameters that SQLite finds in a text; None if it cannot read it."""
    names = Names()
    try:
        sqlite().execute(f"EXPLAIN {text}", names)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError):
        return None
    return {name for name in names if name.isidentifier()}  # others are no names for us


#: SQLite alone reads these as it does: parameters of other kinds, names in brackets, a backslash that is a character, a
#: parameter right behind a word (`SELECT:a`), which elsewhere is a slice or a label.
_NOT_FOR_SQLITE = re.compile(r"""[$@#\[\\?{]|::|[\w)'"`]:""")


def check_statement(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    try:
        tokens = tokenize(text)
        assert "".join(token.text for token in tokens) == text
        statement = compile_statement(text)
    except ValueError as error:
        return same_kind(error)
    assert len(statement.targets) == len(statement.names)
    if statement.multi_row is not None:
        assert statement.multi_row.sql(1).count("?") >= 1
        statement.multi_row.sql(3)
    if (change := statement.keyed_change) is not None:
        both = change.set("\1{}\2".format) + change.where("\1{}\2".format)
        assert re.findall("\1(\\d+)\2", both) == [*map(str, range(len(statement.names)))]
        assert len(change.operands) == len(statement.names)
    if _NOT_FOR_SQLITE.search(text) is None:
        found = sqlite_names(text)
        assert found is None or found == set(statement.names), (found, statement.names)
    shapes = [each is not None for each in (statement.multi_row, statement.any_of, statement.keyed_change)]
    return f"compiled {shapes} {len(statement.names) > 1} {sorted({str(token.type) for token in tokens})}"


# -- expressions

_RECORD = {"a": {"b": [1, {"c": None}], "": "x"}, "id": 7, "text": "1.5", "list": [[], {}], "é": True}
_TYPES = sorted(TYPES)


def check_expression(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    scope = Scope(None, _RECORD)
    kinds = []
    for spec in (text, {"jmespath": text}, *({"path": "text", "type": kind} for kind in _TYPES)):
        try:
            expression = compile_expression(spec)
        except ValueError as error:
            kinds.append(same_kind(error))
            continue
        record = _RECORD if spec is text or "jmespath" in spec else {"text": text}
        with suppress(Failed):
            value = expression.evaluate(record, scope)
            kinds.append(type(value).__name__)
        assert len(describe_missing(expression, record, scope)) < 2000 + len(text)
    return " ".join(kinds)


def _json_in(data: bytes) -> Any:
    """Return the JSON value of a text, as a configuration would hold it; the text where it is none."""
    text = data.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _need(failed: Failed, *codes: str) -> None:
    assert failed.failure.code in codes, failed


def check_condition(data: bytes) -> str:
    try:
        condition = compile_condition(_json_in(data))
    except ValueError as error:
        return same_kind(error)
    scope = Scope(None, _RECORD)
    try:
        holds = condition.matches(_RECORD, scope)
        assert len(condition.reason(_RECORD, scope)) < 4_000 + 4 * len(data)
    except Failed as failed:
        _need(failed, "bad-value")
        return same_kind(failed)
    return f"{holds} {min(3, len(condition.alternatives))} {min(3, len(condition.expressions))}"


def check_modifiers(data: bytes) -> str:
    """The modifiers of a value expression, on values of every kind."""
    given = _json_in(data)
    try:
        expression = compile_expression({"path": "a", **(given if isinstance(given, dict) else {"map": given})})
    except ValueError as error:
        return same_kind(error)
    kinds = []
    for value in _VALUES:
        try:
            kinds.append(type(expression.evaluate({"a": value}, Scope(None))).__name__)
        except Failed as failed:
            _need(failed, "bad-value", "not-in-map", "missing-field")
            kinds.append(failed.failure.code)
    return " ".join(kinds)


_VALUES = [
    *("1.234,5", " p-7 ", '{"a": [1]}', "2026-11-24T03:02:00Z", 1, -1.5, Decimal("1e300")),
    *(True, None, [1], {"b": 1}, b"\xff"),
]
_CONDITIONS = [
    *(
        b'{"id": 7, "text": ["1.?", "x*"]}',
        b'[{"text": {"gt": 1, "le": 2}}, {"active": true}]',
        b'{"a.b[0]": {"not": "x"}}',
    ),
    *(b'{"nope": {"missing": true}, "{id}-{text}": "7-*"}', b'{"$routing_key": "a.*.#"}', b'{"$headers.x": "*"}'),
]
_MODIFIERS = [
    *(b'{"parse": "json", "then": "a[0]"}', b'{"strip": true, "upper": true, "slice": [0, 3]}', b'{"decimal": ","}'),
    *(b'{"map": {"1": "a", "*": "b"}, "default": 0}', b'{"type": "timestamp", "zone": "Asia/Tokyo", "as": "%H:%M"}'),
    *(b'{"type": "epoch_s", "as": "%Y"}', b'{"type": "date", "format": "%d.%m.%Y"}', b'{"type": "integer"}'),
]
_SPEC_TOKENS = rb'{ } [ ] " : , true null 1 "a" "gt" "not" "missing" "type" "as" "%Y" "slice" "map" "default" $'.split()


# -- what comes and goes with a message


def delivery(body: bytes, headers: Any) -> Delivery:
    properties: Any = BasicProperties(message_id="m", headers=headers)
    return Delivery(1, 1, "readings", "devices", "reading.7", False, properties, body, 0.0)


def check_headers(data: bytes) -> str:
    table = len(data).to_bytes(4, "big") + data
    headers, end = decode_table(table, 0)
    assert end == len(table)
    dead = Dead(Failure(Kind.REJECT, "x", data.decode("utf-8", "replace")))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    letter = dead_letter(delivery(b"", headers), dead, settings=DeadLetterSettings(), connector="c", now=now)
    encoded = b"".join(BasicProperties(**letter.properties).encode())
    assert len(encoded) < MAX_HEADER_BYTES + 4096, len(encoded)
    assert not {"CC", "BCC", "x-death"} & set(letter.properties["headers"])
    return " ".join(sorted({type(value).__name__ for value in headers.values()}))


def check_edit(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    original = letter_of(delivery(b'{"a": {"b": [1, 2]}}', {"site": "a"}))
    try:
        compile_text(text, original)
        kind = "edited"
    except ValueError as error:
        kind = same_kind(error)
    for compiled, done in ((compile_set, " set"), (compile_unset, " removed")):
        try:
            compiled(text)(original)
            kind += done
        except (ValueError, Failed) as error:
            kind += same_kind(error)
    return kind


_EDITABLE = text_of(letter_of(delivery(b'{"a": {"b": [1, 2]}}', {"site": "a"}))).encode()


def check_configuration(data: bytes) -> str:
    found = json_source.read(data.decode("utf-8", "replace"))
    assert found.readable or found.problems
    words = {" ".join(problem.text.partition(": ")[2].split()[:2])[:12] for problem in found.problems}
    return f"{found.readable} {sorted(words)[:2]}"


def check_redaction(data: bytes) -> str:
    secrets = Secrets()
    secrets.add("hunter22-")
    text = secrets.redact(data.decode("utf-8", "replace") + " hunter22- ")
    assert "hunter22-" not in text
    return f"{min(4, text.count('[secret]'))}"


def check_soql(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    try:
        quoted = literal(text)
    except (ValueError, Failed) as error:
        return same_kind(error)
    assert quoted[0] == quoted[-1] == "'"
    inner = re.sub(r"\\.", "", quoted[1:-1], flags=re.DOTALL)
    assert "'" not in inner, quoted
    assert inner.isprintable() or not text.isprintable(), quoted
    return f"{quoted.count(chr(92)) > 0}"


_HEADERS = [
    b"\x01aS\x00\x00\x00\x02hi\x01bI\x00\x00\x00\x07",
    b"\x05countl" + b"\xff" * 8 + b"\x04whenT" + b"\x7f" * 8,
    b"\x01tF\x00\x00\x00\x04\x01bt\x01\x01lA\x00\x00\x00\x02t\x00",
    b"\x02CCA\x00\x00\x00\x06S\x00\x00\x00\x01a\x07x-deathV",
    b"\x05shared" + b"\x7f\xf0" + b"\x00" * 6 + b"\x01fD\x02\x00\x00\x00\x01\x01xx\x00\x00\x00\x01\xff",
]
_CONFIGURATION = [
    b'{"a": [1, true, null, "x"], "b": {"c": 1.5e3}}',
    b"{'a': True, // x\n \"b\" = 1,}",
    b'{"a": "${FILE}"}',
]
_SECRETS = [
    *(b"DRIVER=x;PWD={a}}b};UID=y", b"amqp://user:pass@host/v", b'{"password": "a\\"b"}', b"password='it''s'"),
    *(b"Authorization: Bearer abcdefgh.ijk", b"client_secret=a&access_token=b"),
]

TARGETS = [
    *BODIES,
    Target("condition", check_condition, _CONDITIONS, _SPEC_TOKENS),
    Target("modifiers", check_modifiers, _MODIFIERS, _SPEC_TOKENS),
    Target("statement", check_statement, _STATEMENTS, _SQL),
    Target(
        "expression",
        check_expression,
        [
            b"a.b[1].c",
            b"{id}-{a.b[0]|x}",
            b'"a b".c',
            b"$headers.x",
            b"a[?b==`1`]|[0]",
            b"2026-01-02T03:04:05.6Z",
            b"1.5e3",
        ],
        rb'. [ ] { } | " \ $ $. $headers. $body ? @ * & ` sort_by( to_number( , : T Z + - e'.split(),
    ),
    Target("headers", check_headers, _HEADERS, [bytes([code]) for code in b"tbBUusIilLfdDSAFTVx"]),
    Target(
        "edit", check_edit, [_EDITABLE, b"a.b[0]=5", b'$headers.site="b"', b"a=b"], b"= $. $headers. # body".split()
    ),
    Target("configuration", check_configuration, _CONFIGURATION, rb'{ } [ ] " \' : , = // # /* */ True nan'.split()),
    Target("redaction", check_redaction, _SECRETS, rb'PWD= password= : { } }} \' " \\ ; @ :// Bearer'.split()),
    Target("soql", check_soql, [b"it's", b"a\\b", b"%_"], [b"'", b"\\", b'"', b"\n"]),
]

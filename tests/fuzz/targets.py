"""What is fuzzed: each target takes any bytes and returns what kind of answer there was; it raises when a promise does
not hold."""

import re
import sqlite3
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pika import BasicProperties

from connectorlib.amqp.field_tables import decode_table
from connectorlib.config import json_source
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import Scope, compile_expression, describe_missing
from connectorlib.formats import Format, compile_format
from connectorlib.messages import Dead, Delivery
from connectorlib.pipeline.dead_letter import MAX_HEADER_BYTES, dead_letter
from connectorlib.service.redaction import Secrets
from connectorlib.shared_settings import DeadLetterSettings, Limits
from connectorlib.values.types import TYPES
from dbconnector.sql import compile_statement
from dbconnector.sql.lexer import tokenize
from deadletterqueue.changes import compile_set, compile_text, text_of
from deadletterqueue.letter import letter as letter_of
from sfconnector.soql import literal
from tests.corpus import vectors

Check = Callable[[bytes], str]


@dataclass(frozen=True)
class Target:
    name: str
    check: Check
    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = field(default=())


def same_kind(error: BaseException) -> str:
    """Return what two failures of one kind share: where they were raised. Texts repeat parts of the input."""
    cause = error.__cause__ or error
    *_, place = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in traceback.extract_tb(cause.__traceback__)[-1:]]
    return f"{type(cause).__name__} {getattr(cause, 'code', '')} {Path(place.filename).name} {place.lineno} {lines}"


# -- formats


def check_format(form: Format, body: bytes) -> str:
    try:
        records = form.decode(body)
    except Failed as failed:
        failure = failed.failure
        assert failure.kind is Kind.REJECT, failure
        assert failure.code in ("not-decodable", "too-large"), failure
        assert failure.text.isprintable(), failure
        assert 0 < len(failure.text) <= 200, failure
        return same_kind(failed)
    for record in records:
        assert_clean(record)
    kind = f"{len(records) > 1} {shape(records[0]) if records else ''}"
    if not records or not all(isinstance(record, dict) for record in records):
        return f"read {kind}"  # only rows are ever written, and each is an object
    try:
        again = form.encode(records)
    except Failed as failed:
        if failed.failure.code != "not-encodable":
            raise
        return f"read {kind}"
    assert form.decode(again) == records, again
    return f"read and written {kind}"


def shape(value: Any, depth: int = 0) -> str:
    """Return what a value looks like, roughly."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    kinds = sorted({shape(member, depth + 1) for member in members}) if depth < 1 else []
    return f"{type(value).__name__}{''.join(kinds)}"


def assert_clean(value: Any) -> None:
    """Nothing of a message may hold what databases cut off, or what cannot be sent."""
    if isinstance(value, str):
        value.encode("utf-8")
        assert "\0" not in value, value
    elif isinstance(value, dict | list):
        for member in [*value, *value.values()] if isinstance(value, dict) else value:
            assert_clean(member)


def format_target(name: str, vectors_of: str, **settings: Any) -> Target:
    form = compile_format({**vectors.FORMATS[vectors_of], **settings}, Limits(body_bytes=100_000))
    tokens = {
        "json": rb'{ } [ ] " : , true null 1 "a" \u0041 \n'.split(),
        "xml": b'<a> </a> <a/> <r> </r> &lt; &x; <!-- --> <![CDATA[ ]]> <!DOCTYPE <?xml ?> x="1" xmlns="u"'.split(),
        "csv": [b",", b";", b'"', b'""', b"\r\n", b"\n", b"a,b,c\n"],
    }[vectors_of]
    return Target(name, lambda body: check_format(form, body), [each.body for each in vectors.read(vectors_of)], tokens)


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


#: SQLite alone reads these as it does: parameters of other kinds, names in brackets, a backslash that is a character.
_NOT_FOR_SQLITE = re.compile(r"[$@#\[\\?{]|::")


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
    if _NOT_FOR_SQLITE.search(text) is None:
        found = sqlite_names(text)
        assert found is None or found == set(statement.names), (found, statement.names)
    shapes = statement.multi_row is not None, statement.any_of is not None, len(statement.names) > 1
    return f"compiled {shapes} {sorted({str(token.type) for token in tokens})}"


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
    try:
        compile_set(text)(original)
        kind += " set"
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
    format_target("json", "json"),
    format_target("xml", "xml", record="r"),
    format_target("csv", "csv"),
    format_target("csv-odd", "csv", delimiter="||", quote="'", trim=True, null="\\N", trailing_delimiter=True),
    format_target("csv-plain", "csv", delimiter=";", quote=None, encoding="utf-16"),
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

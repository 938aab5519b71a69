"""`:name` is found where it is a parameter and nowhere else; rows are put together only where that changes nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbconnector.dialects.base import FETCH, LIMIT, TOP
from dbconnector.sql import Target, compile_statement, holds_nothing, limit_rows, only_reads, page_by_key
from dbconnector.sql.lexer import T, tokenize

PARAMETERS = [
    ("SELECT :a, :b, :a", ["a", "b", "a"]),
    ("SELECT ':a', :b", ["b"]),
    ("SELECT 'it''s :a', :b", ["b"]),
    ("SELECT N':a', X'00', :b", ["b"]),
    ('SELECT ":a", ":b""c :d", :e', ["e"]),
    ("SELECT `:a`, `:b``c :d`, :e", ["e"]),
    ("SELECT [:a], t.[b :c], [d]]:e], :f", ["f"]),
    ("INSERT INTO t([a:b],[c:d]) VALUES (:e,:f)", ["e", "f"]),
    ("SELECT 1 -- it's :a\n, :b", ["b"]),
    ("SELECT 1 -- :a\r\n, :b", ["b"]),
    ("SELECT 1 --:a", []),
    ("# it's :a\nSELECT :b", ["b"]),
    ("SELECT :b # it's so", ["b"]),
    ("SELECT :b # nothing else", ["b"]),
    ("SELECT 1,\n  # one :a more\n  :b", ["b"]),
    ("SELECT 1 /* it's :a */, :b", ["b"]),
    ("SELECT 1 /* :a /* :b */ :c */, :d", ["d"]),
    ("SELECT 1 /* :a /* :b */, :d", ["d"]),
    ("SELECT /* -- */ :a", ["a"]),
    ("SELECT '/*', :a, '*/'", ["a"]),
    ("SELECT a::text, :b::int, :c ::numeric(10,2)", ["b", "c"]),
    ("SELECT $$ it's :a $$, $t$ :b $$ $x$ $t$, :c", ["c"]),
    ("SELECT a$b$c, :d, a$b$c", ["d"]),
    ("SELECT v$session.x, :d", ["d"]),
    ("SELECT $1, :d", ["d"]),
    (r"SELECT E'it\'s :a', :b", ["b"]),
    (r"SELECT e'\\', :b", ["b"]),
    (r"SELECT 'it\'s :a', :b", ["b"]),
    (r"""SELECT "it\"s :a", :b""", ["b"]),
    (r"SELECT 'C:\', :b", ["b"]),
    (r"SELECT 'C:\\', :b", ["b"]),
    (r"SELECT 'a\nb', :b", ["b"]),
    ("SET @x := :a", ["a"]),
    ("SET @x:=:a", ["a"]),
    ("SELECT a[1:2], b[:i], c[lo:hi], d[1:n], :e", ["i", "e"]),
    ("SELECT ARRAY[:a, :b], ARRAY [:c], ARRAY[[:d],[:e]]", ["a", "b", "c", "d", "e"]),
    ("SELECT (f(x))[1:2], b[1][2:3], :e", ["e"]),
    ("SELECT '12:30:00', {t '12:30:00'}, {ts '2026-01-02 12:30:00'}, :a", ["a"]),
    ("SELECT TIME '12:30:00', 12:30:00, :a", ["a"]),
    ("SELECT {fn concat(:a, 'x')}, {fn now()}", ["a"]),
    ("{call p(:a, :b)}", ["a", "b"]),
    ("CALL p(:a)", ["a"]),
    ("EXEC p :a, @b=:b", ["a", "b"]),
    ("SELECT q'[it's :a]', nq'!it's :b!', :c", ["c"]),
    ("SELECT data #>> '{a,b}' FROM t WHERE data #> '{a}' = :c", ["c"]),
    ("SELECT (data # :c)", ["c"]),
    ("INSERT INTO #temp (a) VALUES (:a)", ["a"]),
    ("SELECT src:field, :a", ["a"]),
    ("SELECT :größe, :_a1", ["größe", "_a1"]),
    ("SELECT 'x'||:a||'y' WHERE b=:b AND c>:c AND d=-:d", ["a", "b", "c", "d"]),
    ("SELECT a @> :a::jsonb, b <@ :b, c && :c, d ->> :d", ["a", "b", "c", "d"]),
    ("MERGE INTO t USING (SELECT :a AS a) s ON (t.a = s.a) WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)", ["a"]),
    ("WITH x AS (SELECT :a AS a) INSERT INTO t (a) SELECT a FROM x", ["a"]),
    ("SELECT 1", []),
    ("VALUES(:a);", ["a"]),
    ("SELECT .5, 1e5, 1.5e-3, 0x1F, :a", ["a"]),
]


@pytest.mark.parametrize(("text", "names"), PARAMETERS)
def test_a_name_is_a_parameter_only_where_sql_has_an_expression(text: str, names: list[str]) -> None:
    assert list(compile_statement(text).names) == names


def test_each_parameter_becomes_a_question_mark_and_nothing_else_changes() -> None:
    statement = compile_statement("INSERT INTO t -- :x\n VALUES (:a, ':b', :c::text)\t;")
    assert statement.sql == "INSERT INTO t -- :x\n VALUES (?, ':b', ?::text)\t;"
    assert len(statement.targets) == len(statement.names) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELECT 'open :a", "quote"),
        ('SELECT "open :a', "quote"),
        ("SELECT [open :a", "quote"),
        ("SELECT $$ open :a", "not closed"),
        ("SELECT /* open :a", "/* is not closed"),
        ("SELECT (:a", "( is not closed"),
        ("SELECT :a)", ") without ("),
        ("SELECT f[:a)", ") without ("),
        ("SELECT 1 */ :a", "*/ without /*"),
        ("INSERT INTO t VALUES (?, :a)", "write a parameter as :name"),
        ("SELECT data ? 'key'", "jsonb_exists()"),
        ("SELECT data ?| :keys", "jsonb_exists_any()"),
        ("{? = call f(:a)}", "write a parameter as :name"),
        ("", "no SQL"),
        (" -- nothing\n;", "no SQL"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        compile_statement(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (r"SELECT 'a\', :b, ', 'c\'d'", "backslash"),
        ("SELECT a # :b", "#"),
        ("SELECT 1 /* a /* b */ , :c -- */", "/* inside a comment"),
    ],
)
def test_what_databases_read_differently_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="read this differently") as raised:
        compile_statement(text)
    assert says in str(raised.value)


def test_a_question_mark_in_a_literal_or_comment_is_text() -> None:
    assert compile_statement("SELECT 'why?', \"a?\" /* ? */ -- ?\n, :a").names == ("a",)


PIECES = st.sampled_from(
    [*"'`[]()#\\:; \n,x1é😀\0{}?", ":a", ":b1", "''", "--", "/*", "*/", "$$", "$t$", "E'", "::", ":=", "SELECT", "q'["]
)


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_tokens_joined_are_the_text(text: str) -> None:
    try:
        tokens = tokenize(text)
    except ValueError:
        return
    assert "".join(token.text for token in tokens) == text


@given(st.lists(PIECES, max_size=30).map("".join))
def test_text_outside_parameters_and_comments_is_never_changed(text: str) -> None:
    try:
        statement = compile_statement(text)
    except ValueError:
        return
    tokens = tokenize(text)
    assert [f":{name}" for name in statement.names] == [token.text for token in tokens if token.type is T.PARAMETER]
    assert statement.sql == "".join(
        "?"
        if token.type is T.PARAMETER
        else " "
        if token.type is T.COMMENT and set("?'\"`") & {*token.text}
        else token.text
        for token in tokens
    )


def test_a_comment_that_would_confuse_a_driver_is_not_sent() -> None:
    statement = compile_statement("SELECT :a -- why?\n, /* it's */ :b /*! 'c' */ /*+ hint? */ /* plain */")
    assert statement.sql == "SELECT ?  \n,   ? /*! 'c' */ /*+ hint? */ /* plain */"


MULTI_ROW = [
    "INSERT INTO t (a, b) VALUES (:a, :b)",
    "insert into s.t values(:a,:b);",
    "INSERT INTO t VALUES (:a, 1, -2.5, 'x', NULL, TRUE, false, DATE '2026-01-02', N'x')",
    "INSERT INTO t VALUES (CAST(:a AS numeric(10, 2)), :b::timestamp with time zone, cast(NULL AS text))",
    "INSERT INTO t VALUES (:a::text[], '1'::int, CAST(:b::text AS int))",
    "INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO NOTHING",
    "INSERT INTO t (a, b) VALUES (:a, :b) ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b WHERE (t.b < EXCLUDED.b)",
    "INSERT INTO t (a, b) VALUES (:a, :b) ON DUPLICATE KEY UPDATE b = VALUES(b), c = GREATEST(c, VALUES(c))",
    "INSERT INTO t (a, b) VALUES (:a, :b) AS new ON DUPLICATE KEY UPDATE b = new.b",
    "INSERT INTO t (a) VALUES (:a) ON CONFLICT ON CONSTRAINT t_pk DO UPDATE SET at = CURRENT_TIMESTAMP",
    "INSERT IGNORE INTO t (a) VALUES (:a)",
    "INSERT OR REPLACE INTO t (a) VALUES (:a)",
    "REPLACE INTO t (a) VALUES (:a)",
    "INSERT INTO t AS x (a) VALUES (:a)",
    'INSERT INTO "s"."t" ("a", [b], `c`) VALUES (:a, :b, :c)',
    "INSERT INTO t (a) OVERRIDING SYSTEM VALUE VALUES (:a)",
    "INSERT INTO t /* why, (not) */ (a) -- RETURNING\n VALUES /* one */ (:a /* two */) -- three",
]


@pytest.mark.parametrize("text", MULTI_ROW)
def test_rows_of_parameters_and_literals_may_be_written_together(text: str) -> None:
    statement = compile_statement(text)
    assert statement.multi_row is not None
    assert statement.multi_row.sql(1) == statement.sql
    assert statement.multi_row.sql(3).count("?") == 3 * statement.multi_row.width == 3 * len(statement.names)


ROW_BY_ROW = [
    "INSERT INTO t (a) VALUES (:a) RETURNING id",
    "INSERT INTO t (a) OUTPUT INSERTED.id VALUES (:a)",
    "INSERT INTO t (a, b) VALUES (:a, currval('s'))",
    "INSERT INTO t (a, b) VALUES (:a, nextval('s'))",
    "INSERT INTO t (a, b) VALUES (:a, LAST_INSERT_ID())",
    "INSERT INTO t (a, b) VALUES (:a, last_insert_rowid())",
    "INSERT INTO t (a, b) VALUES (:a, (SELECT max(n) + 1 FROM t))",
    "INSERT INTO t (a, b) VALUES (:a, CAST((SELECT 1) AS int))",
    "INSERT INTO t (a, b) VALUES (:a, CAST(currval('s') AS int))",
    "INSERT INTO t (a) VALUES (lower(:a))",
    "INSERT INTO t (a) VALUES (:a + 1)",
    "INSERT INTO t (a) VALUES (:a || 'x')",
    "INSERT INTO t (a) VALUES (:a::int + 1)",
    "INSERT INTO t (a) VALUES (:a = :b)",
    "INSERT INTO t (a, b) VALUES (:a, CURRENT_TIMESTAMP)",
    "INSERT INTO t (a, b) VALUES (:a, DEFAULT)",
    "INSERT INTO t (a, b) VALUES (:a, @last)",
    "INSERT INTO t (a, b) VALUES (:a, seq.NEXTVAL)",
    "INSERT INTO t (a, b) VALUES (:a, NEXT VALUE FOR seq)",
    "INSERT INTO t (a, b) VALUES (:a, {fn now()})",
    "INSERT INTO t (a) VALUES (1)",
    "INSERT INTO t (a) VALUES (:a), (:b)",
    "INSERT INTO t (a) VALUES (:a) ON DUPLICATE KEY UPDATE b = :b",
    "INSERT INTO t (a) VALUES (:a) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
    "INSERT INTO t (a) VALUES (:a) ON DUPLICATE KEY UPDATE n = @n := @n + 1",
    "INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO UPDATE SET b = nextval('s')",
    "INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO UPDATE SET b = (SELECT max(b) FROM t)",
    "INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO UPDATE SET n = t.n + 1 WHERE t.n NOT IN u",
    "INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO UPDATE SET n = t.n + 1 WHERE t.n IN (TABLE u)",
    "INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO NOTHING RETURNING id",
    "INSERT INTO t (a) VALUES (:a); UPDATE u SET n = n + 1",
    "INSERT INTO t (a) VALUES (:a) FROM x",
    "INSERT INTO t (a) SELECT :a",
    "INSERT INTO t (a) SELECT * FROM (VALUES (:a)) x",
    "INSERT INTO t SET a = :a",
    "WITH x AS (SELECT 1) INSERT INTO t (a) VALUES (:a)",
    "UPDATE t SET a = :a",
    "DELETE FROM t WHERE a = :a",
    "MERGE INTO t USING (VALUES (:a)) s (a) ON t.a = s.a WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)",
    "CALL p(:a)",
    "{call p(:a)}",
    "EXEC p :a",
    "INSERT INTO t (a) VALUES ()",
]


@pytest.mark.parametrize("text", ROW_BY_ROW)
def test_all_else_is_written_row_by_row(text: str) -> None:
    assert compile_statement(text).multi_row is None


def _t(*columns: str | None, table: str = "t") -> list[Target | None]:
    """Return the targets in these columns; one that begins with `=` is only compared."""
    return [Target(table, column.lstrip("="), column[0] != "=") if column else None for column in columns]


TARGETS = [
    ("INSERT INTO t (a, b) VALUES (:x, :y)", _t("a", "b")),
    ("INSERT INTO t (a, b, c) VALUES (:x, lower(:y), CAST(:z AS int))", _t("a", None, None)),
    ('INSERT INTO s."T" ("A", b) VALUES (:x, :y)', _t('"A"', "b", table='s."T"')),
    ("INSERT INTO t VALUES (:x, :y)", _t(None, None)),
    ("INSERT INTO t (a) VALUES (:x, :y)", _t(None, None)),
    ("INSERT INTO t (a) VALUES (:x) ON CONFLICT (a) DO UPDATE SET b = :y", _t("a", "b")),
    ("INSERT INTO t (a) VALUES (:x) ON DUPLICATE KEY UPDATE b = :y, c = c + :z", _t("a", "b", None)),
    ("REPLACE INTO t (a) VALUES (:x)", _t("a")),
    ("INSERT INTO t (a) SELECT :x", _t(None)),
    ("UPDATE t SET a = :x, b = lower(:y), c = :z || 'x' WHERE id = :id", _t("a", None, None, "=id")),
    ("UPDATE s.t AS u SET a = :x WHERE u.id = :id", _t("a", "=id", table="s.t")),
    ("UPDATE t u SET a = :x WHERE u.id <> :id AND (b >= :b OR c LIKE :c)", _t("a", "=id", "=b", "=c")),
    ("UPDATE t SET a = :x FROM u WHERE t.id = u.id AND u.b = :b", _t(None, None)),
    ("UPDATE t SET a = :x WHERE b = (SELECT max(b) FROM u WHERE c = :c)", _t(None, None)),
    ("DELETE FROM t WHERE a = :x AND b + 1 = :y AND f(c) = :z", _t("=a", None, None)),
    ("DELETE FROM t, u WHERE a = :x", _t(None)),
    ("SELECT a FROM t JOIN u ON t.a = u.a WHERE b = :x", _t(None)),
    ("SELECT a FROM t WHERE b = :x FOR UPDATE SKIP LOCKED", _t("=b")),
    ("SELECT a FROM t WHERE b = :x ORDER BY a LIMIT :n", _t("=b", None)),
    ("UPDATE t SET a = CASE WHEN b = :x THEN 1 END, c = :y WHERE (d = :z)", _t("=b", "c", "=d")),
    ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET b = :x", _t(None)),
    ("CALL p(:x)", [None]),
]


@pytest.mark.parametrize(("text", "expected"), TARGETS)
def test_the_column_of_a_parameter_is_told_when_the_text_says_so(text: str, expected: list[Target | None]) -> None:
    assert list(compile_statement(text).targets) == expected


def test_paging_by_one_key_begins_at_the_last_row_of_the_page_before() -> None:
    paging = page_by_key("SELECT id FROM t WHERE x = :x ; -- all\n", ["id"], rows=10, words=LIMIT)
    assert paging.first == "SELECT * FROM (\nSELECT id FROM t WHERE x = :x \n) page ORDER BY page.id LIMIT 10"
    assert "WHERE page.id >= :page_key_0 ORDER BY" in paging.following
    assert compile_statement(paging.following).names == ("x", *paging.parameters)


def test_paging_by_two_keys_compares_them_in_their_order() -> None:
    paging = page_by_key("SELECT 1 -- one", ["a", "b"], rows=10, words=TOP)
    condition = "(page.a > :page_key_0) OR (page.a = :page_key_0 AND page.b >= :page_key_1)"
    assert f"WHERE {condition} ORDER BY page.a, page.b" in paging.following
    assert paging.following.startswith("SELECT TOP 10 * FROM (")
    assert "-- one\n)" in paging.first
    assert paging.parameters == ("page_key_0", "page_key_1")


def test_paging_limits_rows_in_the_words_of_the_database() -> None:
    assert page_by_key("SELECT 1", ["a"], rows=10, words=FETCH).first.endswith(" page.a FETCH FIRST 10 ROWS ONLY")


@pytest.mark.parametrize(
    ("query", "limited"),
    [
        ("SELECT 1", "SELECT 1\nLIMIT 5"),
        ("SELECT 1; -- all", "SELECT 1\nLIMIT 5"),
        ("SELECT 1 -- all", "SELECT 1 -- all\nLIMIT 5"),
        ("SELECT 1 FOR UPDATE SKIP LOCKED", "SELECT 1 \nLIMIT 5 FOR UPDATE SKIP LOCKED"),
        ("SELECT 1 FOR NO KEY UPDATE OF t", "SELECT 1 \nLIMIT 5 FOR NO KEY UPDATE OF t"),
        ("select 1 lock in share mode;", "select 1 \nLIMIT 5 lock in share mode"),
        ("WITH x AS (SELECT 1 LIMIT 1) SELECT * FROM x", "WITH x AS (SELECT 1 LIMIT 1) SELECT * FROM x\nLIMIT 5"),
        ("SELECT substring(a FOR 3) FROM t", "SELECT substring(a FOR 3) FROM t\nLIMIT 5"),
        ("SELECT 1 LIMIT 3", None),
        ("SELECT 1 LIMIT :n FOR UPDATE", None),
        ("SELECT 1 OFFSET 3", None),
        ("SELECT 1 FETCH FIRST 3 ROWS ONLY", None),
        ("CALL p(:a)", None),
        ("SHOW TABLES", None),
    ],
)
def test_a_page_takes_no_more_rows_than_it_uses(query: str, limited: str | None) -> None:
    assert limit_rows(query, 5) == (query if limited is None else limited)


@pytest.mark.parametrize(
    ("query", "reads"),
    [
        ("SELECT 1 FROM t FOR UPDATE", True),
        ("/* DELETE */ SELECT 'DELETE', \"DELETE\"", True),
        ("WITH x AS (SELECT 1 FOR UPDATE) SELECT * FROM x", True),
        ("CALL take(:n)", True),
        ("DELETE FROM t RETURNING *", False),
        ("update t set a = 1 RETURNING *", False),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", False),
        ("WITH x AS (SELECT 1) UPDATE t SET a = 1 RETURNING *", False),
    ],
)
def test_a_query_that_changes_rows_is_told_from_one_that_reads(query: str, reads: bool) -> None:
    assert only_reads(query) is reads


@pytest.mark.parametrize(
    ("query", "nothing"),
    [
        ("SELECT id, 'FOR UPDATE' AS a FROM t WHERE sent_at IS NULL ORDER BY id -- lock", True),
        (
            "select t.id, coalesce(t.a, ''), max(u.b) from t join (select * from u) u on (u.id = t.id) where x in (1)",
            True,
        ),
        ("SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED", False),
        ("SELECT id FROM t ORDER BY id\nLIMIT 5 FOR NO KEY UPDATE", False),
        ("select id from t lock in share mode", False),
        ("SELECT id FROM t WITH (UPDLOCK, READPAST)", False),
        ("SELECT id FROM t WITH RS USE AND KEEP UPDATE LOCKS", False),
        ("SELECT id FROM t WHERE pg_try_advisory_xact_lock(id)", False),
        ("SELECT * FROM claimed(500)", False),
        ('SELECT * FROM public."claimed" (500)', False),
        ("SELECT seq.NEXTVAL FROM t", False),
        ("SELECT id INTO copy FROM t", False),
        ("WITH x AS (SELECT 1) SELECT * FROM x", False),  # certainly a SELECT of its own only
        ("CALL take(:n)", False),
    ],
)
def test_a_query_that_may_claim_its_rows_is_told_from_one_that_does_not(query: str, nothing: bool) -> None:
    assert holds_nothing(query) is nothing

"""UPDATE, upsert and DELETE by key for many messages at once do what they do message by message: on real databases,
with random batches."""

import random
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import product
from typing import Any

from connectorlib.messages import DONE, Dead, Outcome
from dbconnector.dialects.row_documents import COLLATIONS
from dbconnector.odbc.database import Database
from dbconnector.settings import DatabaseSettings, Write
from dbconnector.sql import compile_statement
from tests.integration.test_database_sink import Bench, deliveries

TEXTS = (
    "",
    "a",
    "A",
    "a ",
    "ä",
    "NULL",
    '"',
    "\\",
    "\\x41",
    "{a,b}",
    "a,b",
    "it's",
    "two\nlines",
    "\t",
    "𝄞",
    "1",
    "1.0",
    " x",
)
SITES = ("a", "A", "a ", "ä", "b", "ß", "ss", "1", "1.0", "01", None)
STATEMENTS = {
    "stored": "UPDATE plant SET v = :v, name = :name, at = :at, note = :note WHERE id = :id",
    "counted": "UPDATE plant SET n = n + :n, at = CURRENT_TIMESTAMP WHERE id = :id AND v < :v",
    "newer": "UPDATE plant SET v = :v WHERE id = :id AND (at IS NULL OR at < :at)",
    "by text": "UPDATE plant SET v = :v WHERE site = :site",
    "by two": "UPDATE plant SET n = n + 1, note = :note WHERE site = :site AND id = :id",
    "deleted": "DELETE FROM plant WHERE id = :id",
    "deleted by two": "DELETE FROM plant WHERE site = :site AND id = :id AND v < :v",
    "upsert": "INSERT INTO plant (id, v, note) VALUES (:id, :v, :note) ",
}
UPSERT = {"mariadb": "ON DUPLICATE KEY UPDATE v = VALUES(v), note = VALUES(note)"}
OTHER_UPSERT = "ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v, note = EXCLUDED.note"


def body(dice: random.Random, keys: int, odd: float) -> dict[str, Any]:
    """Return a message, of whose fields some have a value that is refused, or of another form than usual."""

    def some(usual: Any, *others: Any) -> Any:
        return dice.choice(others) if dice.random() < odd else usual

    key = dice.randrange(keys)
    return {
        "id": some(key, None, str(key), float(key), f" {key}", key + 0.5, "x", 2**40),
        "site": dice.choice(SITES),
        "v": some(dice.randrange(100), None, "12.50", 12.25, 5000, "abc", 1e-3, "1e2"),
        "n": some(dice.randrange(5), "3", None, 2**31),
        "name": some(dice.choice(TEXTS), "much too long for it", None, 7),
        "at": some(f"2026-01-{dice.randrange(1, 28):02}T03:04:05", None, "2026-02-30", "2026-01-02", 5),
        "note": dice.choice(TEXTS) + str(dice.randrange(3)),
    }


def filled(database: Any) -> None:
    database.execute("DROP TABLE IF EXISTS plant")
    timestamp = "datetime(6)" if database.kind == "mariadb" else "timestamp"
    database.execute(
        "CREATE TABLE plant (id integer NOT NULL PRIMARY KEY, site varchar(10), name varchar(10), n integer DEFAULT 0,"
        f" v numeric(8,2) CHECK (v < 1000), at {timestamp}, note varchar(40))"
    )
    for key in range(20):
        site = SITES[key % len(SITES)]
        database.execute("INSERT INTO plant (id, site, v) VALUES (?, ?, ?)", key, site, key * 5)


def told(outcomes: Sequence[Outcome]) -> list[Any]:
    return [
        (each.failure.code, each.failure.kind, each.failure.place) if isinstance(each, Dead) else each
        for each in outcomes
    ]


def run(database: Any, write: Write, bodies: Sequence[Any]) -> tuple[list[Any], list[Any], int]:
    """Return the outcomes of the messages, the table, and how many statements were run."""
    filled(database)
    bench = Bench(database, [write])
    execute, ran = bench.odbc.execute, 0

    def counted(sql: str, *args: Any, **places: Any) -> int:
        nonlocal ran
        ran += places.get("place") == "write[0]"
        return execute(sql, *args, **places)

    bench.odbc.execute = counted  # type: ignore[method-assign]
    outcomes = told(bench.write(*deliveries(*bodies)))
    clock = "" if "CURRENT_TIMESTAMP" in write.statement else ", at"
    rows = database.rows(f"SELECT id, site, name, n, v, note{clock} FROM plant ORDER BY id")
    bench.odbc.close()
    return outcomes, rows, ran


def text_of(name: str, database: Any) -> str:
    return STATEMENTS[name] + (UPSERT.get(database.kind, OTHER_UPSERT) if name == "upsert" else "")


def test_a_set_does_what_its_messages_do_one_by_one(database: Any) -> None:
    for name, must_change in product(STATEMENTS, (False, True)):
        dice = random.Random(f"{name} {must_change}")
        for odd, keys, count in ((0.0, 200, 60), (0.0, 8, 40), (0.03, 40, 60), (0.2, 25, 40)):
            bodies = [body(dice, keys, odd) for _ in range(count)]
            together = run(database, Write(text_of(name, database), must_change=must_change), bodies)
            alone = run(database, Write(text_of(name, database), must_change=must_change, multi_row=False), bodies)
            assert together[:2] == alone[:2], (name, must_change, odd)


def test_a_batch_of_different_keys_is_one_statement(database: Any) -> None:
    for name in set(STATEMENTS) - {"by text"}:
        bodies = [body(random.Random(key), 1, 0.0) | {"id": key, "site": "a"} for key in range(16)]
        outcomes, _, ran = run(database, Write(text_of(name, database)), bodies)
        assert outcomes == [DONE] * 16
        assert ran == 1, name


WORDS = ("", "a", "A ", "ä", "𝄞", '"\\', "NULL", "1", "01", None)
NUMBERS = (0, -1, 7, "7", 2.5, "2.50", 1e20, 123456789012345678, None)
WHOLE = (0, -1, 7, "7", 2**31, 9007199254740993, "9007199254740993", 2**63 - 1, None)
MOMENTS = ("2026-01-02T03:04:05", "2026-01-02 03:04:05.25", "2026-01-02", "2026-01-02T03:04:05+02:00", "x", None)
#: A column of each type, and values for it.
COLUMNS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "postgresql": {
        **dict.fromkeys(("smallint", "integer", "bigint"), WHOLE),
        **dict.fromkeys(("numeric", "numeric(8,2)", "real", "double precision"), NUMBERS),
        **dict.fromkeys(("text", "varchar(3)", "char(3)", '"char"', "bytea", "citext"), WORDS),
        **dict.fromkeys(("timestamp", "timestamp(0)", "timestamptz", "date"), MOMENTS),
        "time": ("03:04:05", "03:04", "24:00:00", None),
        "boolean": (True, False, "true", 0, None),
        "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}", "x", None),
        **dict.fromkeys(("json", "jsonb"), ('{"a": [1, "x\\n"]}', "null", '"b"', "x", None)),
        "text[]": (["a", 'b"'], [], None),
        "interval": ("1 day", "P1D", None),
        "inet": ("10.0.0.1", "x", None),
        "bit(3)": ("101", "1", None),
        "money": (1, "1.50", None),
    },
    "mariadb": {
        **dict.fromkeys(("tinyint", "int", "bigint", "int unsigned", "bigint unsigned", "bit(8)", "boolean"), WHOLE),
        **dict.fromkeys(("decimal(20,0)", "decimal(8,2)", "float", "double"), NUMBERS),
        **dict.fromkeys(("text", "varchar(3)", "char(3)", "varbinary(9)", "blob"), WORDS),
        **dict.fromkeys(("varchar(3) CHARACTER SET latin1", "varchar(3) COLLATE utf8mb4_danish_ci"), WORDS),
        "varchar(3) COLLATE utf8mb4_bin": WORDS,
        **dict.fromkeys(("datetime", "datetime(6)", "timestamp(3)", "date"), MOMENTS),
        "time": ("03:04:05", "-03:04:05", "100:00:00", None),
        "year": (2026, "1999", 5, None),
        "enum('a','b')": ("a", "b", "c", None),
        "json": ('{"a": 1}', "x", None),
        "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "x", None),
        "inet6": ("::1", "x", None),
    },
    "sqlite": {
        **dict.fromkeys(("integer", "bigint"), WHOLE),
        **dict.fromkeys(("numeric", "real", ""), (*NUMBERS, *WORDS)),
        **dict.fromkeys(("text", "varchar(3)", "text COLLATE NOCASE", "blob"), (*WORDS, 7, 1.0)),
        **dict.fromkeys(("timestamp", "date"), MOMENTS),
        "boolean": (True, False, "true", 0, None),
    },
}
OF_TYPES = (
    "UPDATE kinds SET c = :c WHERE id = :id",
    "UPDATE kinds SET n = n + 1 WHERE id = :id AND c = :c",
    "UPDATE kinds SET n = n + 1 WHERE id = :id AND c < :c",
    "UPDATE kinds SET n = n + 1 WHERE c = :c",
)


def test_a_value_of_any_type_means_the_same_in_a_set(database: Any) -> None:
    if database.kind == "postgresql":
        database.execute("CREATE EXTENSION IF NOT EXISTS citext")
    in_sets = 0
    for kind, values in COLUMNS[database.kind].items():
        for text, mixed in product(OF_TYPES, (False, True)):
            bodies = [{"id": key, "c": value} for key, value in enumerate(values)]
            if not mixed:  # of one type in Python, so that they fit into one set
                bodies = [each for each in bodies if isinstance(each["c"], type(values[0]) | None)]
            found = []
            for multi_row in (True, False):
                fill_kinds(database, kind, values)
                bench = Bench(database, [Write(text, multi_row=multi_row)])
                outcomes = told(bench.write(*deliveries(*bodies)))
                c = "CAST(c AS text)" if database.kind == "postgresql" else "c"
                found.append((outcomes, database.rows(f"SELECT id, {c}, n FROM kinds ORDER BY id")))
                in_sets += bench.sink._plan.in_sets
                bench.odbc.close()
            assert found[0] == found[1], (kind, text)
    assert in_sets > len(COLUMNS[database.kind]) * 3


def fill_kinds(database: Any, kind: str, values: Sequence[Any]) -> None:
    database.execute("DROP TABLE IF EXISTS kinds")
    database.execute(f"CREATE TABLE kinds (id integer NOT NULL PRIMARY KEY, c {kind}, n integer NOT NULL DEFAULT 0)")
    insert = Bench(database, [Write("INSERT INTO kinds (id, c) VALUES (:id, :c)")])
    insert.write(*deliveries(*({"id": key, "c": value} for key, value in enumerate(values))))
    insert.write(*deliveries(*({"id": key, "c": None} for key in range(len(values)))))
    insert.odbc.close()


UPDATE, DELETE = "UPDATE t SET v = :v WHERE id = :id", "DELETE FROM t WHERE id = :id"
TABLE = "CREATE TABLE t (id integer NOT NULL PRIMARY KEY, v integer, w varchar(10), boss integer)"
POSTGRESQL_TRIGGER = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    "CREATE TRIGGER seen BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
)
MARIADB_TRIGGER = ("CREATE TRIGGER seen BEFORE UPDATE ON t FOR EACH ROW SET NEW.w = 'seen'",)
SQLITE_TRIGGER = ("CREATE TRIGGER seen AFTER UPDATE ON t BEGIN SELECT 1; END",)
CHILD = "CREATE TABLE child (id integer PRIMARY KEY, t integer, FOREIGN KEY (t) REFERENCES t (id){})"
#: What there is beside the table, on which databases, and whether an UPDATE and a DELETE have a set there.
BESIDE: list[tuple[str, tuple[str, ...], bool, bool]] = [
    ("", (), True, True),
    ("", ("CREATE UNIQUE INDEX one ON t (w)",), True, True),
    ("", ("CREATE UNIQUE INDEX one ON t (w, v)",), False, True),
    ("", (CHILD.format(""),), True, True),
    ("", (CHILD.format(" ON DELETE CASCADE"),), True, False),
    ("postgresql mariadb", ("ALTER TABLE t ADD FOREIGN KEY (boss) REFERENCES t (id)",), True, False),
    ("postgresql sqlite", ("CREATE UNIQUE INDEX one ON t (w) WHERE v > 1",), False, True),
    ("postgresql sqlite", ("CREATE UNIQUE INDEX one ON t (abs(v))",), False, True),
    ("postgresql sqlite", ("ALTER TABLE t RENAME TO u", "CREATE VIEW t AS SELECT * FROM u"), False, False),
    ("mariadb", ("RENAME TABLE t TO u", "CREATE VIEW t AS SELECT * FROM u"), False, False),
    ("postgresql", POSTGRESQL_TRIGGER, False, False),
    ("mariadb", MARIADB_TRIGGER, True, False),
    ("sqlite", SQLITE_TRIGGER, False, False),
    ("postgresql", ("CREATE RULE r AS ON UPDATE TO t DO ALSO DELETE FROM t WHERE id = 0",), False, False),
    ("postgresql", ("ALTER TABLE t ENABLE ROW LEVEL SECURITY",), False, False),
    ("postgresql", ("CREATE TABLE heir () INHERITS (t)",), False, False),
    ("sqlite", ("ALTER TABLE t ADD COLUMN rowid integer",), True, False),
]


def test_where_rows_could_depend_on_each_other_there_is_no_set(database: Any) -> None:
    for databases, statements, updates, deletes in BESIDE:
        if database.kind not in (databases or database.kind):
            continue
        database.execute(TABLE)
        database.script(*statements)
        with closing(Database(DatabaseSettings(database.connection))) as odbc:
            odbc.connect()
            found = [odbc.row_set(compile_statement(text)) is not None for text in (UPDATE, DELETE)]
        assert found == [updates, deletes], statements
        views = any("VIEW" in each for each in statements)
        cascade = " CASCADE" if database.kind == "postgresql" else ""
        database.script(*(["DROP VIEW t"] if views else []), "DROP TABLE IF EXISTS child")
        database.script(f"DROP TABLE {'u' if views else 't'}{cascade}", *drop_function(database.kind))


def drop_function(kind: str) -> list[str]:
    return ["DROP FUNCTION IF EXISTS f CASCADE"] if kind == "postgresql" else []


def test_collations_take_printable_ascii_for_different_but_for_case_and_blanks(maria_db: Any) -> None:
    """So a key of such characters that differs by more is that of another row."""
    known = maria_db.rows("SELECT collation_name FROM information_schema.collation_character_set_applicability")
    collations = [name for (name,) in known if re.fullmatch(COLLATIONS, name)]
    assert "utf8mb4_general_ci" in collations
    maria_db.execute("CREATE TABLE text (c varchar(2) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)")
    characters = [chr(code) for code in range(32, 127)]
    for text in ["", *characters, *("a" + each for each in characters)]:
        maria_db.execute("INSERT INTO text VALUES (?)", text)
    for collation in collations:
        compared = f"a.c COLLATE {collation} = b.c COLLATE {collation}"
        equal = maria_db.rows(f"SELECT a.c, b.c FROM text a JOIN text b ON {compared} WHERE BINARY a.c <> BINARY b.c")
        assert [pair for pair in equal if len({text.lower().rstrip(" ") for text in pair}) > 1] == [], collation

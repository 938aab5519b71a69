"""UPDATE, upsert and DELETE by key for many messages at once do what they do message by message: on real databases,
with random batches."""

import random
import re
from collections.abc import Sequence
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
    rows = database.rows("SELECT id, site, name, n, v, note FROM plant ORDER BY id")
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

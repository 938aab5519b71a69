"""UPDATE, upsert and DELETE by key for many messages at once do what they do message by message: on real databases,
with random batches."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from connectorlib.messages import DONE, Dead
from dbconnector.dialects.row_documents import COLLATIONS
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.preflight import findings
from dbconnector.settings import DatabaseSettings, Write
from dbconnector.sink import DatabaseSink
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
    "patched": "UPDATE plant SET name = COALESCE(:name, name), n = COALESCE(:n, n) WHERE id = :id",
    "chained": "UPDATE plant SET n = n + :n, v = n WHERE id = :id",
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


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while Bench.made:
        Bench.made.pop().odbc.close()


class Runs:
    """Writes with one connection, statement by statement."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self._bench = Bench(database, [])
        self._odbc = self._bench.odbc
        self._execute = self._odbc.execute
        self._odbc.execute = self._counted  # type: ignore[method-assign]
        #: How many statements the last write has run, and whether they were for sets.
        self.ran, self.in_sets = 0, False

    def _counted(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "") -> int:
        self.ran += place == "write[0]"
        return self._execute(sql, parameters, place=place)

    def write(self, write: Write, bodies: Sequence[Any]) -> list[Any]:
        """Return the outcomes, without the texts of refusals."""
        settings = DatabaseSettings(self.database.connection, write=(write,))
        sink = DatabaseSink(compile_plan(replace(self._bench.config, database=settings)), self._odbc)
        self.ran = 0
        outcomes = sink.handle(deliveries(*bodies), lambda: True)
        self.in_sets = sink._plan.in_sets
        return [
            (each.failure.code, each.failure.kind, each.failure.place) if isinstance(each, Dead) else each
            for each in outcomes
        ]


class Plant(Runs):
    """With the table that STATEMENTS are for."""

    def __init__(self, database: Any) -> None:
        super().__init__(database)
        timestamp, touched = "timestamp", "integer"
        if database.kind == "mariadb":
            timestamp, touched = "datetime(6)", "timestamp NULL ON UPDATE CURRENT_TIMESTAMP"
        seeds = ", ".join("(?, ?, ?)" for _ in range(20))
        rows = [value for key in range(20) for value in (key, SITES[key % len(SITES)], key * 5)]
        database.script(
            "CREATE TABLE plant (id integer NOT NULL PRIMARY KEY, site varchar(10), name varchar(10), n integer DEFAULT"
            f" 0, v numeric(8,2) CHECK (v < 1000), at {timestamp}, note varchar(40), touched {touched})",
            "CREATE TABLE seeds (id integer, site varchar(10), v integer)",
        )
        database.execute(f"INSERT INTO seeds VALUES {seeds}", *rows)

    def run(self, name: str, bodies: Sequence[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        """Return the outcomes of the messages, and the table."""
        upsert = UPSERT.get(self.database.kind, OTHER_UPSERT) if name == "upsert" else ""
        self.database.script("DELETE FROM plant", "INSERT INTO plant (id, site, v) SELECT id, site, v FROM seeds")
        outcomes = self.write(Write(STATEMENTS[name] + upsert, **options), bodies)
        clock = "" if "CURRENT_TIMESTAMP" in STATEMENTS[name] else ", at"
        found = self.database.rows(f"SELECT id, site, name, n, v, note, touched IS NULL{clock} FROM plant ORDER BY id")
        return outcomes, found


def test_a_set_does_what_its_messages_do_one_by_one(database: Any) -> None:
    plant = Plant(database)
    for name, must_change in product(STATEMENTS, (False, True)):
        dice = random.Random(f"{name} {must_change}")
        for odd, keys, count in ((0.0, 200, 60), (0.0, 8, 40), (0.03, 40, 60), (0.2, 25, 40)):
            bodies = [body(dice, keys, odd) for _ in range(count)]
            together = plant.run(name, bodies, must_change=must_change)
            alone = plant.run(name, bodies, must_change=must_change, multi_row=False)
            assert together == alone, (name, must_change, odd)


def test_a_batch_of_different_keys_is_one_statement(database: Any) -> None:
    plant = Plant(database)
    alone = {"by text"} | ({"chained"} if database.kind == "mariadb" else set())
    for name in set(STATEMENTS) - alone:
        bodies = [body(random.Random(key), 1, 0.0) | {"id": key, "site": "a"} for key in range(16)]
        assert plant.run(name, bodies)[0] == [DONE] * 16
        assert plant.ran == 1, name


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
        "decimal(30,10)": ("12345678901234567890.1234567891", "12345678901234567890.1234567892", "0.1", None),
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
    "UPDATE {} SET c = :c WHERE id = :id",
    "UPDATE {} SET n = n + 1 WHERE id = :id AND c = :c",
    "UPDATE {} SET n = n + 1 WHERE id = :id AND c < :c",
    "UPDATE {} SET n = n + 1 WHERE c = :c",
)


def test_a_value_of_any_type_means_the_same_in_a_set(database: Any) -> None:
    if database.kind == "postgresql":
        database.execute("CREATE EXTENSION IF NOT EXISTS citext")
    runs, in_sets = Runs(database), 0
    for number, (kind, values) in enumerate(COLUMNS[database.kind].items()):
        table, c = f"kinds_{number}", "CAST(c AS text)" if database.kind == "postgresql" else "c"
        bodies = [{"id": key, "c": value} for key, value in enumerate(values)]
        database.execute(f"CREATE TABLE {table} (id integer NOT NULL PRIMARY KEY, c {kind}, n integer DEFAULT 0)")
        insert = Write(f"INSERT INTO {table} (id, c) VALUES (:id, :c)")
        runs.write(insert, bodies)
        runs.write(insert, [each | {"c": None} for each in bodies])  # where the value was refused
        database.execute(f"CREATE TABLE saved_{number} AS SELECT * FROM {table}")
        if database.kind == "mariadb":  # of one type in Python, so that they fit into one set
            bodies = [each for each in bodies if isinstance(each["c"], type(values[0]) | None)]
        for text in OF_TYPES:
            found = []
            for multi_row in (True, False):
                database.script(f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM saved_{number}")
                outcomes = runs.write(Write(text.format(table), multi_row=multi_row), bodies)
                found.append((outcomes, database.rows(f"SELECT id, {c}, n FROM {table} ORDER BY id")))
                in_sets += runs.in_sets
            assert found[0] == found[1], (kind, text)
    assert in_sets > len(COLUMNS[database.kind]) * 3 / 2


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
    ("postgresql", ("ALTER TABLE t ADD COLUMN g integer GENERATED ALWAYS AS (v + 1) STORED",), True, True),
    ("postgresql", ("ALTER TABLE t ADD COLUMN g integer GENERATED ALWAYS AS (v + 1) STORED UNIQUE",), False, True),
    ("mariadb", ("ALTER TABLE t ADD COLUMN g integer AS (v + 1) VIRTUAL UNIQUE",), False, True),
    ("mariadb", ("ALTER TABLE t ADD COLUMN g timestamp NULL ON UPDATE CURRENT_TIMESTAMP UNIQUE",), False, True),
    ("sqlite", ("ALTER TABLE t ADD COLUMN g integer AS (v + 1)", "CREATE UNIQUE INDEX one ON t (g)"), False, True),
    ("postgresql", POSTGRESQL_TRIGGER, False, False),
    ("mariadb", MARIADB_TRIGGER, True, False),  # the rows stay in their order
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


def test_triggers_of_mariadb_see_the_rows_in_the_order_of_their_messages(maria_db: Any) -> None:
    dice, seen = random.Random("triggers"), []
    bodies = [{"id": dice.randrange(900), "w": f"{n} {'x' * (n % 50 * 20)}"} for n in range(500)]
    for multi_row in (True, False):
        maria_db.script(
            "DROP TABLE IF EXISTS t, seen",
            "CREATE TABLE t (id integer NOT NULL PRIMARY KEY, w text, n integer DEFAULT 0)",
            "INSERT INTO t (id) SELECT seq FROM seq_1_to_1000",
            "CREATE TABLE seen (at integer AUTO_INCREMENT PRIMARY KEY, id integer, w text, n integer)",
            "CREATE TRIGGER seen AFTER UPDATE ON t FOR EACH ROW"
            " INSERT INTO seen (id, w, n) VALUES (NEW.id, NEW.w, (SELECT SUM(n) FROM t))",
        )
        runs = Runs(maria_db)
        runs.write(Write("UPDATE t SET w = :w, n = n + 1 WHERE id = :id", multi_row=multi_row), bodies)
        assert runs.in_sets is multi_row
        seen.append(maria_db.rows("SELECT id, w, n FROM seen ORDER BY at"))
    assert len(seen[0]) > 400
    assert seen[0] == seen[1]


def test_texts_that_are_together_longer_than_a_packet_are_written(maria_db: Any) -> None:
    maria_db.script(
        "CREATE TABLE t (id integer PRIMARY KEY, w longtext)", "INSERT INTO t (id) SELECT seq FROM seq_1_to_50"
    )
    bodies = [{"id": key, "w": "x" * 400_000} for key in range(1, 51)]
    assert Runs(maria_db).write(Write("UPDATE t SET w = :w WHERE id = :id"), bodies) == [DONE] * 50
    assert maria_db.value("SELECT SUM(CHAR_LENGTH(w)) FROM t") == 50 * 400_000


def test_check_says_how_often_a_statement_runs(sqlite_db: Any) -> None:
    sqlite_db.execute(TABLE)
    config = Bench(sqlite_db, []).config

    def said(*texts: str, **options: Any) -> list[str]:
        writes = tuple(Write(text, **options) for text in texts)
        settings = DatabaseSettings(sqlite_db.connection, write=writes)
        found = findings(replace(config, database=settings))
        return [each.text for each in found if each.text.startswith("runs once")]

    slow = "runs once for each message, which takes longer: docs/how-to/scaling.md says when it need not"
    assert said(UPDATE) == said(DELETE) == ["runs once for all messages of a batch"]
    assert said("UPDATE t SET v = v + 1") == said(UPDATE, multi_row=False) == [slow]
    assert said(UPDATE, DELETE) == said("INSERT INTO t (id) VALUES (:id)") == said("UPDATE nowhere SET v = :v") == []

"""UPDATE, upsert and DELETE by key for many messages at once do what they do message by message: on real databases,
with random batches."""

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

from connectorlib.messages import DONE, Dead, Outcome
from dbconnector.settings import Write
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

"""Writes: any statement, one or several per message, all of a message or nothing; messages apply in order."""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import EACH_DRIVER, INSERT, Connector, reading
from tests.services.waiting import eventually

WITH_PROCEDURES = ["postgres_db", "postgres_ansi_db", "maria_db"]
UPSERT = {
    "postgresql": "ON CONFLICT (id) DO UPDATE SET device = EXCLUDED.device, value = EXCLUDED.value",
    "mariadb": "ON DUPLICATE KEY UPDATE device = VALUES(device), value = VALUES(value)",
    "sqlite": "ON CONFLICT (id) DO UPDATE SET device = EXCLUDED.device, value = EXCLUDED.value",
}
SERIAL = {
    "postgresql": "serial PRIMARY KEY",
    "mariadb": "integer PRIMARY KEY AUTO_INCREMENT",
    "sqlite": "integer PRIMARY KEY",
}
#: What a statement of the same session can say about the key that the database has just made.
LAST_KEY = {
    "postgresql": "currval('parent_id_seq')",
    "mariadb": "LAST_INSERT_ID()",
    "sqlite": "(SELECT max(id) FROM parent)",  # last_insert_rowid() would be the child written before
}


END = b"the end, which cannot be decoded"


def write(connector: Connector, bodies: Sequence[Any], *, dead: int = 0) -> list[dict[str, Any]]:
    """Have these messages, which are there before, subscribed to; return the headers of the so many dead letters."""
    vhost = connector.vhost
    if not vhost.exists("readings"):
        vhost.declare_queue("readings", arguments={"x-dead-letter-exchange": "dead-letter"})
    connector.publish(*[body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies], END)
    with connector.subscribed():
        assert eventually(lambda: vhost.exists("dead-letter") and vhost.depth("dead-letter") == dead + 1, 30)
    assert vhost.depth("readings") == 0
    return [headers for body, headers in connector.dead() if body != END]


def rows(connector: Connector) -> list[tuple[Any, ...]]:
    found = connector.database.rows("SELECT id, device, value FROM reading ORDER BY id")
    return [(id, device, Decimal(str(value))) for id, device, value in found]


def test_insert_update_delete_and_upsert_apply_in_the_order_of_the_messages(connector: Connector) -> None:
    upsert = f"{INSERT['statement']} {UPSERT[connector.database.kind]}"
    connector.configure(
        write=[
            {"statement": INSERT["statement"], "when": {"do": "insert"}},
            {
                "statement": "UPDATE reading SET value = value + :value WHERE id = :id",
                "when": {"do": "add"},
                "must_change": True,
            },
            {"statement": ["DELETE FROM reading", "WHERE id = :id"], "when": {"do": "delete"}},
            {"statement": upsert, "when": {"do": ["upsert", "put*"]}},
        ]
    )
    story = [
        (1, "insert", 1),
        (1, "add", 5),
        (2, "insert", 2),
        (2, "delete", 0),
        (2, "add", 7),  # there is no such row any more
        (1, "upsert", 100),
        (1, "add", 1),
        (2, "put-back", 20),
        (2, "upsert", 21),
        (2, "add", 2),
        (3, "nothing", 3),
        (2, "insert", 9),  # it is there
    ]
    dead = write(connector, [reading(id, f"p-{n}", value, do=do) for n, (id, do, value) in enumerate(story)], dead=2)
    assert rows(connector) == [(1, "p-5", 101), (2, "p-8", 23)]
    assert [headers["dead-detail"] for headers in dead] == ["write[1]", "write[0]"]
    assert dead[0]["dead-code"] == "no-row"


def test_rows_written_together_apply_in_the_order_of_the_messages(connector: Connector) -> None:
    """The multi-row form, one key several times in it: the last one stands."""
    connector.configure(write=[{"statement": f"{INSERT['statement']} {UPSERT[connector.database.kind]}"}])
    dead = write(connector, [reading(n % 7, f"p-{n}", n) for n in range(200)])
    assert dead == []
    assert rows(connector) == [(n % 7, f"p-{n}", n) for n in sorted(range(193, 200), key=lambda n: n % 7)]


def test_merge(on_postgres: Connector) -> None:
    on_postgres.configure(
        write=[
            {
                "statement": [
                    "MERGE INTO reading r",
                    "USING (SELECT :id::integer AS id, :device::varchar AS device, :value::numeric AS value) AS new",
                    "ON r.id = new.id",
                    "WHEN MATCHED AND new.value IS NULL THEN DELETE",
                    "WHEN MATCHED THEN UPDATE SET value = r.value + new.value",
                    "WHEN NOT MATCHED THEN INSERT (id, device, value) VALUES (new.id, new.device, new.value)",
                ]
            }
        ]
    )
    dead = write(on_postgres, [reading(1), reading(2), reading(1, value=2), reading(2, value=None), reading(1)])
    assert dead == []
    assert rows(on_postgres) == [(1, "p-1", 5)]


PROCEDURES = {
    "postgresql": """
        CREATE PROCEDURE note(new_id integer, new_device varchar, new_value numeric) LANGUAGE plpgsql AS $$
        BEGIN
            IF new_value < 0 THEN RAISE EXCEPTION 'no negative value for %', new_device; END IF;
            INSERT INTO reading (id, device, value) VALUES (new_id, new_device, new_value);
            UPDATE reading SET value = value * 2 WHERE id = new_id;
        END $$""",
    "mariadb": """
        CREATE PROCEDURE note(new_id integer, new_device varchar(20), new_value decimal(12,4))
        BEGIN
            SELECT new_id;
            IF new_value < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no negative value'; END IF;
            INSERT INTO reading (id, device, value) VALUES (new_id, new_device, new_value);
            UPDATE reading SET value = value * 2 WHERE id = new_id;
        END""",
}


@pytest.mark.parametrize("variant", WITH_PROCEDURES)
def test_stored_procedures(on: Callable[[str], Connector], variant: str) -> None:
    connector = on(variant)
    connector.database.execute(PROCEDURES[connector.database.kind])
    connector.configure(write=[{"statement": "CALL note(:id, :device, :value)"}])
    dead = write(connector, [reading(1), reading(2, value=-1), reading(3, value=700), reading(4, value=2)], dead=2)
    assert rows(connector) == [(1, "p-1", 3), (4, "p-1", 4)]
    said, too_large = dead
    assert said["dead-code"] in ("P0001", "45000", "45000/1644")
    assert "no negative value" in said["dead-text"]
    assert too_large["dead-code"][:2] == "23"  # the CHECK, by the second statement of the procedure
    assert {headers["dead-reason"] for headers in dead} == {"reject"}


def test_a_function_that_writes(on_postgres: Connector) -> None:
    on_postgres.database.execute(
        "CREATE FUNCTION put(new_id integer, new_value numeric) RETURNS text LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO reading VALUES (new_id, 'p-2', new_value); RETURN 'put'; END $$"
    )
    on_postgres.configure(write=[{"statement": "SELECT put(:id, :value)"}])
    [headers] = write(on_postgres, [reading(1), reading(2, value=5000), reading(3)], dead=1)
    assert (headers["dead-code"], headers["dead-detail"]) == ("23514", "write[0]")
    assert rows(on_postgres) == [(1, "p-2", Decimal("1.5")), (3, "p-2", Decimal("1.5"))]


FAMILIES = [{"name": name, "children": [{"name": f"{name}1"}, {"name": f"{name}2"}]} for name in ("anna", "bo", "cy")]


@pytest.fixture
def family(connector: Connector) -> Connector:
    """Tables whose parent has a key that the database makes; some keys are used up, so that none is guessed right."""
    database = connector.database
    database.execute(f"CREATE TABLE parent (id {SERIAL[database.kind]}, name varchar(10))")
    database.execute("CREATE TABLE child (parent integer NOT NULL, name varchar(10), place integer)")
    for _ in range(5):
        database.execute("INSERT INTO parent (name) VALUES ('old')")
    return connector


def families(connector: Connector) -> list[tuple[Any, ...]]:
    return connector.database.rows(
        "SELECT p.name, c.name, c.place FROM parent p JOIN child c ON c.parent = p.id ORDER BY c.name"
    )


EVERY_CHILD_ON_ITS_OWN_PARENT = [(name, f"{name}{n}", n - 1) for name in ("anna", "bo", "cy") for n in (1, 2)]


@pytest.mark.parametrize("variant", WITH_PROCEDURES)
def test_every_child_hangs_on_its_own_parent_by_the_key_that_was_returned(
    on: Callable[[str], Connector], variant: str
) -> None:
    connector = on(variant)
    database = connector.database
    database.execute(f"CREATE TABLE parent (id {SERIAL[database.kind]}, name varchar(10))")
    database.execute("CREATE TABLE child (parent integer NOT NULL, name varchar(10), place integer)")
    connector.configure(
        write=[
            {"statement": "INSERT INTO parent (name) VALUES (:name) RETURNING id", "name": "parent"},
            {
                "statement": "INSERT INTO child (parent, name, place) VALUES (:parent, :name, :place)",
                "for_each": "children",
                "values": {"parent": "$result.parent.id", "place": "$index"},
            },
        ]
    )
    assert write(connector, FAMILIES) == []
    assert families(connector) == EVERY_CHILD_ON_ITS_OWN_PARENT


def test_every_child_hangs_on_its_own_parent_by_the_last_key_of_the_session(family: Connector) -> None:
    key = LAST_KEY[family.database.kind]
    family.configure(
        write=[
            {"statement": "INSERT INTO parent (name) VALUES (:name)"},
            {
                "statement": f"INSERT INTO child (parent, name, place) VALUES ({key}, :name, :place)",
                "for_each": "children",
                "values": {"place": "$index"},
            },
        ]
    )
    assert write(family, FAMILIES) == []
    assert families(family) == EVERY_CHILD_ON_ITS_OWN_PARENT


def test_a_message_that_is_a_list_writes_each_record_all_or_none(family: Connector) -> None:
    key = "(SELECT max(id) FROM parent)"
    family.configure(
        write=[
            {"statement": "INSERT INTO parent (name) VALUES (:name)"},
            {
                "statement": f"INSERT INTO child (parent, name, place) VALUES ({key}, :name, :place)",
                "for_each": "children",
                "values": {"place": "number"},
            },
        ]
    )
    good = [{"name": name, "children": [{"name": f"{name}1", "number": 0}]} for name in ("anna", "bo")]
    half = [{"name": "cy", "children": []}, {"name": "dee", "children": [{"name": "dee1"}]}]
    [headers] = write(family, [good, half, {"name": "eve", "children": []}], dead=1)
    assert families(family) == [("anna", "anna1", 0), ("bo", "bo1", 0)]
    assert family.database.rows("SELECT name FROM parent WHERE name <> 'old' ORDER BY name") == [
        ("anna",),
        ("bo",),
        ("eve",),
    ]
    assert headers["dead-code"] == "missing-field"
    assert headers["dead-detail"] == "write[1].values.place <- number: no such field; here are name"


CROWDED = {
    "postgresql": [
        "INSERT INTO note (id, said, more) -- :nobody asks ?",
        "VALUES (:id::integer, /* :nor here? */ ':no ?' || :said || $$ :none ? $$ || $x$:never$x$,",
        "CAST(:more AS jsonb) - ':key' || '{\"a:b\": \"?\"}'::jsonb)",
    ],
    "mariadb": [
        "INSERT INTO `note` (id, said, more) -- :nobody asks ?",
        "VALUES (:id, /* :nor here? */",
        "CONCAT(':no ?', :said, ' it'':s ?', \" :none ? \"), /* :never */ :more)",
    ],
    "sqlite": [
        'INSERT INTO [note] (id, "said", `more`) -- :nobody asks ?',
        "VALUES (:id, ':no ?' || :said || ' it'':s ?' /* :never */, :more)",
    ],
}
CROWDED_SAYS = {
    "postgresql": ":no ?äöü 😀 :x :none ? :never",
    "mariadb": ":no ?äöü 😀 :x it':s ? :none ? ",
    "sqlite": ":no ?äöü 😀 :x it':s ?",
}


@EACH_DRIVER
def test_parameters_are_told_from_literals_casts_comments_and_dollar_quotes(connector: Connector) -> None:
    kind = connector.database.kind
    connector.database.execute(
        f"CREATE TABLE note (id integer, said varchar(100), more {'jsonb' if kind == 'postgresql' else 'varchar(100)'})"
    )
    connector.configure(write=[{"statement": CROWDED[kind], "values": {"more": {"path": "more", "type": "json"}}}])
    assert write(connector, [{"id": 1, "said": "äöü 😀 :x", "more": {"k": [1]}}]) == []
    [(id, said, more)] = connector.database.rows("SELECT id, said, more FROM note")
    assert (id, said) == (1, CROWDED_SAYS[kind])
    assert (more if isinstance(more, dict) else json.loads(more))["k"] == [1]


def test_one_message_may_hold_more_values_than_a_statement_takes(connector: Connector) -> None:
    columns = [f"c{n}" for n in range(40)]
    connector.database.execute(f"CREATE TABLE wide ({', '.join(f'{column} integer' for column in columns)})")
    names = ", ".join(f":{column}" for column in columns)
    connector.configure(write=[{"statement": f"INSERT INTO wide ({', '.join(columns)}) VALUES ({names})"}])
    records = [{column: at * 40 + n for n, column in enumerate(columns)} for at in range(1000)]
    assert write(connector, [records]) == []
    total = " + ".join(columns)
    assert connector.database.rows(f"SELECT count(*), min(c0), max(c39), sum({total}) FROM wide") == [
        (1000, 0, 39_999, sum(range(40_000)))
    ]


def test_a_constraint_that_is_checked_at_the_commit_costs_no_neighbour(on_postgres: Connector) -> None:
    database = on_postgres.database
    database.script(
        "CREATE TABLE device (name varchar(20) PRIMARY KEY)",
        "INSERT INTO device VALUES ('p-1')",
        "ALTER TABLE reading ADD FOREIGN KEY (device) REFERENCES device DEFERRABLE INITIALLY DEFERRED",
    )
    on_postgres.configure()
    dead = write(on_postgres, [reading(n, "unknown" if n in (7, 8, 150) else "p-1") for n in range(200)], dead=3)
    assert [id for id, *_ in rows(on_postgres)] == [n for n in range(200) if n not in (7, 8, 150)]
    assert [(headers["dead-code"], headers["dead-detail"]) for headers in dead] == [("23503", "commit")] * 3


DUPLICATE = {"postgresql": "23505", "mariadb": "23000/1062", "sqlite": "HY000/19"}


def test_a_duplicate_key_may_be_taken_for_done(connector: Connector) -> None:
    connector.database.execute("INSERT INTO reading (id, device, value) VALUES (3, 'old', 0)")
    connector.configure(database={"errors": {DUPLICATE[connector.database.kind]: "done"}})
    dead = write(connector, [reading(n) for n in (1, 2, 3, 2, 4)])
    assert dead == []
    assert [(id, device) for id, device, _ in rows(connector)] == [(1, "p-1"), (2, "p-1"), (3, "old"), (4, "p-1")]


ORPHAN = {"postgresql": "23503", "mariadb": "23000/1452"}


@pytest.mark.parametrize("variant", ["postgres_db", "maria_db"])
def test_a_missing_parent_may_be_waited_for(on: Callable[[str], Connector], variant: str) -> None:
    connector = on(variant)
    database, vhost = connector.database, connector.vhost
    database.script(
        "CREATE TABLE device (name varchar(20) PRIMARY KEY)",
        "INSERT INTO device VALUES ('p-1')",
        "ALTER TABLE reading ADD FOREIGN KEY (device) REFERENCES device (name)",
    )
    connector.configure(
        database={"errors": {ORPHAN[database.kind]: "retry"}}, retry={"attempts": 30, "first_ms": 50, "max_s": 0.5}
    )
    vhost.declare_queue("readings")
    with connector.subscribed() as running:
        connector.publish(reading(1), reading(2, device="late"), reading(3))
        running.wait_for("retrying")
        database.execute("INSERT INTO device VALUES ('late')")
        assert eventually(lambda: database.count("reading") == 3, 30)
    assert connector.dead() == []
    connector.configure(database={"errors": {ORPHAN[database.kind]: "retry"}}, retry={"attempts": 1, "first_ms": 10})
    [headers] = write(connector, [reading(4), reading(5, device="never"), reading(6)], dead=1)
    assert (headers["dead-reason"], headers["dead-code"][:5]) == ("retries-exhausted", ORPHAN[database.kind][:5])
    assert [id for id, *_ in rows(connector)] == [1, 2, 3, 4, 6]

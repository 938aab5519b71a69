"""A server that refuses what it is told at the start of a session, and has no savepoints: the sink works all the same.

The servers are real ones that are told things which they do not know.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from connectorlib.messages import DONE, Dead
from dbconnector import dialects
from dbconnector.dialects.base import Savepoints, Setting
from dbconnector.odbc.database import Database
from dbconnector.preflight import findings
from dbconnector.settings import DatabaseSettings, Write
from tests.integration.test_database_sink import INSERT, Bench, deliveries, ids, reading, with_table


@pytest.fixture
def foreign(database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    known = tuple(
        replace(
            each,
            session=(*each.session, Setting("SET no_such_setting TO 1", "nothing is set")),
            savepoints=Savepoints("SAVE_NOTHING {}"),
            columns_query=lambda table: ("SELECT no_such_function(?)", (table,)),
            version_query=lambda table: (f"SHOW VERSION OF {table}", ()),
        )
        for each in dialects.known()
    )
    monkeypatch.setattr(dialects, "known", lambda: known)
    yield with_table(database)
    while Bench.made:
        Bench.made.pop().odbc.close()


def test_what_a_server_does_not_know_costs_lines_and_no_rows(foreign: Any) -> None:
    bench = Bench(foreign, [INSERT])
    outcomes = bench.write(*deliveries(*(reading(n, None if n in (7, 23) else "p-1") for n in range(1, 31))))
    assert [n for n, outcome in enumerate(outcomes, 1) if isinstance(outcome, Dead)] == [7, 23]
    assert outcomes.count(DONE) == 28
    assert ids(foreign) == [n for n in range(1, 31) if n not in (7, 23)]
    lacks = "\n".join(bench.odbc.server.lacks)
    assert "nothing is set" in lacks
    assert "column types are unknown" in lacks
    assert "which takes longer" in lacks
    assert "there are no savepoints" in lacks
    assert [each.text for each in findings(bench.config) if each.about == "server"] == list(bench.odbc.server.lacks)


def test_what_a_user_may_not_ask_is_a_lack_once_it_is_missed(maria_db: Any) -> None:
    """The version of a view takes the right to see its definition."""
    with_table(maria_db)
    maria_db.execute("CREATE VIEW readings AS SELECT * FROM reading")
    maria_db.server.execute("CREATE USER writer@'%' IDENTIFIED BY 'w'")
    maria_db.server.execute(f"GRANT SELECT, INSERT ON {maria_db.name}.readings TO writer@'%'")
    maria_db.connection |= {"Uid": "writer", "Pwd": "w"}
    bench = Bench(maria_db, [Write("INSERT INTO readings (id, device) VALUES (:id, :device)")])
    with closing(bench.odbc):
        bench.odbc.connect()
        assert bench.odbc.server.lacks == ()
        assert bench.write(*deliveries(reading(1, "p-1"))) == [DONE]
        lack = "".join(bench.odbc.server.lacks)
    assert "which takes longer: " in lack
    assert "SHOW VIEW" in lack


def test_a_known_server_lacks_nothing(database: Any) -> None:
    with closing(Database(DatabaseSettings(database.connection))) as odbc:
        odbc.connect()
        assert odbc.server.lacks == ()

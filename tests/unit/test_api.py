"""The Python API without services: what a configuration may be, counts, and the end of a block."""

import threading
from typing import Any

import pytest

from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life
from dbconnector import DBConnector

GOOD: dict[str, Any] = {
    "database": {"connection": {"Driver": "SQLite3", "Database": "nowhere.db"}, "select": {"query": "SELECT 1 AS id"}},
    "broker": {"host": "nowhere.invalid", "destination": {"exchange": "rows"}},
}


def test_a_mapping_is_a_configuration_and_its_mistakes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    connector = DBConnector({**GOOD, "brocker": {}})
    assert connector.selectNSend() is False
    assert "configuration: line" in caplog.text
    assert 'brocker: unknown key; did you mean "broker"?' in caplog.text
    assert DBConnector(GOOD)._load("configuration").database.connection == GOOD["database"]["connection"]


@pytest.mark.parametrize("wrong", [{"database": object()}, {"database": {1, 2}}])
def test_a_mapping_that_is_not_json_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError):
        DBConnector(wrong)


def test_the_counts_are_those_of_the_last_run() -> None:
    connector = DBConnector(GOOD)
    assert connector.counts == {}

    def work(life: Life) -> ExitCode:
        life.counts.update(done=3, failed=0)
        return ExitCode.DONE

    assert connector._run(work) is True
    assert connector.counts == {"done": 3, "failed": 0}
    assert connector._run(lambda life: ExitCode.NOTHING) is None
    assert connector.counts == {}


def test_the_end_of_a_block_stops_what_runs_and_waits_for_it() -> None:
    began, ended = threading.Event(), threading.Event()

    def work(life: Life) -> ExitCode:
        began.set()
        life.stop.wait(10)
        ended.set()
        return ExitCode.DONE

    with DBConnector(GOOD) as connector:
        threading.Thread(target=connector._run, args=(work,)).start()
        assert began.wait(10)
    assert ended.is_set()

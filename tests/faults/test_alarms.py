"""One open Case for each alarm, exact counts and no owner changed, whatever dies; see also scripts/soak --alarms."""

import pytest

from tests.faults import nemesis
from tests.faults.conftest import MakeAlarms


@pytest.mark.soak
def test_20_kills_and_lost_answers_while_another_connector_stands_by(alarms_in: MakeAlarms) -> None:
    arena = alarms_in(seed=61, keys=50)
    arena.org.fault(match={"path": "/composite"}, times=None, probability=0.05, drop_after_commit=True)
    arena.worker()
    arena.worker(wait=False)
    arena.producer.start(60)
    arena.agents.start()
    for _ in range(20):
        nemesis.happen(arena, nemesis.kill_any_time)
    arena.producer.stop()
    arena.org.no_faults()
    history, problems = arena.finish()
    assert not problems, "; ".join(problems)
    assert len(history.alarms) == 50
    assert history.dead == []

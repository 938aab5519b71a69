"""sfconnector under faults: one Case for each message, whatever happens."""

import pytest

from tests.faults import cases, nemesis
from tests.faults.conftest import MakeCases
from tests.faults.nemesis import Fault


def test_with_the_external_id_no_case_is_duplicated(cases_in: MakeCases) -> None:
    arena = cases_in(seed=51, pace=0.3, bad=0.02)
    arena.worker()
    arena.producer.start(80)
    for fault in (cases.kill_after_answer, cases.drop_after_commit, nemesis.reset_broker, cases.expire):
        nemesis.happen(arena, fault)
    arena.producer.stop()
    history = arena.expect_all_is_well()
    assert len(history.rows) > 100


@pytest.mark.soak
@pytest.mark.parametrize(
    "fault", cases.FAULTS, ids=[f"{each.number}-{each.text.replace(' ', '-')}" for each in cases.FAULTS]
)
def test_it_is_survived(cases_in: MakeCases, fault: Fault) -> None:
    arena = cases_in(seed=cases.FAULTS.index(fault), bad=0.01)
    arena.worker()
    arena.producer.start(50)
    arena.wait_for_rows(20)
    nemesis.happen(arena, fault.run)
    arena.producer.stop()
    arena.expect_all_is_well()

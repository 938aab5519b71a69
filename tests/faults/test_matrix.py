"""Every fault of the matrix alone, on both databases, with and without the inbox: for the soak."""

import pytest

from tests.faults import nemesis
from tests.faults.conftest import Make
from tests.faults.database_faults import FAULTS
from tests.faults.nemesis import Fault


@pytest.mark.soak
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
@pytest.mark.parametrize("fault", FAULTS, ids=[f"{each.number}-{each.text.replace(' ', '-')}" for each in FAULTS])
def test_it_is_survived(world_on: Make, name: str, fault: Fault) -> None:
    world = world_on(name, seed=FAULTS.index(fault), bad=0.01)
    world.worker()
    world.producer.start(100)
    world.wait_for_rows(20)
    nemesis.happen(world, fault.run)
    world.producer.stop()
    world.expect_all_is_well()

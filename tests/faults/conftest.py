"""A world for each test of faults: real services, spoiled links, connectors as processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.alarms import AlarmArena
from tests.faults.cases import CaseArena
from tests.faults.keyed import Keyed
from tests.faults.world import World
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import Org

Make = Callable[..., World]
MakeKeyed = Callable[..., Keyed]
MakeCases = Callable[..., CaseArena]
MakeAlarms = Callable[..., AlarmArena]


@pytest.fixture
def world_on(tmp_path: Path, vhost: Vhost, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make a world on the database of the fixture with that name."""
    with ExitStack() as worlds:

        def make(name: str, *, seed: int, kind: type[World] = World, **more: Any) -> World:
            database = request.getfixturevalue(name)
            return worlds.enter_context(kind(tmp_path, vhost, database, seed=seed, **more))

        yield make
    show(tmp_path)


@pytest.fixture
def cases_in(tmp_path: Path, vhost: Vhost, salesforce: Org) -> Iterator[MakeCases]:
    """Make an arena with an org of the sandbox."""
    with ExitStack() as arenas:

        def make(*, seed: int, **more: Any) -> CaseArena:
            return arenas.enter_context(CaseArena(tmp_path, vhost, salesforce, seed=seed, **more))

        yield make
    show(tmp_path)


@pytest.fixture
def alarms_in(tmp_path: Path, vhost: Vhost, salesforce: Org) -> Iterator[MakeAlarms]:
    """Make an arena with alarms in an org of the sandbox."""
    with ExitStack() as arenas:

        def make(*, seed: int, **more: Any) -> AlarmArena:
            return arenas.enter_context(AlarmArena(tmp_path, vhost, salesforce, seed=seed, **more))

        yield make
    show(tmp_path)


def show(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')}")  # pytest shows it when the test fails

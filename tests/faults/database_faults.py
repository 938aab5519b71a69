"""Faults of the database and of the way to it, by their numbers in the fault matrix: see `nemesis`."""

from functools import partial

from tests.faults import sickness
from tests.faults.nemesis import COMMON, Fault, at_hook, collect, last
from tests.faults.world import World
from tests.services.proxy import End

#: Those of this module.
DATABASE: list[Fault] = []
fault = partial(collect, DATABASE)

#: Short limits of the database calls (see child.limits): a dead link is noticed after 6 s.
LIMITS = "limits=3,1,3,4,2"


# F1: the process, at a commit


@fault("F1", "killed before a commit")
def kill_before_commit(world: World) -> None:
    at_hook(world, "before-commit")


@fault("F1", "killed after a commit, before the acknowledgement")
def kill_after_commit(world: World) -> None:
    at_hook(world, "after-commit")


# F6 to F9: the database and the link to it


@fault("F6", "database sessions killed at any instant")
def kill_sessions(world: World) -> None:
    for _ in range(world.chance.randint(1, 4)):
        sickness.kill_sessions(world.database, world.user)
        last(world, 0, 0.5)


def kill_sessions_now(world: World) -> None:
    sickness.kill_sessions(world.database, world.user)


@fault("F6", "database session killed between the statement and the commit")
def kill_in_commit(world: World) -> None:
    called = world.far_link.before(b"COMMIT", lambda: kill_sessions_now(world))
    called.wait(20)
    world.far_link.forget()


@fault("F6", "database killed")
def kill_database(world: World) -> None:
    world.database.close()
    world.database.server.kill()
    last(world, 0, 3)
    world.database.server.start()


@fault("F7", "reply to a commit dropped")
def drop_commit_reply(world: World) -> None:
    how = world.chance.choice([End.FIN, End.RST])
    answered = world.far_link.drop_reply(b"COMMIT", how=how)
    answered.wait(20)
    world.far_link.forget()


@fault("F7", "database's answers cut off in the middle")
def truncate_database(world: World) -> None:
    world.far_link.to_client.left = world.chance.randint(1, 3_000)
    last(world, 2, 2)
    world.far_link.heal()


@fault("F8", "database black-holed in a commit", long=True)
def black_hole_in_commit(world: World) -> None:
    for worker in world.workers:
        worker.stop()
        worker.start(LIMITS)
    answered = world.far_link.drop_reply(b"COMMIT", how=None)
    answered.wait(20)
    # It is given up by the driver (MariaDB), or the process ends itself and is started again.
    world.expect_progress()
    world.far_link.forget()
    world.far_link.cut()


@fault("F8", "database black-holed, also when the connection is closed", long=True)
def black_hole_database(world: World) -> None:
    for worker in world.workers:
        worker.stop()
        worker.start(LIMITS)
    world.far_link.black_hole()
    last(world, 1, 15)
    world.mind()
    world.far_link.heal()


@fault("F9", "database unreachable for a while")
def refuse_database(world: World) -> None:
    world.far_link.refuse()
    last(world, 1, 6)
    world.far_link.heal()


@fault("F9", "database stopped")
def stop_database(world: World) -> None:
    world.database.close()
    world.database.server.stop()
    last(world, 0, 10)
    world.database.server.start()


# F10 to F15: a database that answers, and does not do it


def _ill(world: World, disease: str, seconds: float) -> None:
    sickness.fall_ill(world.database, disease)
    last(world, seconds, seconds)
    sickness.get_well(world.database)


@fault("F10", "deadlocks")
def deadlocks(world: World) -> None:
    _ill(world, world.chance.choice(["deadlock", "serialization", "lock"]), world.chance.uniform(0.02, 3))


@fault("F10", "table locked by somebody else")
def lock_table(world: World) -> None:
    with sickness.locked(world.database):
        last(world, 1, 5)


@fault("F11", "a slow database")
def slow_database(world: World) -> None:
    world.far_link.to_server.delay = world.chance.uniform(0.01, 0.2)
    last(world, 1, 6)
    world.far_link.heal()


@fault("F12", "disk full, or no connection to be had")
def full_disk(world: World) -> None:
    _ill(world, world.chance.choice(["full disk", "too many connections"]), world.chance.uniform(1, 4))


@fault("F12", "database read-only after a fail-over")
def read_only(world: World) -> None:
    with sickness.read_only(world.database, world.user):
        last(world, 1, 4)


@fault("F12", "a driver that says the same to everything")
def unknown_errors(world: World) -> None:
    _ill(world, "unknown", world.chance.uniform(1, 4))


@fault("F15", "database log-in revoked")
def revoke_database(world: World) -> None:
    sickness.change_password(world.database, world.user, "another")
    sickness.kill_sessions(world.database, world.user)
    last(world, 1, 4)
    sickness.change_password(world.database, world.user, sickness.PASSWORD)


#: All that can happen to dbconnector.
FAULTS = [*COMMON, *DATABASE]

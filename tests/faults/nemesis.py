"""The faults, by their numbers in the fault matrix. Each begins, lasts, and is over when its function returns.

A fault takes a world in which a connector works on a load. It may kill connectors; `World.mind` starts them again.
What is random in it comes from the world's seed.
"""

import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults import sickness
from tests.faults.world import DEAD, World
from tests.services.proxy import End

#: A heartbeat of 5 s is missed when nothing has come for twice as long.
PAST_HEARTBEAT = 13.0
#: Short limits of the database calls (see child.limits): a dead link is noticed after 6 s.
LIMITS = "limits=3,1,3,4,2"


@dataclass(frozen=True)
class Fault:
    number: str
    text: str
    run: Callable[[World], None]
    #: It takes the whole server down, or takes long: one of these for many others.
    heavy: bool = False


FAULTS: list[Fault] = []


Run = Callable[[World], None]


def fault(number: str, text: str, *, heavy: bool = False) -> Callable[[Run], Run]:
    def register(run: Run) -> Run:
        FAULTS.append(Fault(number, text, run, heavy))
        return run

    return register


def last(world: World, least: float, most: float, *, whole: bool = False) -> None:
    """Let a fault last so many seconds; in a world in haste only a part of them, unless it takes the whole time."""
    seconds = world.chance.uniform(least, most)
    threading.Event().wait(seconds if whole else seconds * world.pace)


# F1 to F3: the process


@fault("F1", "killed at any instant")
def kill_any_time(world: World) -> None:
    last(world, 0, 1)
    worker = world.chance.choice(world.workers)
    worker.kill()
    worker.start()


def _at_hook(world: World, hook: str) -> None:
    worker = world.chance.choice(world.workers)
    worker.stop()
    worker.start(f"{hook}={world.chance.randint(1, 5)}", wait=False)
    if hook == "after-dead-letter":
        world.send_bad(3)
    try:
        worker.wait_for_the_end(20)
    except subprocess.TimeoutExpired:  # there was not enough to do
        worker.kill()
    worker.start()


@fault("F1", "killed before a commit")
def kill_before_commit(world: World) -> None:
    _at_hook(world, "before-commit")


@fault("F1", "killed after a commit, before the acknowledgement")
def kill_after_commit(world: World) -> None:
    _at_hook(world, "after-commit")


@fault("F1", "killed after the confirm of a dead letter, before the acknowledgement")
def kill_after_dead_letter(world: World) -> None:
    _at_hook(world, "after-dead-letter")


@fault("F2", "asked to stop under load")
def terminate(world: World) -> None:
    worker = world.chance.choice(world.workers)
    if code := worker.stop():
        world.problems.append(f"it ended with {code} when asked to stop")
    worker.start()


@fault("F2", "asked to stop twice")
def terminate_twice(world: World) -> None:
    worker = world.chance.choice(world.workers)
    worker.signal(signal.SIGTERM)
    if (code := worker.stop()) not in (0, 128 + signal.SIGTERM):
        world.problems.append(f"it ended with {code} when asked to stop twice")
    worker.start()


@fault("F3", "frozen past the heartbeat", heavy=True)
def freeze(world: World) -> None:
    worker = world.chance.choice(world.workers)
    worker.signal(signal.SIGSTOP)
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    worker.signal(signal.SIGCONT)


# F4 and F5: the broker and the link to it


@fault("F4", "broker restarted", heavy=True)
def restart_broker(world: World) -> None:
    world.vhost.close()
    world.vhost.node.restart()


@fault("F4", "broker killed", heavy=True)
def kill_broker(world: World) -> None:
    world.vhost.close()
    world.vhost.node.kill()
    world.vhost.node.start()


@fault("F5", "broker's connections ended in an orderly way")
def cut_broker(world: World) -> None:
    world.broker_link.cut(End.FIN)


@fault("F5", "broker's connections reset")
def reset_broker(world: World) -> None:
    world.broker_link.cut(End.RST)


@fault("F5", "broker unreachable for a while")
def refuse_broker(world: World) -> None:
    world.broker_link.refuse()
    last(world, 1, 6)
    world.broker_link.heal()


@fault("F5", "broker black-holed both ways past the heartbeat", heavy=True)
def black_hole_broker(world: World) -> None:
    world.broker_link.black_hole()
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    world.broker_link.heal()


@fault("F5", "nothing reaches the broker, past the heartbeat", heavy=True)
def mute_to_broker(world: World) -> None:
    world.broker_link.to_server.block()
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    world.broker_link.heal()


@fault("F5", "nothing comes from the broker, past the heartbeat", heavy=True)
def mute_from_broker(world: World) -> None:
    world.broker_link.to_client.block()
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    world.broker_link.heal()


@fault("F5", "a short black hole on the way to the broker")
def hiccup_broker(world: World) -> None:
    world.broker_link.black_hole()
    last(world, 0.2, 3)
    world.broker_link.heal()


@fault("F5", "a slow link to the broker")
def slow_broker(world: World) -> None:
    world.broker_link.to_server.delay = world.broker_link.to_client.delay = world.chance.uniform(0.01, 0.2)
    last(world, 1, 5)
    world.broker_link.heal()


@fault("F5", "broker's answers cut off in the middle")
def truncate_broker(world: World) -> None:
    world.broker_link.to_client.left = world.chance.randint(1, 20_000)
    last(world, 2, 2)
    world.broker_link.heal()


#: Class 60, method 40: basic.publish; 60, 80: basic.ack, which from the broker is a confirm.
PUBLISH, CONFIRM = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x50"


@fault("F5", "confirm of a dead letter dropped")
def drop_confirm(world: World) -> None:
    dropped = world.broker_link.drop_reply(PUBLISH, CONFIRM)
    world.send_bad(1)
    dropped.wait(20)
    world.broker_link.forget()


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
    called = world.database_link.before(b"COMMIT", lambda: kill_sessions_now(world))
    called.wait(20)
    world.database_link.forget()


@fault("F6", "database killed", heavy=True)
def kill_database(world: World) -> None:
    world.database.close()
    world.database.server.kill()
    last(world, 0, 3)
    world.database.server.start()


@fault("F7", "reply to a commit dropped")
def drop_commit_reply(world: World) -> None:
    how = world.chance.choice([End.FIN, End.RST])
    answered = world.database_link.drop_reply(b"COMMIT", how=how)
    answered.wait(20)
    world.database_link.forget()


@fault("F7", "database's answers cut off in the middle")
def truncate_database(world: World) -> None:
    world.database_link.to_client.left = world.chance.randint(1, 3_000)
    last(world, 2, 2)
    world.database_link.heal()


@fault("F8", "database black-holed in a commit", heavy=True)
def black_hole_in_commit(world: World) -> None:
    for worker in world.workers:
        worker.stop()
        worker.start(LIMITS)
    answered = world.database_link.drop_reply(b"COMMIT", how=None)
    answered.wait(20)
    # It is given up by the driver (MariaDB), or the process ends itself and is started again.
    world.expect_progress()
    world.database_link.forget()
    world.database_link.cut()


@fault("F8", "database black-holed, also when the connection is closed", heavy=True)
def black_hole_database(world: World) -> None:
    for worker in world.workers:
        worker.stop()
        worker.start(LIMITS)
    world.database_link.black_hole()
    last(world, 1, 15)
    world.mind()
    world.database_link.heal()


@fault("F9", "database unreachable for a while")
def refuse_database(world: World) -> None:
    world.database_link.refuse()
    last(world, 1, 6)
    world.database_link.heal()


@fault("F9", "database stopped", heavy=True)
def stop_database(world: World) -> None:
    world.database.close()
    world.database.server.stop()
    last(world, 0, 10)
    world.database.server.start()


# F10 to F12: a database that answers, and does not do it


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
    world.database_link.to_server.delay = world.chance.uniform(0.01, 0.2)
    last(world, 1, 6)
    world.database_link.heal()


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


@fault("F12", "file descriptors used up")
def no_files(world: World) -> None:
    worker = world.chance.choice(world.workers)
    used = len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))
    before = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (used, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    world.database_link.cut()
    world.broker_link.cut()
    last(world, 1, 4)
    if worker.alive:
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, before)


# F13 to F21: the rest of the world


@fault("F13", "broker short of memory", heavy=True)
def alarm(world: World) -> None:
    world.vhost.node.control("set_vm_memory_high_watermark", "0.00001")
    last(world, 1, 5)
    world.vhost.node.control("set_vm_memory_high_watermark", "0.4")


@fault("F15", "database log-in revoked")
def revoke_database(world: World) -> None:
    sickness.change_password(world.database, world.user, "another")
    sickness.kill_sessions(world.database, world.user)
    last(world, 1, 4)
    sickness.change_password(world.database, world.user, sickness.PASSWORD)


@fault("F15", "broker log-in revoked")
def revoke_broker(world: World) -> None:
    world.set_broker_password("another")
    world.broker_link.cut()
    last(world, 1, 4)
    world.set_broker_password(sickness.PASSWORD)
    for worker in world.workers:
        worker.signal(signal.SIGUSR1)


@fault("F16", "a flood of bad messages")
def poison(world: World) -> None:
    world.send_bad(world.chance.randint(50, 300))


@fault("F18", "dead-letter exchange deleted")
def delete_dead_letter_exchange(world: World) -> None:
    world.vhost.api("DELETE", f"/api/exchanges/{{vhost}}/{DEAD}")
    world.send_bad(3)
    last(world, 1, 1)


@fault("F18", "dead-letter queue full")
def fill_dead_letters(world: World) -> None:
    policy = {"pattern": f"^{DEAD}$", "definition": {"max-length": 1, "overflow": "reject-publish"}}
    world.vhost.api("PUT", "/api/policies/{vhost}/full", policy | {"apply-to": "queues"})
    world.send_bad(5)
    last(world, 1, 4)
    world.vhost.api("DELETE", "/api/policies/{vhost}/full")


@fault("F19", "the same messages once more")
def repeat(world: World) -> None:
    if world.once:
        world.producer.repeat(100)


@fault("F20", "a second connector comes and goes")
def second_connector(world: World) -> None:
    worker = world.worker()
    last(world, 0.5, 3)
    if world.chance.random() < 0.5:
        worker.kill()
    elif (code := worker.stop()) != 0:
        world.problems.append(f"the second connector ended with {code}")
    world.retire(worker)


@fault("F21", "a clock that jumps")
def clock_jumps(world: World) -> None:
    worker = world.chance.choice(world.workers)
    worker.stop()
    worker.start(f"clock={world.chance.randint(60, 100_000)}")
    last(world, 1, 4)
    world.expect_progress()
    worker.stop()
    worker.start()


def happen(world: World, run: Run) -> None:
    """Let one fault happen, and see to it that the connectors go on afterwards."""
    began = time.monotonic()
    run(world)
    lasted = time.monotonic()
    world.mind()
    world.expect_progress()
    print(f"{run.__name__}: {lasted - began:.1f} s, and {time.monotonic() - lasted:.1f} s until more was written")
    for worker in world.workers:
        worker.measure()

"""Faults of the process, of the broker and of what else is shared, by their numbers in the fault matrix.

Each begins, lasts, and is over when its function returns.

It takes an arena in which a connector works on a load. It may kill connectors; `Arena.mind` starts them again.
What is random in it comes from the arena's seed.
"""

import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.arena import DEAD, PASSWORD, Arena
from tests.services.proxy import End

#: A heartbeat of 5 s is missed when nothing has come for twice as long.
PAST_HEARTBEAT = 13.0


@dataclass(frozen=True)
class Fault:
    number: str
    text: str
    run: Callable[[Any], None]
    #: It lasts past a heartbeat or a time limit: longer than what has come meanwhile could be caught up with soon.
    long: bool = False


#: Those of this module.
COMMON: list[Fault] = []


Run = Callable[[Any], None]


def collect(into: list[Fault], number: str, text: str, *, long: bool = False) -> Callable[[Run], Run]:
    def register(run: Run) -> Run:
        into.append(Fault(number, text, run, long))
        return run

    return register


fault = partial(collect, COMMON)


def last(world: Arena, least: float, most: float, *, whole: bool = False) -> None:
    """Let a fault last so many seconds; in a world in haste only a part of them, unless it takes the whole time."""
    seconds = world.chance.uniform(least, most)
    threading.Event().wait(seconds if whole else seconds * world.pace)


# F1 to F3: the process


@fault("F1", "killed at any instant")
def kill_any_time(world: Arena) -> None:
    last(world, 0, 1)
    worker = world.chance.choice(world.workers)
    worker.kill()
    worker.start()


def at_hook(world: Arena, hook: str) -> None:
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


@fault("F1", "killed after the confirm of a dead letter, before the acknowledgement")
def kill_after_dead_letter(world: Arena) -> None:
    at_hook(world, "after-dead-letter")


@fault("F2", "asked to stop under load")
def terminate(world: Arena) -> None:
    worker = world.chance.choice(world.workers)
    if code := worker.stop():
        world.problems.append(f"it ended with {code} when asked to stop")
    worker.start()


@fault("F2", "asked to stop twice")
def terminate_twice(world: Arena) -> None:
    worker = world.chance.choice(world.workers)
    worker.signal(signal.SIGTERM)
    if (code := worker.stop()) not in (0, 128 + signal.SIGTERM):
        world.problems.append(f"it ended with {code} when asked to stop twice")
    worker.start()


@fault("F3", "frozen past the heartbeat", long=True)
def freeze(world: Arena) -> None:
    worker = world.chance.choice(world.workers)
    worker.signal(signal.SIGSTOP)
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    worker.signal(signal.SIGCONT)


# F4 and F5: the broker and the link to it


@fault("F4", "broker restarted")
def restart_broker(world: Arena) -> None:
    world.vhost.close()
    world.vhost.node.restart()


@fault("F4", "broker killed")
def kill_broker(world: Arena) -> None:
    world.vhost.close()
    world.vhost.node.kill()
    world.vhost.node.start()


@fault("F5", "broker's connections ended in an orderly way")
def cut_broker(world: Arena) -> None:
    world.broker_link.cut(End.FIN)


@fault("F5", "broker's connections reset")
def reset_broker(world: Arena) -> None:
    world.broker_link.cut(End.RST)


@fault("F5", "broker unreachable for a while")
def refuse_broker(world: Arena) -> None:
    world.broker_link.refuse()
    last(world, 1, 6)
    world.broker_link.heal()


@fault("F5", "broker black-holed both ways past the heartbeat", long=True)
def black_hole_broker(world: Arena) -> None:
    world.broker_link.black_hole()
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    world.broker_link.heal()


@fault("F5", "nothing reaches the broker, past the heartbeat", long=True)
def mute_to_broker(world: Arena) -> None:
    world.broker_link.to_server.block()
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    world.broker_link.heal()


@fault("F5", "nothing comes from the broker, past the heartbeat", long=True)
def mute_from_broker(world: Arena) -> None:
    world.broker_link.to_client.block()
    last(world, PAST_HEARTBEAT, PAST_HEARTBEAT, whole=True)
    world.broker_link.heal()


@fault("F5", "a short black hole on the way to the broker")
def hiccup_broker(world: Arena) -> None:
    world.broker_link.black_hole()
    last(world, 0.2, 3)
    world.broker_link.heal()


@fault("F5", "a slow link to the broker")
def slow_broker(world: Arena) -> None:
    world.broker_link.to_server.delay = world.broker_link.to_client.delay = world.chance.uniform(0.01, 0.2)
    last(world, 1, 5)
    world.broker_link.heal()


@fault("F5", "broker's answers cut off in the middle")
def truncate_broker(world: Arena) -> None:
    world.broker_link.to_client.left = world.chance.randint(1, 20_000)
    last(world, 2, 2)
    world.broker_link.heal()


#: Class 60, method 40: basic.publish; 60, 80: basic.ack, which from the broker is a confirm.
PUBLISH, CONFIRM = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x50"


@fault("F5", "confirm of a dead letter dropped")
def drop_confirm(world: Arena) -> None:
    dropped = world.broker_link.drop_reply(PUBLISH, CONFIRM)
    world.send_bad(1)
    dropped.wait(20)
    world.broker_link.forget()


@fault("F12", "file descriptors used up")
def no_files(world: Arena) -> None:
    worker = world.chance.choice(world.workers)
    used = len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))
    before = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (used, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    world.far_link.cut()
    world.broker_link.cut()
    last(world, 1, 4)
    if worker.alive:
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, before)


# F13 to F21: the rest of the world


@fault("F13", "broker short of memory")
def alarm(world: Arena) -> None:
    world.vhost.node.set_memory_alarm()
    last(world, 1, 5)
    world.vhost.node.clear_memory_alarm()


@fault("F15", "broker log-in revoked")
def revoke_broker(world: Arena) -> None:
    world.set_broker_password("another")
    world.broker_link.cut()
    last(world, 1, 4)
    world.set_broker_password(PASSWORD)
    for worker in world.workers:
        worker.signal(signal.SIGUSR1)


@fault("F16", "a flood of bad messages")
def poison(world: Arena) -> None:
    world.send_bad(world.chance.randint(50, 300))


@fault("F18", "dead-letter exchange deleted")
def delete_dead_letter_exchange(world: Arena) -> None:
    world.vhost.api("DELETE", f"/api/exchanges/{{vhost}}/{DEAD}")
    world.send_bad(3)
    last(world, 1, 1)


@fault("F18", "dead-letter queue full")
def fill_dead_letters(world: Arena) -> None:
    policy = {"pattern": f"^{DEAD}$", "definition": {"max-length": 1, "overflow": "reject-publish"}}
    world.vhost.api("PUT", "/api/policies/{vhost}/full", policy | {"apply-to": "queues"})
    world.send_bad(5)
    last(world, 1, 4)
    world.vhost.api("DELETE", "/api/policies/{vhost}/full")


@fault("F19", "the same messages once more")
def repeat(world: Arena) -> None:
    if world.once:
        world.producer.repeat(100)


@fault("F20", "a second connector comes and goes")
def second_connector(world: Arena) -> None:
    worker = world.worker()
    last(world, 0.5, 3)
    if world.chance.random() < 0.5:
        worker.kill()
    elif (code := worker.stop()) != 0:
        world.problems.append(f"the second connector ended with {code}")
    world.retire(worker)


def hand_over(world: Arena, *, kill: bool = False) -> None:
    """Ask the connector that began first to stop, or kill it, under load, and start it again: of those on a queue with
    a single active consumer that is the active one, and becomes the last in line. One that is alone goes on itself."""
    active = world.workers.pop(0)
    world.workers.append(active)
    if kill:
        active.kill()
    elif code := active.stop():
        world.problems.append(f"it ended with {code} when asked to stop")
    if len(world.workers) > 1:
        world.expect_progress()
    active.start()
    world.expect_progress()


@fault("F20", "two connectors asked to stop, one after the other")
def take_turns(world: Arena) -> None:
    second = world.worker()
    for _ in range(3):
        last(world, 0.2, 2)
        hand_over(world)
    second.stop()
    world.retire(second)


@fault("F21", "a clock that jumps")
def clock_jumps(world: Arena) -> None:
    worker = world.chance.choice(world.workers)
    worker.stop()
    worker.start(f"clock={world.chance.randint(60, 100_000)}")
    last(world, 1, 4)
    world.expect_progress()
    worker.stop()
    worker.start()


def happen(world: Arena, run: Run) -> None:
    """Let one fault happen, and see to it that the connectors go on afterwards."""
    began = time.monotonic()
    run(world)
    lasted = time.monotonic()
    world.mind()
    world.expect_progress()
    print(f"{run.__name__}: {lasted - began:.1f} s, and {time.monotonic() - lasted:.1f} s until more was written")
    for worker in world.workers:
        worker.measure()

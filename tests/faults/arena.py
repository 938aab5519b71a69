"""What every fault run has: a broker and the link to it, connectors, a producer; and what is left at the end, for the
checker. Sub-classes add the far side."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.faults import checker
from tests.faults.checker import History, Letter, Row
from tests.faults.producer import Make, Producer, message
from tests.faults.worker import CONSUMING, STUCK, Worker
from tests.services.proxy import Proxy
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

QUEUE, DEAD = "readings", "dead-letter"
PASSWORD = "connector-pass;1"
BATCH = 40
#: Arguments of a queue that hands its messages to one connector while others stand by.
SINGLE_ACTIVE = {"x-single-active-consumer": True, "x-delivery-limit": 1_000}


class Arena:
    """Between the fault and the check: `with World(…) as world`, and at the end `world.expect_all_is_well()`."""

    #: What the connector says when it has begun.
    ready = CONSUMING
    #: What it consumes.
    queues: Sequence[str] = (QUEUE,)
    #: Where messages are published by their key; "": to the queue.
    exchange = ""

    def __init__(
        self,
        folder: Path,
        vhost: Vhost,
        far_side: Proxy,
        *,
        seed: int,
        once: bool = True,
        bad: float = 0.0,
        pace: float = 1.0,
        queue: Mapping[str, Any] | None = None,
        make: Make = message,
    ) -> None:
        """`queue` has more arguments for the source queue; `make` makes the messages."""
        self.seed = seed
        print(f"seed {seed}")  # pytest shows it when the test fails
        self.folder = folder
        self.vhost = vhost
        self.chance = random.Random(seed)
        self.once = once
        self._arguments = {"x-dead-letter-exchange": DEAD, "x-delivery-limit": 100} | dict(queue or {})
        #: What part of their time faults last.
        self.pace = pace
        self.broker_link = Proxy(vhost.host, vhost.port)
        #: To the database, or to Salesforce.
        self.far_link = far_side
        self.producer = Producer(vhost, QUEUE, random.Random(seed), bad=bad, make=make, exchange=self.exchange)
        self.workers: list[Worker] = []
        self._retired: list[Worker] = []
        #: What went wrong on the way, beside what the history shows.
        self.problems: list[str] = []
        self.broker_user = f"c-{vhost.name}"

    # What a sub-class says

    def prepare(self) -> None:
        """Make what the far side needs, and the configuration."""
        raise RuntimeError("not said")

    def command(self) -> Sequence[str]:
        """Return the connector's command."""
        raise RuntimeError("not said")

    def written(self) -> int:
        """Return how many rows the far side has."""
        raise RuntimeError("not said")

    def rows(self) -> list[Row]:
        """Return them, in the order in which it got them."""
        raise RuntimeError("not said")

    def parts(self) -> dict[int, int]:
        return {}

    def secrets(self) -> list[str]:
        return [PASSWORD]

    # What is the same

    def __enter__(self) -> Self:
        self.set_broker_password(PASSWORD)
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self.vhost.node.api("PUT", f"/api/permissions/{self.vhost.quoted}/{self.broker_user}", rights)
        self.declare(self.vhost)
        self.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self.workers, *self._retired):
            worker.kill()
        self.producer.close()
        self.broker_link.close()
        self.far_link.close()

    def broker_config(self, **more: Any) -> dict[str, Any]:
        """Return the section of a configuration; the way leads through the link."""
        way = {"port": self.broker_link.port, "username": self.broker_user, "password": PASSWORD}
        return self.vhost.config(**way, heartbeat=5, **more)

    def declare(self, vhost: Vhost) -> None:
        """Make the queues."""
        vhost.declare_queue(QUEUE, "devices", "reading.#", arguments=self._arguments)
        vhost.declare_queue(DEAD, DEAD, "#", arguments={"x-delivery-limit": 1_000_000})

    def set_broker_password(self, password: str) -> None:
        """Of the connectors' own user."""
        self.vhost.node.api("PUT", f"/api/users/{self.broker_user}", {"password": password, "tags": ""})

    def worker(self, *hooks: str, wait: bool = True) -> Worker:
        """Start one more connector."""
        name = f"connector-{len(self.workers) + len(self._retired) + 1}"
        worker = Worker(self.folder, name, *self.command(), ready=self.ready)
        self.workers.append(worker)
        worker.start(*hooks, wait=wait)
        return worker

    def retire(self, worker: Worker) -> None:
        """It has ended, and is not started again."""
        self.workers.remove(worker)
        self._retired.append(worker)

    def send_bad(self, count: int) -> None:
        """Send messages that cannot be written."""
        self.producer.send(count, bad=1.0)

    # How it goes

    def dead(self) -> int:
        return self.vhost.depth(DEAD)

    def wait_for_rows(self, least: int, timeout: float = 60.0) -> None:
        eventually(lambda: self.written() >= least, timeout, what=f"{least} rows")

    def expect_progress(self, timeout: float = 90.0) -> None:
        """A fault is over: more has to be written (or died) soon, unless all there was has been settled."""
        before = self.written() + self.dead()
        try:
            eventually(
                lambda: self._minded_and_settled() or self.written() + self.dead() > before, timeout, 0.1, "progress"
            )
        except AssertionError as error:
            self.problems.append(f"stuck: {error}")

    def settled(self) -> bool:
        """Return whether all that is confirmed has come somewhere, as far as numbers say, and the queue is empty."""
        if any(self.vhost.depth(queue) > 0 for queue in self.queues) or self.written() + self.dead() < len(
            self.producer.confirmed
        ):
            return False
        return self.once or len({row.id for row in self.rows()}) + self.dead() >= len(self.producer.confirmed)

    def mind(self) -> None:
        """Start again who has died, as systemd does."""
        for worker in self.workers:
            worker.mind()

    def drain(self, patience: float = 60.0) -> None:
        """All faults are over: wait until everything is settled, as long as there is progress, and stop the connectors
        in an orderly way."""
        self.broker_link.heal()
        self.far_link.heal()
        while self._drained(patience):
            for worker in self.workers:
                code = worker.stop()
                if code != 0:
                    self.problems.append(f"{worker.log_file.name} ended with {code} at the end")
            # What was in hand just then, such as repeated messages, has been given back.
            if self.settled():
                return
            for worker in self.workers:
                worker.start()

    def _drained(self, patience: float) -> bool:
        """Wait until everything is settled; return whether it is."""
        done = -1
        while (now := self.written() + self.dead()) != done:
            done = now
            try:
                eventually(self._minded_and_settled, patience, every=0.25)
            except AssertionError:
                continue
            return True
        self.problems.append(f"not drained: nothing moved for {patience:g} s")
        for worker in self.workers:
            worker.stop()
        return False

    def _minded_and_settled(self) -> bool:
        self.mind()
        return self.settled()

    def history(self) -> History:
        """Take what is at the far side and in the queues; the connectors have stopped."""
        return History(
            attempted=dict(self.producer.attempted),
            confirmed=frozenset(self.producer.confirmed),
            rows=self.rows(),
            parts=self.parts(),
            dead=[_letter(properties) for _, properties, _ in self.vhost.get_all(DEAD)],
            queued=[_id(properties) for queue in self.queues for _, properties, _ in self.vhost.get_all(queue)],
            once=self.once,
            dead_twice=self._dead_twice(),
        )

    def _dead_twice(self) -> int:
        """Return how many dead letters may be doubled: a lost connection or process takes confirms and acknowledgements
        along, and each time the messages of a whole prefetch may die again."""
        logs = [worker.log for worker in (*self.workers, *self._retired)]
        begun = [max(0, sum(log.count(begin) for log in logs) - 1) for begin in (CONSUMING, " publishing\n")]
        return sum(begun) * 2 * BATCH

    def check(self, *, ordered: bool = False) -> tuple[History, list[str]]:
        """Drain, look at what is left, and return that and all that is wrong."""
        self.drain()
        history = self.history()
        problems = self.problems + checker.violations(history, ordered=ordered)
        problems += self.wrong_with_workers()
        problems += [f"{len(history.queued)} messages are left in the queue"] if history.queued else []
        return history, problems

    def wrong_with_workers(self) -> list[str]:
        """Return what is wrong with the ends of the connectors, with what they used and with what they told."""
        problems: list[str] = []
        for worker in (*self.workers, *self._retired):
            # Killed by us or by a hook, or ended by its own watchdog: all else is no end by design.
            problems += [f"it exited with {code}" for code in worker.ends if code not in (-9, STUCK)]
            problems += checker.growing(worker.usages)
            problems += checker.told(worker.log, self.secrets())
        return problems

    def expect_all_is_well(self, *, ordered: bool = False) -> History:
        """Drain and check; nothing may be left in the queue."""
        history, problems = self.check(ordered=ordered)
        print(checker.counts(history))
        assert not problems, "; ".join(problems)
        assert list(history.queued) == []
        return history


def _id(properties: Any) -> int:
    return int(str(properties.message_id).partition("-")[2])


def _letter(properties: Any) -> Letter:
    headers = properties.headers or {}
    reason = headers.get("dead-reason") or headers.get("x-first-death-reason") or ""
    return Letter(_id(properties), str(reason), str(headers.get("dead-code", "")))

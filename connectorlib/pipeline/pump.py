"""The pump moves deliveries from a consumer through lanes and settles each by its outcome. It decides nothing: it hands
events to the lanes (`lane_step`) and executes the actions that they return.

The pump's own thread takes, dispatches and settles. A single lane works in this thread too; several have a thread each.
The order that loses nothing: the target first, then the confirm or commit, then the ack.
"""

import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from connectorlib.errors import Failed
from connectorlib.formats.strictness import body_too_large
from connectorlib.messages import ALREADY, DONE, EMPTY, Dead, Delivery, Done
from connectorlib.pipeline import lane_protocol as lanes
from connectorlib.pipeline.blame import PAUSING
from connectorlib.pipeline.dead_letter_publisher import DeadLetterPublisher
from connectorlib.pipeline.lane import SUSPICIOUS_DELIVERIES, Lane
from connectorlib.pipeline.lane_step import step
from connectorlib.pipeline.pause import BrokerWait
from connectorlib.pipeline.prefetch import Intake
from connectorlib.pipeline.worker import Worker
from connectorlib.service import logs

if TYPE_CHECKING:
    from connectorlib.amqp import AnyConsumer

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 10.0
#: How long an idle `take` waits before its caller looks around (stop, dead letters to send again).
IDLE_S = 1.0
#: The same while suspects wait for their next attempt, or for proof.
SHORT_IDLE_S = 0.1
#: How long messages are gathered at least while a lane works, so that there are not as many turns as messages: most are
#: for that lane, which begins with them when it is idle again.
GATHER_S = 0.002
#: How often a message of a shard has come back before it is suspicious: it does whenever its process ends or leaves it
#: to another, and has a delivery limit of 1,000.
OFTEN = 30
#: How long the target may not answer before another process shall try.
LEAVE_S = 5.0
#: How long a quorum queue may take to have back what was requeued.
REQUEUED_S = 0.2

#: Returns the positions of the lanes that may have a message, and sets its `key`; or how it counts if it is left out on
#: purpose. Raises Failed (reject) if it is for none.
Router = Callable[[Delivery], Sequence[int] | Done]


class Pump:
    """Runs one flow until told to stop."""

    def __init__(
        self,
        name: str,
        consumer: "AnyConsumer",
        workers: Sequence[Worker],
        dead_letters: DeadLetterPublisher,
        wait: BrokerWait,
        *,
        wait_s: Callable[[], float],
        route: Router | None = None,
        shared: bool = False,
    ) -> None:
        """A batch closes `wait_s` after its first message. Without `route` messages go to whichever lane is free.
        `shared`: another process takes what this one closes its channels for."""
        self.name = name
        self.counts: Counter[str] = Counter()
        self.workers = workers
        for worker in workers:
            worker.peers = [other for other in workers if other.notice is worker.notice]
        self._consumer = consumer
        self._dead_letters = dead_letters
        self._wait = wait
        self._stop = wait.stop
        self._route = route
        self._shared = shared
        #: How many messages were done when they were last left to another process.
        self._left_at = -1
        few = max(worker.rules.retry.breaker for worker in workers) + 1
        often = OFTEN if shared else SUSPICIOUS_DELIVERIES
        self._intake = Intake(consumer, self._requeue, few=few, wait_s=wait_s, often=often)
        #: What the threads of lanes have answered; None: look around.
        self._answers: SimpleQueue[tuple[Worker, lanes.Event] | None] = SimpleQueue()
        #: What lanes announce before there is a queue for messages to wait in; None: the pump has started.
        self._early: list[tuple[Worker, lanes.Announce]] | None = []
        #: Whether the pump's thread waits in `take`, where an answer has to wake it.
        self._taking = False
        dead_letters.on_failure = self.wake

    def run(self) -> None:
        """Take, work and settle until stopped; then drain: what is done is acked, the rest requeued."""
        with self._threads():
            try:
                self._start()
                while not self._stop.is_set():
                    if not self._consumer.active and not self._open():
                        break
                    self._turn()
            finally:
                self._quiesce()
                self._dead_letters.wait(STOP_DEADLINE_S)
                self._consumer.requeue(STOP_DEADLINE_S)

    def wake(self) -> None:
        """Let a waiting pump look around at once. Any thread may ask."""
        self._answers.put(None)
        self._consumer.wake()

    # Beginning

    @contextmanager
    def _threads(self) -> Iterator[None]:
        with ExitStack() as stack:
            for number, worker in enumerate(self.workers if len(self.workers) > 1 else ()):
                worker.thread = stack.enter_context(ThreadPoolExecutor(1, f"lane-{number}"))
            yield

    def _start(self) -> None:
        """Nothing is taken before a target has answered once; without an answer messages need a queue to wait in, which
        is made meanwhile."""
        self._wait.begin()
        for worker in self.workers:
            self._give(worker, lanes.Started())
        while any(worker.lane.probing for worker in self.workers) and not self._stop.is_set():
            self._await_answers()
        early, self._early = self._early, None
        if early and self._wait.prepare():
            for worker, announcement in early:
                self._execute(worker, announcement, deque())
            self._await_one(self._all_paused)

    def _open(self) -> bool:
        """Consume. Return False when stopped meanwhile. What was in hand belonged to the old channel and comes again;
        if something is paused for it, it waits in the queue until that answers."""
        if self._consumer.held:  # one of several shards is gone
            self._requeue()
        for worker in self.workers:
            self._give(worker, lanes.Dropped())
        if self.counts["consumed"]:
            self._await_one(self._any_paused)
        return not self._stop.is_set() and self._wait.open_consumer(self._intake.reopen)

    def _await_one(self, is_paused: Callable[[], bool]) -> None:
        while is_paused() and not self._stop.is_set():
            self._look_around()
            self._await_answers()

    def _all_paused(self) -> bool:
        return all(worker.lane.paused for worker in self.workers)

    def _any_paused(self) -> bool:
        return any(worker.lane.paused and not worker.is_led for worker in self.workers)

    # One turn

    def _turn(self) -> None:
        self._send_dead_letters()
        self._reject_too_large()
        self._look_around()
        behind = [worker.lane.waiting[0] for worker in self.workers if worker.thread and worker.lane.waiting]
        if overdue := [delivery for delivery in behind if self._is_overdue(delivery)]:
            self._intake.slow(overdue[0])
            return
        if self._is_held_too_long() or self._is_to_leave():
            logs.event(logger, logging.WARNING, "requeued", queue=self._consumer.queue, held=self._consumer.held)
            self._requeue()
            return
        size = self._room()
        if size:
            # A lane that is free gets what is for it, so all that has come is dispatched.
            self._take(self._intake.most if self._route and len(self.workers) > 1 else size)
        else:
            self._await_answers()

    def _look_around(self) -> None:
        """Hand the lanes what has happened meanwhile."""
        nudged = self._wait.nudge.is_set()
        if nudged:
            self._wait.nudge.clear()
        now = time.monotonic()
        for worker in self.workers:
            due = worker.wakes_at
            if nudged and not (worker.lane.flooded and due is None):
                self._give(worker, lanes.Nudged())
            elif (due is not None and due <= now) or self._has_proof(worker):
                self._give(worker, lanes.Tick(worker.passed))

    def _has_proof(self, worker: Worker) -> bool:
        """Whether something has passed since the lane heard of it, perhaps the place where its messages failed."""
        waits = bool(worker.lane.suspects.all) or worker.lane.flooded
        return waits and worker.passed != worker.lane.passed

    def _is_overdue(self, delivery: Delivery) -> bool:
        """Whether it has waited behind slow work for as long as any message may be held."""
        return time.monotonic() - delivery.received > self.workers[0].rules.hold_seconds

    def _room(self) -> int:
        """Return how many messages the lanes could begin at once; 0 too if one lane or key has its share in hand."""
        blocking = next((worker for worker in self.workers if self._has_its_share(worker)), None)
        if blocking is None:
            self._wait.over()
            return sum(worker.lane.wants for worker in self.workers)
        if blocking.notice is not self._wait.notice and blocking.lane.pause is not None:
            self._wait.note(blocking.lane.pause.failure)
        return 0

    def _has_its_share(self, worker: Worker) -> bool:
        """The paused lanes of one target may hold half of the prefetch, a key that waits for a suspect a quarter."""
        prefetch = self._intake.prefetch
        held = sum(peer.lane.in_hand for peer in worker.peers if peer.lane.paused)
        paused = len(self.workers) > 1 and worker.lane.paused and held > prefetch // 2
        return paused or max(worker.lane.blocked.values(), default=0) > prefetch // 4

    def _take(self, size: int) -> None:
        suspects = any(worker.lane.suspects.all for worker in self.workers)
        trouble = suspects or any(worker.lane.careful for worker in self.workers)
        idle_s = min(SHORT_IDLE_S if suspects else IDLE_S, self._seconds_to_wait())
        begun = time.monotonic()
        self._taking = True
        gather_s = GATHER_S if any(worker.lane.busy for worker in self.workers) else 0.0
        batch = self._intake.take(size, idle_s if self._answers.empty() else 0.0, gather_s, trouble=trouble)
        self._taking = False
        # Not if an answer has ended the wait, or may bring proof.
        idle = time.monotonic() - begun >= SHORT_IDLE_S / 2 and not any(worker.lane.busy for worker in self.workers)
        self._take_answers()
        if batch and self._is_overdue(batch[0]):
            self._intake.slow(batch[0])
        elif batch:
            self.counts["consumed"] += len(batch)
            self._dispatch(batch)
        elif batch is not None and idle and not (self._lacks_proof() and self._intake.make_room()):
            for worker in self.workers:
                if worker.lane.suspects.all:
                    self._give(worker, lanes.Tick(worker.passed, empty=True))

    def _lacks_proof(self) -> bool:
        """Whether nothing that is in hand can show any more whether a message that failed is the cause."""
        waits = any(worker.lane.pieces for worker in self.workers)
        return not waits and any(worker.lane.suspects.exhausted(worker.passed) for worker in self.workers)

    def _dispatch(self, batch: list[Delivery]) -> None:
        if self._route is None:
            self._dispatch_to_free(batch)
            return
        shares: list[list[Delivery]] = [[] for _ in self.workers]
        left_out: list[tuple[Delivery, Done]] = []
        wants = [worker.lane.wants for worker in self.workers]
        for delivery in batch:
            try:
                may_have_it = self._route(delivery)
            except Failed as failed:
                self._bury([(delivery, Dead(failed.failure))])
                continue
            if delivery.unpacked:  # what is in hand is counted by what has come
                delivery.records = None
            if isinstance(may_have_it, Done):
                left_out.append((delivery, may_have_it))
                continue
            free = (at for at in may_have_it if len(shares[at]) < wants[at])  # one call that is full is better than two
            at = next(free, None) if len(may_have_it) > 1 else may_have_it[0]
            if at is None:
                at = min(may_have_it, key=lambda at: self.workers[at].lane.in_hand + len(shares[at]))
            shares[at].append(delivery)
        if left_out:
            self._settle([each for each, _ in left_out], Counter(outcome.counted for _, outcome in left_out))
        for worker, share in zip(self.workers, shares, strict=True):
            if share:
                self._give(worker, lanes.Arrived(tuple(share)))

    def _dispatch_to_free(self, batch: list[Delivery]) -> None:
        rest = tuple(batch)
        free = [worker for worker in self.workers if worker.lane.wants]
        for worker in free[:-1]:
            size = worker.lane.wants
            if rest[:size]:
                self._give(worker, lanes.Arrived(rest[:size]))
            rest = rest[size:]
        if rest:
            self._give((free or self.workers)[-1], lanes.Arrived(rest))

    # Waiting

    def _await_answers(self) -> None:
        """Wait until a lane has answered, somebody wakes the pump, or it is time for something."""
        try:
            answer = self._answers.get(timeout=min(self._seconds_to_wait(), IDLE_S))
        except Empty:
            return
        self._take_answer(answer)
        self._take_answers()

    def _take_answers(self) -> None:
        while not self._answers.empty():
            self._take_answer(self._answers.get())

    def _take_answer(self, answer: tuple[Worker, lanes.Event] | None) -> None:
        if answer is None:
            return
        worker, event = answer
        self._give(worker, event)
        if isinstance(event, lanes.Probed) and event.failure is not None:
            for peer in worker.peers:  # asked once, the target has answered all of them
                if peer is not worker and peer.lane.paused and not peer.lane.busy:
                    self._give(peer, event)

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        times = [due for worker in self.workers if (due := worker.wakes_at) is not None]
        return max(0.001, min(times, default=now + IDLE_S) - now)

    # Events and actions

    def _give(self, worker: Worker, event: lanes.Event) -> None:
        """Hand an event to a lane, and execute what it wants done, until it wants nothing more."""
        events = deque([event])
        while events:
            event = events.popleft()
            if isinstance(event, lanes.Finished) and self._is_lost(worker.lane):
                events.appendleft(event)
                event = lanes.Dropped()
            if self._stop.is_set() and not worker.lane.stopped:
                worker.lane, _ = step(worker.lane, lanes.Stopped(), time.monotonic(), 0.0)
            worker.lane, actions = step(worker.lane, event, time.monotonic(), random.random())  # noqa: S311 - jitter
            for action in actions:
                self._execute(worker, action, events)
            if worker.lane.pause is not None:
                worker.notice.follow(worker, worker.lane.pause)
        for peer, prolonged in worker.prolonged() if worker.lane.flooded else ():
            self._give(peer, prolonged)

    def _is_lost(self, lane: Lane) -> bool:
        """Whether the channel of what is being worked on has gone meanwhile."""
        return not lane.stale and not self._consumer.is_current(lane.working[0].generation)

    def _execute(self, worker: Worker, action: lanes.Action, events: deque[lanes.Event]) -> None:
        match action:
            case lanes.Work() | lanes.Probe():
                self._call(worker, action, events)
            case lanes.Settle(deliveries, counts):
                self._settle(deliveries, counts)
                self._intake.passed()
            case lanes.Bury(verdicts):
                self._bury(verdicts)
            case lanes.Announce() if self._early is not None:
                self._early.append((worker, action))
            case lanes.Announce(pause, changed):
                worker.notice.announce(worker, pause, changed=changed)
            case lanes.Resumed():
                self._resumed(worker)
            case lanes.Retried(failure, count, attempt):
                self.counts["retries"] += count
                fields = {"code": failure.code, "text": failure.text, "messages": count, "attempt": attempt}
                logs.event(logger, logging.WARNING, "retrying", **fields)
            case lanes.Isolated(delivery, failure):
                fields = {"code": failure.code, "place": failure.place, "text": failure.text}
                logs.event(
                    logger,
                    logging.WARNING,
                    "failed when retried alone",
                    **fields,
                    message_id=delivery.properties.message_id,
                )

    def _call(self, worker: Worker, action: lanes.Work | lanes.Probe, events: deque[lanes.Event]) -> None:
        """Call the sink: in its thread, which answers later, or at once where there is only one lane."""
        if worker.thread is None:
            events.append(worker.call(action, self._consumer.is_current))
        else:
            future = worker.thread.submit(worker.call, action, self._consumer.is_current)
            future.add_done_callback(partial(self._answered, worker))

    def _answered(self, worker: Worker, future: "Future[lanes.Event]") -> None:
        self._answers.put((worker, future.result()))
        if self._taking:
            self._consumer.wake()

    def _settle(self, deliveries: Sequence[Delivery], counts: Mapping[str, int]) -> None:
        # The one place where it happens: the target has committed, or need not, so this may be acknowledged now.
        self._consumer.settle(deliveries[0].generation, [delivery.tag for delivery in deliveries])
        if EMPTY.counted in counts and not self.counts[EMPTY.counted]:
            text = "a message held nothing to write, such as an empty list; others are counted without a line"
            logs.event(logger, logging.WARNING, "empty message", queue=self._consumer.queue, text=text)
        self.counts.update({DONE.counted: 0, ALREADY.counted: 0, **counts})

    def _resumed(self, worker: Worker) -> None:
        worker.notice.over(worker)
        for other in worker.peers:
            if other is not worker and other.lane.paused:
                self._give(other, lanes.Nudged())

    def _bury(self, verdicts: Sequence[tuple[Delivery, Dead]]) -> None:
        # What is not ours any more comes again, and may pass.
        dead = [(delivery, verdict) for delivery, verdict in verdicts if self._consumer.is_current(delivery.generation)]
        if dead:
            self.counts["dead"] += len(dead)
            self._dead_letters.send(dead, self._buried)

    def _reject_too_large(self) -> None:
        """Let the broker dead-letter what is too large to be read: it keeps that until the dead-letter queue has it."""
        found = self._consumer.too_large()
        if not found:
            return
        limit = self._consumer.body_bytes
        dead = [(delivery, Dead(body_too_large(size, limit or 0).failure)) for delivery, size in found]
        self.counts["consumed"] += len(dead)
        self.counts["dead"] += len(dead)
        self._dead_letters.note(dead)
        self._consumer.reject(found[0][0].generation, [delivery.tag for delivery, _ in found])

    def _buried(self, deliveries: Sequence[Delivery]) -> None:
        by_generation: dict[int, list[int]] = {}
        for delivery in deliveries:
            by_generation.setdefault(delivery.generation, []).append(delivery.tag)
        for generation, tags in by_generation.items():
            self._consumer.settle(generation, tags)

    # Requeueing, and dead letters that cannot be sent

    def _is_held_too_long(self) -> bool:
        """RabbitMQ closes a consumer that holds a delivery for 30 minutes (consumer_timeout), also one that no lane has
        taken yet."""
        now = time.monotonic()
        untaken = self._consumer.oldest or now
        paused = [worker for worker in self.workers if worker.lane.paused]
        return any(now - min(worker.lane.oldest or now, untaken) > worker.rules.hold_seconds for worker in paused)

    def _is_to_leave(self) -> bool:
        """Whether another process shall try while the target does not answer this one: once, until something passes
        again, for it counts as a delivery of all that is in hand."""
        pauses = [worker.lane.pause for worker in self.workers if worker.lane.paused]
        waits = self._shared and len(pauses) == len(self.workers) and self._left_at != self.counts["done"]
        now = time.monotonic()
        if not waits or any(p is None or p.failure.kind not in PAUSING or now - p.since < LEAVE_S for p in pauses):
            return False
        self._left_at = self.counts["done"]
        return True

    def _requeue(self) -> None:
        """Return what is in hand to the queue, after every call has ended: a message is never requeued while it is
        being written."""
        self._quiesce()
        self._dead_letters.wait(STOP_DEADLINE_S)
        self._consumer.requeue(STOP_DEADLINE_S)
        for worker in self.workers:
            self._give(worker, lanes.Dropped(requeued=True))
        # A quorum queue has them back a moment later; a consumer that is there at once would get newer ones first.
        self._stop.wait(REQUEUED_S)

    def _quiesce(self) -> None:
        """Let the lanes begin nothing more, and wait until what is under way has been answered."""
        for worker in self.workers:
            worker.lane, _ = step(worker.lane, lanes.Stopped(), time.monotonic(), 0.0)
        while any(worker.lane.busy for worker in self.workers):
            self._await_answers()

    def _send_dead_letters(self) -> None:
        """While dead letters cannot be sent, nothing more is taken: make the path again, send them again, or pause.

        They are kept even when their deliveries had to be requeued meanwhile: taking these again and again would use
        up their delivery limit. Then each may die twice, and none is lost.
        """
        while (failure := self._dead_letters.failure) and not self._stop.is_set():
            missing = self._wait.make_dead_letters()
            if missing is None:
                self._dead_letters.resend()
                if self._dead_letters.wait(STOP_DEADLINE_S):
                    self._wait.over()
                    return
            self._wait.wait(missing or self._dead_letters.failure or failure, self._is_kept_too_long)
            if self._consumer.active and self._is_kept_too_long():
                logs.event(logger, logging.WARNING, "requeued", queue=self._consumer.queue, held=self._consumer.held)
                self._requeue()

    def _is_kept_too_long(self) -> bool:
        if not self._consumer.active:
            return False
        oldest = min((worker.lane.oldest or self._dead_letters.oldest for worker in self.workers), default=0.0)
        oldest = min(oldest, self._dead_letters.oldest)
        return time.monotonic() - oldest > self.workers[0].rules.hold_seconds

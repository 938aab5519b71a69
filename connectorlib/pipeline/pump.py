"""The pump moves deliveries from a consumer through a sink and settles each by its outcome.

One worker thread runs it. The order that loses nothing: the target first, then the confirm or commit, then the ack.
What to do about a failure is decided in `blame`; how a flow waits and requeues is in `pause`, how much it takes at
a time in `prefetch`.
"""

import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

from connectorlib.errors import Failure, Kind, Stale
from connectorlib.messages import DONE, Again, Dead, Delivery, Done, Later, Wait
from connectorlib.pipeline import blame
from connectorlib.pipeline.dead_letter_publisher import DeadLetterPublisher
from connectorlib.pipeline.pause import Pausing
from connectorlib.pipeline.prefetch import Intake
from connectorlib.pipeline.sink import PausableTarget, Sink, Target, handled, probed
from connectorlib.service import logs
from connectorlib.shared_settings import Batch, Retry

if TYPE_CHECKING:
    from connectorlib.amqp import Consumer

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Flow:
    """The settings of one flow: from one queue into one sink."""

    name: str
    batch: Batch
    retry: Retry


class Pump:
    """Runs one flow until told to stop."""

    def __init__(
        self,
        flow: Flow,
        consumer: "Consumer",
        sink: Sink,
        dead_letters: DeadLetterPublisher,
        pausing: Pausing,
        *,
        part_of: Callable[[Delivery], PausableTarget] | None = None,
    ) -> None:
        """`part_of` says which target a message is for, where the sink has several: then each is paused alone."""
        self.flow = flow
        self.counts: Counter[str] = Counter()
        self._consumer = consumer
        self._sink = sink
        self._dead_letters = dead_letters
        self._pausing = pausing
        self._stop = pausing.stop
        self._intake = Intake(consumer, pausing, dead_letters, flow.batch, few=flow.retry.breaker + 1)
        self._part_of = part_of
        #: The suspects of each target.
        self._lines: dict[Target, blame.Line] = {}
        #: In hand and not done yet, in their order.
        self._waiting: deque[Delivery] = deque()
        #: Postponed by the sink until the rest of their batch is done.
        self._later: list[Delivery] = []
        #: Held for a part of the target that is paused, in their order.
        self._held: list[tuple[Delivery, Wait]] = []
        #: Whether somebody wants what is held to be tried now.
        self._nudged = False
        #: How often what waits was tried together; and whether it is now tried one by one.
        self._attempts = 0
        self._alone = False
        #: How often in a row suspects had to be let off for want of proof.
        self._trips = 0
        dead_letters.on_failure = consumer.wake

    def run(self) -> None:
        """Take, work and settle until stopped; then drain: what is done is acked, the rest given back."""
        try:
            self._greet()
            while not self._stop.is_set():
                if not self._consumer.active and not self._open():
                    break
                self._turn()
        finally:
            self._dead_letters.wait(STOP_DEADLINE_S)
            self._consumer.requeue(STOP_DEADLINE_S)

    def _greet(self) -> None:
        """Nothing is taken before the target has answered once."""
        failure = probed(self._sink.probe)
        if failure is None:
            return
        self._intake.careful = True
        if self._pausing.prepare():  # what is published meanwhile must have a queue to wait in
            self._pausing.wait(failure, self._sink.probe, time.monotonic())
        if not self._stop.is_set():
            self._pausing.over()

    def wake(self) -> None:
        """Let a waiting pump look around at once; for the stop."""
        self._consumer.wake()

    def nudge(self) -> None:
        """Try what is held for paused parts now. Any thread may ask."""
        self._nudged = True
        self._consumer.wake()

    def _turn(self) -> None:
        self._mend_dead_letters()
        self._unhold()
        now = time.monotonic()
        for target, line in self._lines.items():
            due = line.due(now, target.passed)
            self._waiting.extendleft(suspect.delivery for suspect in reversed(due))
        batch = self._next()
        if batch and self._pausing.overdue(batch[0]):
            self._intake.slow(batch[0])
            return
        self._waiting.extend(batch or ())
        self._work()
        for target, line in self._lines.items():
            self._blame(line.guilty())
            if self._is_ours() and self._is_to_judge(target, line, nothing_else=batch == []):
                self._judge(target, line)

    def _next(self) -> list[Delivery] | None:
        """Return what comes after what waits: nothing yet (None), what was put off, or a new batch."""
        if self._waiting:
            return None
        if self._later:
            later, self._later = self._later, []
            return later
        return self._take()

    def _is_to_judge(self, target: Target, line: blame.Line, *, nothing_else: bool) -> bool:
        if not line.suspects:
            return False
        overdue = any(self._pausing.overdue(suspect.delivery) for suspect in line.suspects)
        return overdue or line.tripped(target.passed) or (nothing_else and line.exhausted(target.passed))

    def _unhold(self) -> None:
        """Take up again what was held, once its time has come; if too much or for too long, pause for all of it."""
        nudged, self._nudged = self._nudged, False
        if not self._held:
            return
        much = len(self._held) > self._consumer.prefetch // 2
        if much or any(self._pausing.overdue(delivery) for delivery, _ in self._held):
            failure = self._held[0][1].failure
            self._release_held(lambda wait: True)
            self._pause(failure)
        else:
            self._release_held(lambda wait: nudged or wait.until <= time.monotonic())

    def _release_held(self, is_due: Callable[[Wait], bool]) -> None:
        due = [is_due(wait) for _, wait in self._held]
        self._waiting.extendleft(reversed([delivery for delivery, _ in compress(self._held, due)]))
        self._held = [held for held, is_over in zip(self._held, due, strict=True) if not is_over]

    def _line_of(self, delivery: Delivery) -> tuple[Target, blame.Line]:
        """Return whose message it is, and its suspects."""
        target: Target = self._sink if self._part_of is None else self._part_of(delivery)
        return target, self._lines.setdefault(target, blame.Line(self.flow.retry))

    def _suspects(self) -> list[blame.Suspect]:
        return [suspect for line in self._lines.values() for suspect in line.suspects]

    def _tripped(self) -> bool:
        return any(line.suspects and line.tripped(target.passed) for target, line in self._lines.items())

    def _take(self) -> list[Delivery] | None:
        batch = self._intake.take(suspects=bool(self._suspects()))
        self._alone = self._intake.suspicious
        self.counts["consumed"] += len(batch or ())
        return batch

    def _open(self) -> bool:
        """Consume. Return False when stopped meanwhile."""
        for line in self._lines.values():  # whatever was in hand belonged to the old channel and comes again
            line.release()
        for in_hand in (self._waiting, self._later, self._held):
            in_hand.clear()
        self._alone, self._attempts = False, 0
        return self._intake.open()

    def _is_ours(self) -> bool:
        return self._consumer.active and not self._stop.is_set()

    def _work(self) -> None:
        """Bring what waits to its outcome, or among the suspects. Ends early when it is no longer ours."""
        while self._waiting and not self._tripped() and self._is_ours():
            size = 1 if self._alone or self._intake.careful else len(self._waiting)
            chunk = [self._waiting.popleft() for _ in range(size)]
            failed = self._attempt(chunk)
            if failed is None:
                return
            if failed:
                self._failed(chunk, failed)
            else:
                self._attempts = 0
        if not self._waiting:
            self._alone, self._attempts = False, 0
            for line in self._lines.values():
                line.retried.clear()

    def _failed(self, chunk: Sequence[Delivery], failed: Sequence[tuple[Delivery, Failure]]) -> None:
        """Decide what becomes of those that are neither done nor dead."""
        failure = failed[0][1]
        if len(chunk) == 1 and failure.kind not in blame.PAUSING:
            self._suspect(chunk[0], failure)
            return
        self._waiting.extendleft(delivery for delivery, _ in reversed(failed))
        if failure.kind in blame.PAUSING:
            self._pause(failure)
        elif failure.kind is Kind.RETRY and self._attempts < self.flow.retry.attempts:
            self._attempts += 1
            self._back_off(failure, len(failed))
        else:
            self._alone = True  # from here on one by one, so that the bad one does not take the others along

    def _suspect(self, delivery: Delivery, failure: Failure) -> None:
        jitter = random.random()  # noqa: S311 - no secret
        target, line = self._line_of(delivery)
        line.suspect(delivery, failure, target.passed, time.monotonic(), jitter)
        fields = {"code": failure.code, "place": failure.place, "text": failure.text}
        logs.event(logger, logging.WARNING, "failed alone", **fields, message_id=delivery.properties.message_id)

    def _attempt(self, chunk: Sequence[Delivery]) -> list[tuple[Delivery, Failure]] | None:
        """Handle and settle a chunk; return what has to be done again, or None if the chunk is not ours any more."""
        generation = chunk[0].generation
        try:
            outcomes = handled(self._sink, chunk, lambda: self._consumer.is_current(generation))
        except Stale:
            return None
        # The one place where it happens: the sink has committed, so what is done may be acknowledged now,
        # and what is dead only once its dead letter is confirmed.
        if outcomes.count(DONE) == len(outcomes):  # nearly always
            self._consumer.settle(generation, [delivery.tag for delivery in chunk])
            self._succeeded(chunk, 0)
            return []
        done = [d for d, outcome in zip(chunk, outcomes, strict=True) if isinstance(outcome, Done)]
        if done:
            self._consumer.settle(generation, [delivery.tag for delivery in done])
            already = sum(1 for outcome in outcomes if isinstance(outcome, Done) and outcome.already)
            self._succeeded(done, already)
        dead = [(d, o) for d, o in zip(chunk, outcomes, strict=True) if isinstance(o, Dead)]
        self._bury(dead)
        self._held.extend((d, o) for d, o in zip(chunk, outcomes, strict=True) if isinstance(o, Wait))
        self._later.extend(d for d, o in zip(chunk, outcomes, strict=True) if isinstance(o, Later))
        return [(d, o.failure) for d, o in zip(chunk, outcomes, strict=True) if isinstance(o, Again)]

    def _succeeded(self, done: Sequence[Delivery], already: int) -> None:
        self.counts["done"] += len(done) - already
        self.counts["already"] += already
        if any(line.blamed for line in self._lines.values()):
            for delivery in done:
                self._line_of(delivery)[1].success()
        self._intake.passed()
        self._trips = 0
        self._pausing.over()

    def _judge(self, target: Target, line: blame.Line) -> None:
        """Only suspects are left, or too many: blame those that may be blamed, or pause and try all of them again."""
        failure = probed(target.probe)
        if not self._is_ours():  # it may have taken long
            return
        if failure is None:
            self._blame(line.lone(target.passed))
            failure = line.suspects[0].failure if line.suspects else None
        if failure is None:
            return
        if self._part_of is not None:  # the other parts go on
            wait = self._part_of(line.suspects[0].delivery).hold(failure)
            self._held.extend((suspect.delivery, wait) for suspect in line.release())
            return
        released = [suspect.delivery for suspect in line.release()]
        untried = self._untried() if self._trips else []
        self._waiting.extendleft(reversed([*untried, *released]))
        self._trips += 1
        self._pause(failure)

    def _untried(self) -> list[Delivery]:
        """Return a message that has not been tried yet: so many bad ones in front must not hide that others pass."""
        if self._waiting:
            return [self._waiting.popleft()]
        if self._later:
            return [self._later.pop(0)]
        found = self._consumer.take(1, 0.0, 0.0)
        self.counts["consumed"] += len(found)
        return found

    def _pause(self, failure: Failure) -> None:
        """Pause for what waits; afterwards go on with care."""
        self._intake.careful = True
        suspected = (suspect.delivery for suspect in self._suspects())
        held = (delivery for delivery, _ in self._held)
        oldest = min(delivery.received for delivery in (*self._waiting, *self._later, *held, *suspected))
        self._pausing.wait(failure, self._sink.probe, oldest)

    def _blame(self, guilty: Sequence[blame.Suspect]) -> None:
        self._bury([(s.delivery, Dead(s.failure, blame.reason(s.failure), s.attempts)) for s in guilty])

    def _bury(self, verdicts: Sequence[tuple[Delivery, Dead]]) -> None:
        # What is not ours any more comes again, and may pass.
        dead = [(delivery, verdict) for delivery, verdict in verdicts if self._consumer.is_current(delivery.generation)]
        if not dead:
            return
        self.counts["dead"] += len(dead)
        self._dead_letters.send(dead, self._buried)

    def _buried(self, deliveries: Sequence[Delivery]) -> None:
        by_generation: dict[int, list[int]] = {}
        for delivery in deliveries:
            by_generation.setdefault(delivery.generation, []).append(delivery.tag)
        for generation, tags in by_generation.items():
            self._consumer.settle(generation, tags)

    def _mend_dead_letters(self) -> None:
        """While dead letters cannot be sent, nothing more is taken: make the path again, send them again, or pause.

        They are kept even when their deliveries had to be given back meanwhile: taking these again and again would use
        up their delivery limit. Then each may die twice, and none is lost.
        """
        while (failure := self._dead_letters.failure) and not self._stop.is_set():
            if self._pausing.dead_letter_path():
                self._dead_letters.resend()
                if self._dead_letters.wait(STOP_DEADLINE_S):
                    self._pausing.over()
                    return
                failure = self._dead_letters.failure or failure
            self._pausing.wait(failure, lambda: None, self._dead_letters.oldest)  # it is tried by sending

    def _back_off(self, failure: Failure, count: int) -> None:
        self.counts["retries"] += count
        delay = self.flow.retry.backoff.delay(self._attempts - 1, random.random())  # noqa: S311 - jitter, no secret
        fields = {"code": failure.code, "text": failure.text, "messages": count, "attempt": self._attempts}
        logs.event(logger, logging.WARNING, "retrying", **fields)
        self._stop.wait(delay)

"""Sends dead letters back: each is confirmed by the broker before it leaves the dead-letter queue.

If the process is killed at any instant, no message is lost, and at most those in flight are duplicated: one by default.
What is not sent back stays in the queue, in order.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from typing import Any

from connectorlib.amqp import Broker, Moved, Shovel
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from deadletterqueue.browse import Walk
from deadletterqueue.filter import Chosen
from deadletterqueue.letter import Letter
from deadletterqueue.session import Session, letters
from deadletterqueue.target import Leave, Route, Target, replayed, target_of

#: Seconds after which everything is requeued and the walk starts again: RabbitMQ closes a channel that holds a message
#: for half an hour, and at a low rate a replay may take longer.
HOLD_S = 300.0
#: Seconds without a confirm.
CONFIRM_S = 60.0
#: How often a wait for confirms is interrupted to check its deadline.
LOOK_S = 0.5

Show = Callable[[int, int], None]
#: Given a letter that is about to be sent, returns the letter to send, or why to leave it.
Change = Callable[[Letter], Letter | Leave]


@dataclass(frozen=True, slots=True)
class Options:
    route: Route = field(default_factory=Route)
    #: Messages a second; None: as fast as the broker confirms.
    rate: float | None = None
    #: How many may be unconfirmed at a time, and so be duplicated when the process is killed.
    in_flight: int = 1
    #: The most letters to handle.
    limit: int | None = None
    dry_run: bool = False
    hold_s: float = HOLD_S


@dataclass(slots=True)
class Report:
    """How many letters were sent back (in a dry run: would be), were chosen but left, and were not chosen."""

    sent: Counter[Target] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    others: int = 0
    #: Messages that may be in both queues.
    in_doubt: list[Delivery] = field(default_factory=list)
    stopped: bool = False
    #: How many somebody else had taken before they were seen.
    taken: int = 0

    @property
    def chosen(self) -> int:
        return self.sent.total() + self.left.total()

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "sent": self.sent.total(),
            "to": [
                {"exchange": each.exchange, "routing_key": each.routing_key, "count": count}
                for each, count in self.sent.most_common()
            ],
            "left": [{"reason": reason, "count": count} for reason, count in self.left.most_common()],
            "others": self.others,
            "in_doubt": [each.properties.message_id or "" for each in self.in_doubt],
            "stopped": self.stopped,
            "taken": self.taken,
        }


def missing(broker: Broker, target: Target) -> str | None:
    """Return why no message can reach a target; None if it exists, as far as this user can see. Raise Failed if the
    broker does not answer."""
    try:
        with broker.channel() as channel:
            if target.exchange:
                channel.exchange_declare(target.exchange, passive=True)
            else:
                channel.queue_declare(target.routing_key, passive=True)
    except Failed as error:
        if error.failure.code == "403":  # may not look, but may be allowed to publish
            return None
        if error.failure.code == "404":
            what = f"exchange {target.exchange!r}" if target.exchange else str(target)
            return f"{what} does not exist"
        if error.failure.code in ("405", "bad-property"):
            return error.failure.text
        raise
    return None


class Replay:
    """One replay. `report` is up to date at any time, also after a failure."""

    def __init__(
        self,
        session: Session,
        chosen: Chosen,
        options: Options,
        *,
        change: Change = lambda letter: letter,
        save: Callable[[Letter], None] = lambda letter: None,
        show: Show = lambda done, total: None,
    ) -> None:
        """`change` is called with every chosen letter; `save` gets each original just before it is sent."""
        self._session = session
        self._meant = chosen
        self._options = options
        self._change = change
        self._save = save
        self._show = show
        self._browse: Walk | None = None
        self._total: int | None = None
        #: The targets so far, and why no more is sent to one; None: it accepts messages.
        self._closed: dict[Target, str | None] = {}
        #: time.monotonic() before which nothing more is sent.
        self._due = 0.0
        self.report = Report()

    def run(self) -> Report:
        """Walk through the queue once. Raise Failed if the connection is lost, or nothing more is confirmed."""
        try:
            while not self._round():
                pass
        except KeyboardInterrupt:
            self.report.stopped = True
        return self.report

    def _round(self) -> bool:
        """Walk from the head of the queue to the end, or for as long as messages may be held; return whether it has
        come to the end. Each round sees again what the previous one has left."""
        report, before = self.report, self.report.sent.total()
        report.left.clear()
        report.others = 0
        left = None if self._total is None else self._total - before
        with self._session.browse(limit=left, removing=not self._options.dry_run) as walk:
            self._browse = walk
            if self._total is None:
                self._total = walk.total
            if not walk.total:
                return True
            shovel = None if self._options.dry_run else walk.shovel(self._options.in_flight)
            try:
                done = self._walk(walk, shovel, before)
                report.taken = walk.taken
                if shovel is not None:
                    self._await(shovel.finish)
            except BaseException:  # any: what is in flight has to be counted
                self._settle(shovel)
                raise
        if not done and report.sent.total() == before:
            text = f"nothing could be sent within {self._options.hold_s:g} s, for which messages may be held"
            raise Failed(Failure(Kind.UNAVAILABLE, "too-slow", text, "replay"))
        return done

    def _walk(self, walk: Walk, shovel: Shovel | None, before: int) -> bool:
        until = time.monotonic() + self._options.hold_s
        for letter in letters(walk):
            self._show(before + walk.looked, self._total or 0)
            if not self._meant(letter):
                self.report.others += 1
                continue
            if self._options.limit is not None and self._handled(shovel) >= self._options.limit:
                return True
            target = self._target(letter)
            if isinstance(target, Leave):
                self.report.left[target.reason] += 1
            elif shovel is None:
                self._rehearse(letter, target)
            else:
                self._send(letter, target, shovel)
            if time.monotonic() > until:
                return False
        return True

    def _handled(self, shovel: Shovel | None) -> int:
        return self.report.chosen + (shovel.unsettled if shovel is not None else 0)

    def _target(self, letter: Letter) -> Target | Leave:
        target = target_of(letter, self._options.route, self._session.queue)
        if isinstance(target, Leave):
            return target
        if target not in self._closed:
            self._closed[target] = missing(self._session.broker, target)
        reason = self._closed[target]
        return target if reason is None else Leave(reason)

    def _rehearse(self, letter: Letter, target: Target) -> None:
        changed = self._change(letter)
        if isinstance(changed, Leave):
            self.report.left[changed.reason] += 1
        else:
            self.report.sent[target] += 1

    def _send(self, letter: Letter, target: Target, shovel: Shovel) -> None:
        changed = self._change(letter)
        if isinstance(changed, Leave):
            self.report.left[changed.reason] += 1
            return
        message = replayed(changed, target)
        self._pace()
        self._await(shovel.room)
        if (reason := self._closed[target]) is not None:  # closed by the message before
            self.report.left[reason] += 1
            return
        self._save(letter)
        shovel.send(letter.delivery, message, target)

    def _pace(self) -> None:
        rate = self._options.rate
        if rate is None:
            return
        now = time.monotonic()
        if self._session.stop.wait(max(self._due - now, 0.0)):
            raise KeyboardInterrupt
        self._due = max(self._due, now) + 1.0 / rate

    def _await(self, settled: Callable[[float], list[Moved] | None]) -> None:
        """Wait for confirms and count them. Raise Failed if none arrives in time."""
        deadline = time.monotonic() + CONFIRM_S
        while (found := settled(LOOK_S)) is None:
            if time.monotonic() > deadline:
                alarm = f"; it is {self._session.broker.alarm}" if self._session.broker.alarm else ""
                text = f"the broker has confirmed nothing for {CONFIRM_S:g} s{alarm}"
                raise Failed(Failure(Kind.UNAVAILABLE, "unconfirmed", text, "replay"))
        self._note(found)

    def _note(self, settled: list[Moved]) -> None:
        for delivery, target, failure in settled:
            if failure is None:
                self.report.sent[target] += 1
                if self._browse is not None:
                    self._browse.moved(delivery)
                continue
            reason = failure.text if failure.code == "unroutable" else f"{target}: {failure.text}"
            self.report.left[reason] += 1
            if failure.code != "bad-property":
                self._closed[target] = self._closed[target] or reason

    def _settle(self, shovel: Shovel | None) -> None:
        """After an early end, wait for the confirms of what is in flight: without them, it would be duplicated."""
        if shovel is None:
            return
        with suppress(Failed):
            self._note(shovel.finish(CONFIRM_S / 4) or [])
        self.report.in_doubt = shovel.in_doubt

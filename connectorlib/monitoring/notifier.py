"""Tells a webhook, a mailbox or an exchange about pauses and dead letters, in a daemon thread of its own.

Nothing waits for it. What cannot be delivered is retried with back-off; of too many notices the oldest are dropped.
"""

import logging
import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from connectorlib.monitoring.monitor import Monitor
from connectorlib.monitoring.notice_channels import Message, Send, Undelivered, channels
from connectorlib.monitoring.notices import Notice, NoticeBoard, Paused, Sighting
from connectorlib.monitoring.status import without_secrets
from connectorlib.service import logs
from connectorlib.shared_settings import BrokerSettings, Notify
from connectorlib.values.backoff import Backoff
from connectorlib.values.text import shorten

logger = logging.getLogger(__name__)

#: Seconds between two looks at the flows.
LOOK_S = 1.0
#: Notices that wait for one channel.
MOST_WAITING = 100
#: How long the end of the process waits for the last notices.
END_S = 5.0
RETRY = Backoff(5.0, 300.0)


class Outbox:
    """The notices that wait for one channel."""

    def __init__(self, name: str, send: Send) -> None:
        self._name = name
        self._send = send
        self._waiting: deque[Message] = deque(maxlen=MOST_WAITING)
        self._attempt = 0
        self._next_try = float("-inf")

    def add(self, message: Message) -> None:
        self._waiting.append(message)

    def deliver(self, now: float) -> None:
        """Send what waits, unless the next attempt is not due yet."""
        while self._waiting and now >= self._next_try:
            try:
                self._send(self._waiting[0])
            except Undelivered as error:
                delay = RETRY.delay(self._attempt, random.random())  # noqa: S311 - jitter
                self._attempt, self._next_try = self._attempt + 1, now + delay
                fields = {
                    "channel": self._name,
                    "text": str(error),
                    "waiting": len(self._waiting),
                    "delay": f"{delay:.0f}s",
                }
                logs.event(logger, logging.WARNING, "notice not delivered", **fields)
                return
            self._attempt = 0
            self._waiting.popleft()


@contextmanager
def notifying(
    settings: Notify, monitor: Monitor, broker_settings: BrokerSettings, why: Callable[[], str]
) -> Iterator[None]:
    """Tell about the flows of a monitor until the end of the block. Never raises: without it all else goes on.

    At the end `why` says what has ended, for pauses that were told and are not over.
    """
    stop = threading.Event()
    work = partial(_work, settings, monitor, broker_settings, stop, why)
    thread = threading.Thread(target=work, name="notifier", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_S)


def _work(
    settings: Notify, monitor: Monitor, broker_settings: BrokerSettings, stop: threading.Event, why: Callable[[], str]
) -> None:
    try:
        outboxes = [Outbox(*each) for each in channels(settings, monitor.broker, broker_settings).items()]
        board = NoticeBoard(monitor.connector, monitor.file, after=settings.paused_after, every=settings.every)
        while not stop.wait(LOOK_S):
            _tell(outboxes, monitor, board.notices(sighting(monitor), time.monotonic()))
        _tell(outboxes, monitor, board.farewell(time.monotonic(), why()))
    except Exception:  # any: the connector goes on without it
        logger.exception("bug: notices have ended", extra={"event": "bug"})


def sighting(monitor: Monitor) -> Sighting:
    """Return what is to be known of all flows now."""
    paused, dead = [], {}
    for flow in monitor.flows:
        for pausing, pause in flow.paused():
            failure = pause.failure
            text = shorten(f"{failure.place}: {failure.text}" if failure.place else failure.text)
            paused.append(Paused(pausing.name, pause.since, failure.code, text, pausing.advice(pause)))
        dead[flow.name] = Counter[str]()
        for (_, code), count in flow.copied()[0].items():
            dead[flow.name][code] += count
    return Sighting(paused, dead)


def _tell(outboxes: Sequence[Outbox], monitor: Monitor, notices: Sequence[Notice]) -> None:
    for notice in notices:
        for outbox in outboxes:
            outbox.add(message_of(notice, monitor.connector, monitor.name))
    for outbox in outboxes:
        outbox.deliver(time.monotonic())


def message_of(notice: Notice, connector: str, name: str) -> Message:
    """Return what is sent of a notice of this process, without secrets."""
    found = {
        "text": notice.text,
        "event": notice.event,
        "connector": connector,
        "name": name,
        "host": socket.gethostname(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **notice.fields,
    }
    return without_secrets(found)

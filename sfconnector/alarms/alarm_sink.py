"""The sink of a lane of a division with alarms: a batch of messages becomes what it does to alarms and their Cases.

Salesforce first, then the ack. What is due without a message (a cleared alarm's Case is closed) is done by a thread of
the sink, as long as the channel of its latest messages is open: then nobody else reads the queue.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.expressions import Scope, compile_condition, compile_template, text_of
from connectorlib.formats.content import MOST_UNPACKED
from connectorlib.messages import LATER, Again, Delivery, Done, Outcome
from connectorlib.service import logs
from sfconnector.alarms.alarm import CLEARED, FLAPPED, REOPENED, REPEATED, STALE, Alarm
from sfconnector.alarms.alarm_brake import AlarmBrake
from sfconnector.alarms.alarm_calls import AlarmCalls, names_of
from sfconnector.alarms.alarm_counts import OPEN
from sfconnector.alarms.alarm_event import EventReader, key_prefix
from sfconnector.alarms.alarm_record import RecordCodec, written_time
from sfconnector.alarms.register import AlarmRegister, Arrival
from sfconnector.batch_send import STOPPING, Valid
from sfconnector.division import DivisionState
from sfconnector.lookup import Answers
from sfconnector.mapping import Decoded, Draft
from sfconnector.record_outcome import Judge
from sfconnector.records import Decided, Unit, outcome_of, settle

if TYPE_CHECKING:
    from sfconnector.reply import Replies
    from sfconnector.salesforce.client import Client

logger = logging.getLogger(__name__)

#: Seconds between two looks at what is due.
TURN_S = 15.0
#: Seconds between two questions for alarms that are overdue, and since when they are.
LOOK_S, OVERDUE_S = 600.0, 180.0
#: Seconds between two questions for how many alarms are open, while the answer is in doubt; else it is LOOK_S.
RECOUNT_S = 60.0
#: Comments for which the configuration has no text, or whose message is gone.
TEXTS = {
    REPEATED: "The alarm is active; it was raised {count} times, last at {last}.",
    REOPENED: "The alarm was raised again at {last}; this Case is reopened.",
    CLEARED: "The alarm was cleared at {cleared}.",
    FLAPPED: "The alarm comes and goes; this Case stays as it is until the alarm is quiet.",
    STALE: "There was no news of the alarm since {last}.",
}


class AlarmSink:
    """Used by one thread, and by the thread that does what is due."""

    def __init__(
        self, state: DivisionState, client: "Client", *, stop: threading.Event, replies: "Replies | None" = None
    ) -> None:
        settings = state.settings.case.alarm
        assert settings is not None
        self._state = state
        self._client = client
        self._stop = stop
        self._replies = replies
        self._settings = settings
        self._reader = EventReader(settings, state.settings.name)
        self._comments = {occasion: compile_template(text) for occasion, text in settings.comments.items()}
        self._lock = threading.Lock()
        self._valid: Valid = lambda: False
        self._generation = 0
        self._answers: Answers = state.lookups
        #: Of each alarm of the batch the record of its newest message, for comments.
        self._newest: dict[str, Decoded] = {}
        self._brake = AlarmBrake(state.brake)
        self._org = self._calls()
        self._register = AlarmRegister(self._org, settings.rules, self._prepare, state.alarms)
        self._thread: threading.Thread | None = None
        #: Whether it does what another process has left: one of the division's sinks does.
        self._looks = state.is_first_sink()

    def _calls(self) -> AlarmCalls:
        settings, case, severity = self._settings, self._state.settings.case, self._settings.severity
        never = compile_condition(settings.never) if settings.never else None
        return AlarmCalls(
            self._client,
            names_of(settings),
            RecordCodec(severity.order if severity else ()),
            judge=Judge.of(case, self._state.place),
            brake=self._brake,
            sizes=self._state.sizes,
            comment=self._comment,
            is_final=lambda seen: never is not None and never.matches(seen, Scope(None)),
            guard=self._guard,
        )

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages have passed, in all and by each lookup."""
        return dict(self._state.passed)  # a copy: other lanes count

    def probe(self) -> None:
        """Ask Salesforce for a sign of life, and check the mapping where that is due. Raise Failed."""
        with self._lock:
            self._state.probe(self._client)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name=f"alarms {self._state.settings.name}", daemon=True)
            self._thread.start()

    def nudge(self) -> None:
        """Let the next probe try refused log-ins and used-up limits again. Any thread may call it."""
        self._state.nudge(self._client)

    def forget(self, delivery: Delivery) -> None:
        """Nothing is kept of a message."""

    def handle(self, deliveries: Sequence[Delivery], valid: Valid, isolating: bool = False) -> list[Outcome]:
        """Return one outcome per delivery. Raise Stale if `valid` says before a call that they are no longer ours."""
        with self._lock:
            self._take_over(deliveries[0].generation, valid)
            return self._handle(deliveries)

    def _take_over(self, generation: int, valid: Valid) -> None:
        """Heed that what is in memory may have been written by others since the channel was opened."""
        self._valid = valid
        if generation != self._generation:
            self._generation = generation
            self._register.forget()

    def _handle(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        failure: Failure | None = None
        units = [Unit(delivery) for delivery in deliveries]
        decided: dict[Decoded, Decided] = {}
        arrivals: dict[Decoded, Arrival] = {}
        try:
            self._state.heed_budget(self._client)
            self._state.renew(self._client)
            now = time.time()
            units = list(self._decode(deliveries))
            for unit in units:
                for record in unit.records:
                    self._read(record, now, arrivals, decided)
            outcomes = self._register.work(list(arrivals.values()), now)
            for (record, arrival), outcome in zip(arrivals.items(), outcomes, strict=True):
                decided[record] = Decided(outcome, self._register.case_id(arrival.key))
        except Failed as failed:
            failure = failed.failure
        finally:
            self._newest.clear()
            self._state.note_usage(self._client, failure)
        settled = [settle(unit, decided, failure) for unit in units]
        done = [each for each in settled if isinstance(each.outcome, Done)]
        self._state.count(done, self._register.take_created())
        over = [each for each in settled if not isinstance(each.outcome, Again)]
        self._register.settle(arrivals[record] for each in over for record in each.unit.records if record in arrivals)
        if self._replies is not None and done:
            self._replies.done(done, self._client)
        kinds = {each.outcome.failure.kind for each in settled if isinstance(each.outcome, Again)}
        if kinds & {Kind.CONFIGURATION, Kind.FLOOD}:
            self._state.doubt_mapping(flooded=Kind.FLOOD in kinds)
        return [each.outcome for each in settled]

    def _decode(self, deliveries: Sequence[Delivery]) -> Iterator[Unit]:
        unpacked = 0
        for delivery in deliveries:
            yield self._unit(delivery) if unpacked < MOST_UNPACKED else Unit(delivery, outcome=LATER)
            unpacked += delivery.unpacked

    def _unit(self, delivery: Delivery) -> Unit:
        assert self._state.mapper is not None, "nothing is processed before the first probe succeeds"
        try:
            return Unit(delivery, self._state.mapper.records(delivery))
        except Failed as failed:
            return Unit(delivery, outcome=outcome_of(failed.failure))

    def _read(
        self, record: Decoded, now: float, arrivals: dict[Decoded, Arrival], decided: dict[Decoded, Decided]
    ) -> None:
        try:
            with record.effort:
                read = self._reader.read(record.record, record.scope, now)
        except Failed as failed:
            decided[record] = Decided(outcome_of(failed.failure))
            return
        if read.moved:
            logs.event(
                logger, logging.WARNING, "device clock ignored", division=self._state.settings.name, key=read.key
            )
        self._newest[read.key] = record
        fields = partial(self._fields, record, read.event.severity)
        arrivals[record] = Arrival(read.key, read.event, fields, record, record.scope.delivery, read.moved)

    # -- what a Case is made of

    def _prepare(self, arrivals: Sequence[Arrival]) -> None:
        """Ask for all that the new Cases of a batch look up, at once."""
        assert self._state.mapper is not None
        wanted = self._state.mapper.wanted([arrival.record for arrival in arrivals])
        self._answers = self._state.lookups.fetch(self._client, wanted) if wanted else self._state.lookups

    def _fields(self, record: Decoded, severity: int) -> Mapping[str, Any]:
        """Return the fields of a Case. Raise Failed."""
        delivery = record.scope.delivery
        assert delivery is not None
        try:
            return self._mapped(record, severity)
        except Failed as failed:
            raise self._brake.refused(delivery, self._state.place, failed) from failed

    def _mapped(self, record: Decoded, severity: int) -> Mapping[str, Any]:
        mapper = self._state.mapper
        assert mapper is not None
        draft = mapper.case(record, self._answers)
        if not isinstance(draft, Draft):
            draft = mapper.case(record, self._state.lookups.fetch(self._client, draft))
        assert isinstance(draft, Draft), "all lookups were answered"
        settings = self._settings.severity
        value = self._settings.rules.severities[severity] if severity >= 0 else None
        if settings is None or settings.case_field is None or value is None:
            return draft.fields
        return {**draft.fields, settings.case_field: value}

    def _comment(self, key: str, occasion: str, alarm: Alarm) -> str:
        """Return the text of a comment, of the newest message of the alarm."""
        expression, record = self._comments.get(occasion), self._newest.get(key)
        if expression is not None and record is not None:
            with record.effort, suppress(Failed, ValueError):
                record.scope.count = alarm.count
                return text_of(expression.evaluate(record.record, record.scope))
        times = {name: (written_time(at) or "")[:19] for name, at in (("last", alarm.last), ("cleared", alarm.cleared))}
        return TEXTS[occasion].format(count=alarm.count, **times)

    # -- what is due

    def _guard(self) -> None:
        """Raise before a call that is not to be made."""
        if not self._valid():
            raise Stale
        if self._stop.is_set():
            raise Failed(replace(STOPPING, place=self._state.place))

    def _watch(self) -> None:
        looked = counted = -LOOK_S
        while True:
            now = time.monotonic()
            every = RECOUNT_S if self._state.alarms.is_in_doubt else LOOK_S
            if self._looks and now - counted > every:
                counted = now
                self._attempt("alarms not counted", self._recount)
            if self._stop.wait(TURN_S):
                return
            self._attempt("alarms not closed", self._expire)
            if self._looks and now - looked > LOOK_S:
                looked = now
                self._attempt("alarms not closed", self._expire_overdue)

    def _attempt(self, event: str, do: Callable[[], None]) -> None:
        """Do something that is tried again later if it fails."""
        try:
            do()
        except Stale:
            pass
        except Failed as failed:
            if not self._stop.is_set():
                logs.event(logger, logging.WARNING, event, cause=failed.failure.code, text=failed.failure.text)
        except Exception:  # a bug in what a timer does must not end the timer
            logger.exception("bug", extra={"event": "bug"})

    def _expire(self) -> None:
        now = time.time()
        with self._lock:
            due = self._register.due(now)
            if due and self._valid():
                self._report(self._register.expire(due, now))

    def _expire_overdue(self) -> None:
        """Do what a process that has ended has left: whoever has an alarm in memory would have done it long ago."""
        now = time.time()
        with self._without_channel():
            due = self._org.overdue(self._prefix, now - OVERDUE_S)
            self._report(self._register.expire(due, now))

    def _recount(self) -> None:
        with self._without_channel():
            self._state.heed_budget(self._client)
            self._state.alarms.recount(lambda: self._org.count(self._prefix, OPEN))

    @contextmanager
    def _without_channel(self) -> Iterator[None]:
        """Allow calls without the channel of a message."""
        with self._lock:
            valid, self._valid = self._valid, lambda: True
            try:
                yield
            finally:
                self._valid = valid

    def _report(self, refused: Mapping[str, Failure]) -> None:
        division = self._state.settings.name
        for key, failure in refused.items():
            fields = {"division": division, "key": key, "cause": failure.code, "text": failure.text}
            logs.event(logger, logging.WARNING, "alarm not closed", **fields)

    @property
    def _prefix(self) -> str:
        """What the keys of the division begin with."""
        return key_prefix(self._state.settings.name)

"""What all sinks of one division share: its checked mapping, cached lookups, API budget, rate, size of calls, counters.

A sink has a client and a sender of its own, so that a division may have several; everything here is thread-safe.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import DONE
from connectorlib.pipeline.blame import ALL
from connectorlib.pipeline.flood import Brake
from connectorlib.service import logs
from sfconnector.alarms.alarm_counts import AlarmCounts
from sfconnector.batch_send import CallSizes
from sfconnector.lookup import Lookups
from sfconnector.mapping import CaseMapper
from sfconnector.mapping_check import check, constants, warnings
from sfconnector.record_outcome import constant_place
from sfconnector.records import Settled
from sfconnector.salesforce.describe import Described
from sfconnector.salesforce.error_codes import MISMATCH, NO_CALLS_LEFT
from sfconnector.salesforce.usage import Budgets, Rate
from sfconnector.settings import Division

if TYPE_CHECKING:
    from sfconnector.salesforce.client import Client

logger = logging.getLogger(__name__)

SOBJECT = "Case"
#: Seconds for which the org's description of its fields is believed against what a refusal says: it is a large answer.
FRESH_S = 60.0


class DivisionState:
    """Shared by the sinks of a division. `on_first` gets the result of the first log-in and check of the mapping:
    None, or why they failed."""

    def __init__(
        self, settings: Division, budgets: Budgets, *, on_first: Callable[[Failure | None], None] = lambda failure: None
    ) -> None:
        self.settings = settings
        self.place = f"case of {settings.name}"
        self.lookups = Lookups()
        self.rate = Rate(settings.case.rate, time.monotonic()) if settings.case.rate else None
        self.sizes = CallSizes(self.place)
        #: The mapping, once it was compared with the org.
        self.mapper: CaseMapper | None = None
        self._described_at = 0.0
        #: Messages that became Cases, by place: in all, by each lookup, and by each constant of the configuration.
        self.passed: Counter[str] = Counter({self.place: 0, ALL: 0})
        #: The places of constants of the configuration, by the lower-case name of their field and their value.
        self._constants = {
            (name, value): constant_place(self.place, name, value)
            for name, values in constants(settings.case).items()
            for value in values
        }
        self.passed.update(dict.fromkeys(self._constants.values(), 0))
        self.brake = Brake(settings.retry.flood)
        self.alarms = AlarmCounts()
        #: Cases that were made of messages that are done.
        self.created = 0
        self._budgets = budgets
        self._on_first: Callable[[Failure | None], None] | None = on_first
        self._counting = threading.Lock()
        self._probing = threading.Lock()
        #: How many probes there were, and why the last one failed.
        self._probes = 0
        self._unanswered: Failure | None = None
        #: Whether Salesforce has refused a mapping that fitted before.
        self._is_doubtful = False
        #: The same, and so often that nothing more is sent before they were compared.
        self._is_flooded = False
        self._sinks = count()
        #: Whether the next Case would have to wait longer for the rate than a message is held.
        self._in_debt = False

    def is_first_sink(self) -> bool:
        """Whether it is the first sink that asks."""
        return next(self._sinks) == 0

    # -- signs of life

    def probe(self, client: "Client") -> None:
        """Log in and compare the mapping with the org where that is due; else ask for the limits. Who comes while the
        org is being asked shares the answer. Raise Failed."""
        before = self._probes
        with self._probing:
            if self._probes == before:
                self._unanswered = None
                try:
                    self._probe(client)
                except Failed as failed:
                    self._unanswered = failed.failure
                self._probes += 1
                self._report_first(self._unanswered)
            if self._unanswered is not None:
                raise Failed(self._unanswered)

    def _probe(self, client: "Client") -> None:
        self.heed_budget(client)
        if self.mapper is None or self._is_doubtful:
            self._compare(client)
        else:
            client.limits()
        self.note_usage(client)
        self.heed_budget(client)
        self._heed_debt()

    def renew(self, client: "Client") -> None:
        """Compare the mapping with the org if a flood of refusals has made it doubtful. Raise Failed."""
        if self._is_flooded:
            with self._probing:
                if self._is_flooded:  # no other lane has
                    self._compare(client)

    def _compare(self, client: "Client") -> None:
        self._prepare(client)
        if self._is_flooded:  # what was not found may be there now
            self.lookups = Lookups()
        self._is_doubtful = self._is_flooded = False

    def _report_first(self, failure: Failure | None) -> None:
        report, self._on_first = self._on_first, None
        if report is not None:
            report(failure)

    def _prepare(self, client: "Client") -> None:
        name, case = self.settings.name, self.settings.case
        client.log_in()
        described = Described(client.describe(SOBJECT))
        self._described_at = time.monotonic()
        problems = check(case, described, lambda other: Described(client.describe(other)))
        if problems:
            for problem in problems:
                logs.event(logger, logging.ERROR, "mapping", division=name, problem=problem)
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise Failed(Failure(Kind.CONFIGURATION, MISMATCH, problems[0] + more, self.place))
        if self.mapper is None:
            for text in warnings(case, described):
                logs.event(logger, logging.WARNING, "mapping warning", division=name, problem=text)
        mapper = CaseMapper(case, self.settings.format, self.settings.limits, described)
        for lookup in mapper.lookups:
            self.passed.setdefault(lookup.place, 0)
        self.mapper = mapper
        user, instance = self.settings.salesforce.username, client.token and client.token.instance_url
        logs.event(logger, logging.INFO, "logged in", division=name, user=user, instance=instance)

    @property
    def is_aged(self) -> bool:
        """Whether the org's description of its fields may be outdated."""
        return time.monotonic() - self._described_at > FRESH_S

    def describe_again(self, client: "Client") -> CaseMapper:
        """Return a mapping that fits the org as it is now. Raise Failed if there is none."""
        with self._probing:
            if self.is_aged:
                self._prepare(client)
        assert self.mapper is not None
        return self.mapper

    def doubt_mapping(self, *, flooded: bool = False) -> None:
        """Have the mapping compared with the org at the next probe; `flooded`: before anything more is sent."""
        self._is_doubtful = True
        self._is_flooded = self._is_flooded or flooded

    def nudge(self, client: "Client") -> None:
        """Let the next probe log in again and ignore the known usage. Any thread may call it."""
        client.forgive()
        self._budgets.forget(self._org(client))

    # -- the API budget and the rate

    def heed_budget(self, client: "Client") -> None:
        """Raise Failed if the org has no API calls left for this division."""
        lack = self._budgets.lack(self._org(client), self.settings.priority, time.monotonic())
        if lack is not None:
            raise Failed(lack)

    def stretch(self, client: "Client") -> float:
        """Return how many times as long messages of alarms, whose repeats cost no call of their own, are collected."""
        if self.settings.case.alarm is None:
            return 1.0
        return self._budgets.stretch(self._org(client), time.monotonic())

    def note_usage(self, client: "Client", failure: Failure | None = None) -> None:
        """Note what the latest answer said of the org's calls; `failure`: why it was none."""
        self._budgets.note(self._org(client), client.usage)
        if failure is not None and (failure.code, failure.kind) == (NO_CALLS_LEFT, Kind.UNAVAILABLE):
            self._budgets.note_refusal(self._org(client), client.usage, time.monotonic())

    def _org(self, client: "Client") -> str:
        """Return the org whose calls are counted; the division alone until a log-in has named it."""
        token = client.token
        return (token.org_id if token else "") or self.settings.name

    def take_turn(self, count: int, oldest: float, stop: threading.Event) -> bool:
        """Count so many Cases and wait until the rate allows them; return False when stopped meanwhile. Raise Failed
        if the oldest message, received then, would be held too long."""
        if self.rate is None:
            return True
        now = time.monotonic()
        longest = self.settings.hold_seconds - (now - oldest)
        delay = self.rate.take(count, now, longest)
        if delay > max(0.0, longest):
            self._in_debt = True
            raise Failed(self.rate.lack(count, now))
        if delay > 0:
            name = self.settings.name
            logs.event(logger, logging.INFO, "rate limited", division=name, seconds=round(delay, 1))
            if stop.wait(delay):
                self.return_turn(count)
                return False
        return True

    def return_turn(self, count: int) -> None:
        """Take back what was counted for Cases that were not created."""
        if self.rate is not None:
            self.rate.give_back(count, time.monotonic())

    def _heed_debt(self) -> None:
        now = time.monotonic()
        if self.rate is not None and self._in_debt and self.rate.delay(1, now) > 0:
            raise Failed(self.rate.lack(1, now))
        self._in_debt = False

    # -- counters

    def count(self, done: Sequence[Settled], created: int | None = None) -> None:
        """Count messages that are done, and Cases that were created; None: one for each record that is new."""
        if created is None:
            created = sum(record.outcome is DONE for each in done for record in each.records)
        with self._counting:
            self.created += created
            self.passed[self.place] += len(done)
            self.passed[ALL] += len(done)
            for each in done:
                self.passed.update(self._places(each))

    def _places(self, done: Settled) -> set[str]:
        drafts = [record.draft for record in done.unit.records if record.draft is not None]
        places = {lookup.place for draft in drafts for lookup, _ in draft.looked_up}
        if self._constants:
            texts = ((n, value) for draft in drafts for n, value in draft.fields.items() if isinstance(value, str))
            places |= {place for n, value in texts if (place := self._constants.get((n.lower(), value)))}
        return places

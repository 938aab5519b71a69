"""One division: a batch of its messages becomes Cases, one outcome per message, one call in flight.

Salesforce first, then the ack: a message counts as done once Salesforce has answered that its Case is there. With an
external id the same message sent twice is one Case.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import compile_expression
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Delivery, Done, Later, Outcome
from connectorlib.pipeline.blame import ALL
from connectorlib.pipeline.duplicates import by_first, warn_of_reuse
from connectorlib.service import logs
from sfconnector.batch_send import STOPPING, Sender, Valid
from sfconnector.lookup import Lookups
from sfconnector.mapping import CaseMapper, Used
from sfconnector.mapping_check import Described, check, warnings
from sfconnector.records import Item, Unit
from sfconnector.salesforce.error_codes import MISMATCH
from sfconnector.salesforce.usage import Budgets, Rate
from sfconnector.settings import Division

if TYPE_CHECKING:
    from sfconnector.reply import Replies
    from sfconnector.salesforce.client import Client

logger = logging.getLogger(__name__)

SOBJECT = "Case"
#: Records that are worked on together; a message more may go beyond it. They take memory, and a batch may hold many.
MOST_RECORDS = 2000


class Cases:
    """Makes the Cases of one division. Used by one thread; it alone uses the client.

    `on_first` is told how the first log-in and the check of the mapping went: None, or why they failed.
    """

    def __init__(
        self,
        division: Division,
        client: "Client",
        budgets: Budgets,
        *,
        stop: threading.Event,
        replies: "Replies | None" = None,
        on_first: Callable[[Failure | None], None] = lambda failure: None,
    ) -> None:
        self.division = division
        self.place = f"case of {division.name}"
        self._client = client
        self._budgets = budgets
        self._stop = stop
        self._replies = replies
        self._on_first: Callable[[Failure | None], None] | None = on_first
        self._sender = Sender(division.case, client, self.place, division.retry.breaker, stop)
        external_id = division.case.external_id
        self._key_of_message = external_id is not None and _says_nothing_of_records(external_id.value)
        self._rate = Rate(division.case.rate, time.monotonic()) if division.case.rate else None
        #: Whether so many Cases were made at once that the next would have to wait longer than a message is held.
        self._in_debt = False
        self._lookups = Lookups()
        self._mapper: CaseMapper | None = None
        #: Whether Salesforce has said of a mapping that was right before that it is not.
        self._doubtful = False
        self._passed: Counter[str] = Counter({self.place: 0, ALL: 0})
        #: Cases that were made of messages that are done; a message may be several.
        self.created = 0
        #: Cases that some records of a message have become already, while others of it have to be tried again.
        self._partly: dict[tuple[int, int], dict[int, str]] = {}

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages became Cases, in all and by each lookup."""
        return self._passed

    # -- signs of life

    def probe(self) -> None:
        """Log in, and compare the mapping with the org where that is due; else ask for the limits."""
        try:
            self._probe()
        except Failed as failed:
            self._tell_first(failed.failure)
            raise
        self._tell_first(None)

    def _probe(self) -> None:
        self._heed_budget()
        if self._mapper is None or self._doubtful:
            self._prepare()
            self._doubtful = False
        else:
            self._client.limits()
        self._note_usage()
        self._heed_budget()
        self._heed_debt()

    def _tell_first(self, failure: Failure | None) -> None:
        if self._on_first is not None:
            tell, self._on_first = self._on_first, None
            tell(failure)

    def _prepare(self) -> None:
        self._client.log_in()
        described = Described(self._client.describe(SOBJECT))
        problems = check(self.division.case, described, lambda name: Described(self._client.describe(name)))
        if problems:
            for problem in problems:
                logs.event(logger, logging.ERROR, "mapping", division=self.division.name, problem=problem)
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise Failed(Failure(Kind.CONFIGURATION, MISMATCH, problems[0] + more, self.place))
        if self._mapper is None:
            for text in warnings(self.division.case, described):
                logs.event(logger, logging.WARNING, "odd mapping", division=self.division.name, problem=text)
        self._mapper = CaseMapper(self.division.case, self.division.format, self.division.limits, described)
        for lookup in self._mapper.lookups:
            self._passed.setdefault(lookup.place, 0)
        token = self._client.token
        logs.event(
            logger,
            logging.INFO,
            "logged in",
            division=self.division.name,
            user=self.division.salesforce.username,
            instance=token and token.instance_url,
        )

    def _heed_budget(self) -> None:
        lack = self._budgets.lack(self._org, self.division.priority, time.monotonic())
        if lack is not None:
            raise Failed(lack)

    def _heed_debt(self) -> None:
        now = time.monotonic()
        if self._rate is not None and self._in_debt and self._rate.delay(1, now) > 0:
            raise Failed(self._rate.lack(1, now))
        self._in_debt = False

    def _note_usage(self) -> None:
        self._budgets.tell(self._org, self._client.usage)

    @property
    def _org(self) -> str:
        """The org whose calls are counted; as long as nobody has logged in, the division alone."""
        token = self._client.token
        return (token.org_id if token else "") or self.division.name

    def nudge(self) -> None:
        """Somebody wants it tried now: log-ins that were refused, and limits that were reached. Any thread may ask."""
        self._client.tokens.forgive()
        self._budgets.forget(self._org)

    # -- the work

    def handle(self, deliveries: Sequence[Delivery], valid: Valid) -> list[Outcome]:
        """Return one outcome per delivery. Raise Stale if `valid` says before a call that they are not ours."""
        lost, self._sender.unanswered = self._sender.unanswered, None
        if lost is not None:  # pause first, or an outage would empty the queue into the dead letters
            return [Again(lost)] * len(deliveries)
        units = [Unit(delivery) for delivery in deliveries]
        self._forget_older(deliveries[0].generation)
        try:
            self._heed_budget()
            self._make_cases(self._decoded(units), valid)
        except Failed as failed:
            for unit in units:
                _leave(unit, Again(failed.failure))
        finally:
            self._note_usage()
        outcomes = self._settled(units)
        mapped_wrong = any(isinstance(o, Again) and o.failure.kind is Kind.CONFIGURATION for o in outcomes)
        self._doubtful = self._doubtful or mapped_wrong
        return outcomes

    def _decoded(self, units: Sequence[Unit]) -> list[Item]:
        assert self._mapper is not None, "nothing is handled before the first probe has passed"
        count = 0
        for unit in units:
            if count >= MOST_RECORDS:
                unit.outcome = LATER
                continue
            try:
                decoded = self._mapper.records(unit.delivery)
            except Failed as failed:
                unit.outcome = _outcome(failed)
                continue
            count += len(decoded)
            unit.items = [Item(unit.delivery, record) for record in decoded]
            for position, case_id in self._partly.get(unit.delivery.identity, {}).items():
                unit.items[position].done(case_id, already=False)
        return [item for unit in units for item in unit.items if item.outcome is None]

    def _make_cases(self, items: Sequence[Item], valid: Valid) -> None:
        self._map(items)
        self._refuse_shared_keys(items)
        todo = [item for item in items if item.outcome is None]
        while todo:
            # Salesforce refuses every record of a call that shares its key with another of it.
            firsts, later = by_first(todo, lambda item: item.key)
            self._send(firsts, valid)
            todo = [item for item, first in later if not self._follows(item, first)]

    def _map(self, items: Sequence[Item]) -> None:
        """Give items their drafts, after what they refer to was looked up; or why they cannot be mapped."""
        mapper = self._mapper
        assert mapper is not None
        wanted: list[Used] = []
        for item in items if mapper.looks_up else ():
            try:
                wanted.extend(mapper.wanted(item.decoded))
            except Failed as failed:
                item.outcome = _outcome(failed)
        if wanted:
            self._lookups.fetch(self._client, wanted)
        for item in items:
            if item.outcome is None:
                try:
                    item.draft = mapper.case(item.decoded, self._lookups)
                except Failed as failed:
                    item.outcome = _outcome(failed)

    def _refuse_shared_keys(self, items: Iterable[Item]) -> None:
        """Several records of one message whose key says nothing about them would become one Case, the others be lost
        unseen. A key of what the records hold may be the same: then they mean the same Case."""
        if not self._key_of_message:
            return
        for _, its in groupby(items, key=lambda item: item.delivery):
            keyed = [item for item in its if item.key is not None and item.outcome is None]
            for item in keyed if len(keyed) > 1 else ():
                text = "all records of the message have the same external id; make it differ, for example by {$index}"
                item.outcome = Dead(reject("bad-value", text, place=self.place, detail="external_id.value").failure)

    def _send(self, items: Sequence[Item], valid: Valid) -> None:
        self._wait_for_turn(items)
        try:
            outdated = self._sender.send(items, valid)
            if outdated:
                for item in outdated:
                    item.looked_up_anew = True
                    assert item.draft is not None
                    self._lookups.forget(item.draft.looked_up)
                self._map(outdated)
                self._sender.send([item for item in outdated if item.outcome is None], valid)
        finally:
            if self._rate is not None:  # only what became a Case counts
                made = sum(1 for item in items if isinstance(item.outcome, Done) and not item.outcome.already)
                self._rate.take(made - len(items), time.monotonic())

    def _wait_for_turn(self, items: Sequence[Item]) -> None:
        """Hold the batch until the division's rate lets it go. Raise Failed when stopped meanwhile, or if that would be
        longer than a message may be held."""
        if self._rate is None:
            return
        now = time.monotonic()
        delay = self._rate.delay(len(items), now)
        if delay > 0:
            oldest = min(item.delivery.received for item in items)
            if now + delay - oldest > self.division.hold_seconds:
                self._in_debt = True
                raise Failed(self._rate.lack(len(items), now))
            logs.event(logger, logging.INFO, "held by rate", division=self.division.name, seconds=round(delay, 1))
            if self._stop.wait(delay):
                raise Failed(replace(STOPPING, place=self.place))
        self._rate.take(len(items), time.monotonic())

    def _follows(self, item: Item, first: Item) -> bool:
        """Decide about an item whose key another one had; return False if it has to be sent after all."""
        if item.exact_key != first.exact_key:
            return False  # whether they are the same, the field in Salesforce knows
        if isinstance(first.outcome, Again):
            item.outcome = first.outcome
            return True
        external_id = self.division.case.external_id
        if isinstance(first.outcome, Done) and external_id is not None and external_id.mode == "create_once":
            item.done(first.case_id, already=True)
            return True
        return False  # an upsert changes the Case once more; after a dead one this may do better

    def dead(self, delivery: Delivery, verdict: Dead) -> None:
        """Let go of a message that died, and tell whoever asked for a reply."""
        self._partly.pop(delivery.identity, None)
        self._sender.doubted.discard(delivery.identity)
        if self._replies is not None:
            self._replies.dead(delivery, verdict)

    # -- the outcomes

    def _settled(self, units: Sequence[Unit]) -> list[Outcome]:
        outcomes = [unit.verdict() for unit in units]
        done = [unit for unit, outcome in zip(units, outcomes, strict=True) if isinstance(outcome, Done)]
        self._count(done)
        self._warn_of_reuse([unit for unit, outcome in zip(units, outcomes, strict=True) if outcome is ALREADY])
        for unit, outcome in zip(units, outcomes, strict=True):
            self._remember(unit, outcome)
        if self._replies is not None and done:
            self._replies.done(done, self._client)
        return outcomes

    def _count(self, done: Sequence[Unit]) -> None:
        self._passed[self.place] += len(done)
        self._passed[ALL] += len(done)
        for unit in done:
            places: set[str] = set()
            for item in unit.items:
                self.created += item.outcome is DONE
                if item.draft is not None and item.draft.looked_up:
                    places.update(lookup.place for lookup, _ in item.draft.looked_up)
            self._passed.update(places)

    def _warn_of_reuse(self, already: Sequence[Unit]) -> None:
        external_id = self.division.case.external_id
        if external_id is None or external_id.mode != "create_once":
            return
        key = external_id.value if isinstance(external_id.value, str) else "external_id"
        sure = [unit for unit in already if unit.delivery.identity not in self._sender.doubted]
        warn_of_reuse([(u.delivery, i.draft.key or "") for u in sure for i in u.items[:1] if i.draft], key)

    def _remember(self, unit: Unit, outcome: Outcome) -> None:
        """Keep which records of a message are Cases while the rest has to be tried again."""
        if isinstance(outcome, Later):
            return
        identity = unit.delivery.identity
        self._partly.pop(identity, None)
        if not isinstance(outcome, Again):
            self._sender.doubted.discard(identity)
            return
        made = {at: item.case_id for at, item in enumerate(unit.items) if isinstance(item.outcome, Done)}
        if made:
            self._partly[identity] = made

    def _forget_older(self, generation: int) -> None:
        """Drop what was kept for deliveries of channels that are gone."""
        if self._partly or self._sender.doubted:
            self._partly = {key: made for key, made in self._partly.items() if key[0] >= generation}
            self._sender.doubted = {key for key in self._sender.doubted if key[0] >= generation}


def _says_nothing_of_records(spec: Any) -> bool:
    """Return whether a value expression gives the same for all records of a message."""
    parts = compile_expression(spec).parts
    return bool(parts) and all(part.source not in (None, "", "index") for part in parts)


def _leave(unit: Unit, outcome: Outcome) -> None:
    """Give what has no outcome yet this one."""
    if not unit.items and unit.outcome is None:
        unit.outcome = outcome
    for item in unit.items:
        if item.outcome is None:
            item.outcome = outcome


def _outcome(failed: Failed) -> Outcome:
    return Dead(failed.failure) if failed.failure.kind is Kind.REJECT else Again(failed.failure)

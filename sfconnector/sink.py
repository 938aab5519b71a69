"""The sink of a lane of a division: a batch of messages becomes Cases, one outcome per message, one call in flight.

Salesforce first, then the ack: a message is done once Salesforce has answered that its Case is there. With an external
id, a message that is sent twice is one Case.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import compile_expression
from connectorlib.formats.content import MOST_UNPACKED
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Delivery, Done, Later, Outcome
from connectorlib.pipeline.duplicates import by_first, warn_of_reuse
from sfconnector.batch_send import STOPPING, Sender, Valid
from sfconnector.division import DivisionState
from sfconnector.lookup import Answers, Wanted
from sfconnector.mapping import CaseMapper, Decoded, Draft
from sfconnector.record_outcome import CONTRADICTED, LeaveOut, NotYet
from sfconnector.records import Decided, Item, Settled, Unit, changes_of_one, created, merged, outcome_of, settle
from sfconnector.settings import ExternalId

if TYPE_CHECKING:
    from sfconnector.reply import Replies
    from sfconnector.salesforce.client import Client

#: Records that are worked on together; one message may exceed it. They take memory, and a batch may hold many.
MOST_RECORDS = 2000
#: Bytes of the bodies that are mapped while a call is under way.
MOST_PREPARED = 1024 * 1024

Record = tuple[Delivery, Decoded]
Decisions = Iterator[tuple[Decoded, Decided]]


class CaseSink:
    """Makes Cases of a division's messages. Used by one thread; it alone uses the client."""

    def __init__(
        self, state: DivisionState, client: "Client", *, stop: threading.Event, replies: "Replies | None" = None
    ) -> None:
        settings = state.settings
        self._state = state
        self._client = client
        self._stop = stop
        self._replies = replies
        self._sender = Sender(
            settings.case,
            client,
            state.place,
            settings.retry.breaker,
            stop,
            state.sizes,
            is_aged=lambda: state.is_aged,
            brake=state.brake,
        )
        self._external_id = settings.case.external_id
        self._key_of_message = self._external_id is not None and _is_the_same_for_all_records(self._external_id.value)
        #: Returns the messages that come next, so many at most.
        self.upcoming: Callable[[int], Sequence[Delivery]] = lambda most: ()
        client.meanwhile = self._prepare
        #: Messages that come next or are to be tried again, as they were decoded by `_decoded_by`.
        self._units: dict[tuple[int, int], Unit] = {}
        self._decoded_by = state.mapper
        #: Of such messages the records that are Cases already, by position.
        self._partly: dict[tuple[int, int], dict[int, str]] = {}

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages became Cases, in all and by each lookup."""
        return dict(self._state.passed)  # a copy: other lanes count

    def probe(self) -> None:
        """Ask Salesforce for a sign of life, and check the mapping where that is due. Raise Failed."""
        self._state.probe(self._client)

    def nudge(self) -> None:
        """Let the next probe try refused log-ins and used-up limits again. Any thread may call it."""
        self._state.nudge(self._client)

    def handle(self, deliveries: Sequence[Delivery], valid: Valid, isolating: bool = False) -> list[Outcome]:
        """Return one outcome per delivery. Raise Stale if `valid` says before a call that they are no longer ours."""
        lost, self._sender.unanswered = self._sender.unanswered, None
        if lost is not None:  # pause first, or an outage would empty the queue into the dead letters
            return [Again(lost)] * len(deliveries)
        self._forget_older(deliveries[0].generation)
        units = [Unit(delivery) for delivery in deliveries]
        decided: dict[Decoded, Decided] = {}
        failure: Failure | None = None
        try:
            self._state.heed_budget(self._client)
            self._state.renew(self._client)
            units = list(self._decode(deliveries))
            for record, each in self._decide(units, valid):
                decided[record] = each
        except Failed as failed:
            failure = failed.failure
        finally:
            self._state.note_usage(self._client, failure)
        settled = [settle(unit, decided, failure) for unit in units]
        self._finish(settled)
        return [each.outcome for each in settled]

    def forget(self, delivery: Delivery) -> None:
        """Forget a message that is dead-lettered. Any thread may call it while the sink does not have the message."""
        self._forget(delivery)
        self._sender.forget(delivery)

    # -- from messages to records

    def _decode(self, deliveries: Sequence[Delivery]) -> Iterator[Unit]:
        mapper = self._state.mapper
        assert mapper is not None, "nothing is processed before the first probe succeeds"
        if self._decoded_by is not mapper:
            self._decoded_by, self._units = mapper, {}
        count = unpacked = 0
        for delivery in deliveries:
            has_room = count < MOST_RECORDS and unpacked < MOST_UNPACKED
            unit = self._unit(delivery, mapper) if has_room else Unit(delivery, outcome=LATER)
            count += len(unit.records)
            unpacked += delivery.unpacked
            yield unit

    def _unit(self, delivery: Delivery, mapper: CaseMapper) -> Unit:
        """Return a message as it was decoded before, or decode it."""
        unit = self._units.get(delivery.identity)
        if unit is not None and unit.delivery is delivery:
            for record in unit.records:
                record.forget_lookups()
            return unit
        try:
            return Unit(delivery, mapper.records(delivery))
        except Failed as failed:
            return Unit(delivery, outcome=outcome_of(failed.failure))

    def _prepare(self, is_answered: Callable[[], bool]) -> None:
        """Decode and map the messages that come next, but for their lookups, until a call is answered."""
        mapper, room, kept = self._state.mapper, MOST_PREPARED, self._kept()
        if mapper is None or mapper is not self._decoded_by:
            return
        for delivery in self.upcoming(self._state.settings.batch.size):
            room -= len(delivery.body)
            if room < 0 or kept >= MOST_RECORDS or is_answered():
                return
            if delivery.identity in self._units or delivery.content_encoding is not None:
                continue
            with suppress(Failed):  # it fails again when its turn comes
                records = mapper.records(delivery)
                mapper.wanted(records)
                self._units[delivery.identity] = Unit(delivery, records)
                kept += len(records)

    def _decide(self, units: Sequence[Unit], valid: Valid) -> Decisions:
        """Yield what becomes of each record. Raise Failed if the rest cannot be sent now."""
        records: list[tuple[Delivery, Decoded]] = []
        for unit in units:
            made = self._partly.get(unit.delivery.identity, {})
            for position, record in enumerate(unit.records):
                if position in made:
                    yield record, created(made[position], already=False)
                else:
                    records.append((unit.delivery, record))
        yield from self._map_and_send(records, partial(self._send_by_key, valid=valid))

    def _map_and_send(
        self, records: Sequence[Record], send: Callable[[Sequence[Item]], Decisions], *, refreshed: bool = False
    ) -> Decisions:
        """Send the records that can be sent, and count those that the org does not take as if Salesforce had refused
        them. Raise Failed if the rest is not to be sent."""
        mapped = self._map(records, refreshed=refreshed)
        refusals = [_refusal_by_org(each, self._state.place) for each in mapped]
        for part, flood in self._state.brake.parts([delivery for delivery, _ in records], refusals):
            if flood is not None:
                raise Failed(flood)
            yield from ((records[at][1], each) for at in part if isinstance(each := mapped[at], Decided))
            yield from send([each for at in part if isinstance(each := mapped[at], Item)])

    def _map(self, records: Sequence[Record], *, refreshed: bool = False) -> list[Item | Decided]:
        """Return for each record what can be sent, or what becomes of it. The org describes its fields again, if that
        was a while ago, before it is believed that they do not take a value. Raise Failed if a lookup is not answered,
        or if the mapping does not fit the org any more."""
        mapped = self._map_once(records, refreshed=refreshed)
        refused = [record for (_, record), each in zip(records, mapped, strict=True) if _is_refused_by_field(each)]
        if not refused or refreshed or not self._state.is_aged:
            return mapped
        self._describe_again(refused)
        return self._map_once(records)

    def _describe_again(self, records: Iterable[Decoded]) -> None:
        """Have these records evaluated again, for the fields that the org has now."""
        self._decoded_by = self._state.describe_again(self._client)
        self._units = {}
        for record in records:
            record.forget()

    def _map_once(self, records: Sequence[Record], *, refreshed: bool = False) -> list[Item | Decided]:
        mapped = [self._draft(record, self._state.lookups) for _, record in records]
        wanted = [lookup for made in mapped if isinstance(made, list) for lookup in made]
        if wanted:
            answers = self._state.lookups.fetch(self._client, wanted)
            mapped = [
                self._draft(record, answers) if isinstance(made, list) else made
                for (_, record), made in zip(records, mapped, strict=True)
            ]
        found = [_found(record, made, refreshed) for record, made in zip(records, mapped, strict=True)]
        shared = self._sharing_keys([each for each in found if isinstance(each, Item)])
        return [self._shares_key() if shared and each in shared else each for each in found]

    def _draft(self, record: Decoded, answers: Answers) -> Draft | list[Wanted] | Decided:
        assert self._decoded_by is not None
        try:
            return self._decoded_by.case(record, answers)
        except Failed as failed:
            return Decided(outcome_of(failed.failure))

    def _sharing_keys(self, items: Iterable[Item]) -> set[Item]:
        """Return records of one message that would become one Case, because the key is taken from the message alone.
        A key taken from the records may be the same: then they are about the same Case."""
        shared: set[Item] = set()
        if self._key_of_message:
            for _, group in groupby(items, key=lambda item: item.delivery):
                keyed = [item for item in group if item.key is not None]
                shared.update(keyed if len(keyed) > 1 else ())
        return shared

    def _shares_key(self) -> Decided:
        text = "all records of the message have the same external id; make it differ, for example by {$index}"
        return Decided(Dead(reject("bad-value", text, place=self._state.place, detail="external_id.value").failure))

    # -- from records to outcomes

    def _send_by_key(self, items: Sequence[Item], valid: Valid) -> Decisions:
        """Send records that share a key one after the other: Salesforce would refuse all of them in one call. Those
        that change a Case which is there are one change, unless that is refused."""
        refused: set[str] = set()
        while items:
            firsts, later = by_first(items, lambda item: item.key)
            decided: dict[Decoded, Decided] = {}
            for record, each in self._send_at_rate(firsts, valid):
                decided[record] = each
                yield record, each
            items = []
            for item, first in later:
                same = _follow(item, first, decided[first.record], self._external_id)
                if same is None:
                    items.append(replace(item, there=isinstance(decided[first.record].outcome, Done)))
                else:
                    yield item.record, same
            items = yield from self._change_at_once(items, refused, valid)

    def _change_at_once(
        self, items: Sequence[Item], refused: set[str], valid: Valid
    ) -> Generator[tuple[Decoded, Decided], None, list[Item]]:
        """Send the changes of a Case as one; return what has to be sent singly. The keys of changes that are refused
        together are added to `refused`: one by one they show which of them is to blame."""
        groups = changes_of_one(item for item in items if item.draft.key not in refused)
        changes = {group[-1].record: group for group in groups}
        sent: set[Item] = set()
        for record, each in self._send_at_rate([merged(group) for group in groups], valid) if groups else ():
            group = changes[record]
            if isinstance(each.outcome, Dead):
                refused.add(group[0].draft.key or "")
                continue
            sent.update(group)
            yield from ((item.record, each) for item in group)
        return [item for item in items if item not in sent]

    def _send_at_rate(self, items: Sequence[Item], valid: Valid) -> Decisions:
        oldest = min(item.delivery.received for item in items)
        if not self._state.take_turn(len(items), oldest, self._stop):
            raise Failed(replace(STOPPING, place=self._state.place))
        unused = len(items)
        try:
            for record, decided in self._send(items, valid):
                unused -= decided.outcome is DONE
                yield record, decided
        finally:
            self._state.return_turn(unused)

    def _send(self, items: Sequence[Item], valid: Valid) -> Decisions:
        outdated: dict[Item, NotYet | LeaveOut] = {}
        for item, decided in self._sender.send(items, valid):
            if isinstance(decided, NotYet | LeaveOut):
                outdated[item] = decided
            else:
                yield item.record, decided
        if outdated:
            if contradicted := [item.record for item, why in outdated.items() if why is CONTRADICTED]:
                self._describe_again(contradicted)
            for item, why in outdated.items():
                if isinstance(why, LeaveOut):
                    item.record.leave_out(why.reasons)
                    continue
                self._state.lookups.forget(item.draft.looked_up)
                item.record.forget_lookups()
            records = [(item.delivery, item.record) for item in outdated]
            yield from self._map_and_send(records, partial(self._send, valid=valid), refreshed=True)

    # -- after the outcomes

    def _finish(self, settled: Sequence[Settled]) -> None:
        done = [each for each in settled if isinstance(each.outcome, Done)]
        self._state.count(done)
        self._warn_of_reuse([each.unit for each in done if each.outcome is ALREADY])
        for each in settled:
            self._remember(each)
        kinds = {each.outcome.failure.kind for each in settled if isinstance(each.outcome, Again)}
        if kinds & {Kind.CONFIGURATION, Kind.FLOOD}:
            self._state.doubt_mapping(flooded=Kind.FLOOD in kinds)
        if self._replies is not None and done:
            self._replies.done(done, self._client)

    def _warn_of_reuse(self, already: Sequence[Unit]) -> None:
        if self._external_id is None or self._external_id.mode != "create_once":
            return
        source = self._external_id.value if isinstance(self._external_id.value, str) else "external_id"
        sure = [unit for unit in already if unit.delivery.identity not in self._sender.doubted]
        drafts = [(unit.delivery, record.draft) for unit in sure for record in unit.records[:1]]
        warn_of_reuse([(delivery, draft.key or "") for delivery, draft in drafts if draft], source)

    def _remember(self, settled: Settled) -> None:
        """Keep what is known of a message that has to be tried again."""
        if isinstance(settled.outcome, Later):
            return
        delivery = settled.unit.delivery
        self._forget(delivery)
        if not isinstance(settled.outcome, Again):
            self._sender.forget(delivery)
            return
        made = {at: each.case_id for at, each in enumerate(settled.records) if isinstance(each.outcome, Done)}
        if made:
            self._partly[delivery.identity] = made
        if not settled.unit.records or delivery.unpacked:
            return
        if self._kept() < MOST_RECORDS:
            self._units[delivery.identity] = settled.unit

    def _kept(self) -> int:
        return sum(len(unit.records) for unit in list(self._units.values()))

    def _forget(self, delivery: Delivery) -> None:
        self._partly.pop(delivery.identity, None)
        self._units.pop(delivery.identity, None)

    def _forget_older(self, generation: int) -> None:
        """Drop what was kept for deliveries of channels that are gone."""
        self._partly = {key: made for key, made in self._partly.items() if key[0] >= generation}
        self._units = {key: unit for key, unit in self._units.items() if key[0] >= generation}
        self._sender.forget_older(generation)


def _found(record: Record, made: Draft | list[Wanted] | Decided, refreshed: bool) -> Item | Decided:
    assert not isinstance(made, list), "a lookup without an answer"
    return Item(*record, made, refreshed) if isinstance(made, Draft) else made


def _refusal_by_org(mapped: Item | Decided, place: str) -> Failure | None:
    """Return why a record is refused for what the org is known to be, at the place that Cases pass."""
    if isinstance(mapped, Item) or not isinstance(mapped.outcome, Dead) or not mapped.outcome.failure.by_target:
        return None
    return replace(mapped.outcome.failure, place=place)


def _is_refused_by_field(mapped: Item | Decided) -> bool:
    refusal = _refusal_by_org(mapped, "")
    return refusal is not None and refusal.code == "bad-value"


def _follow(item: Item, first: Item, decided: Decided, external_id: ExternalId | None) -> Decided | None:
    """Return what becomes of a record whose key another one had; None: it has to be sent after all."""
    if item.draft.key != first.draft.key:
        return None  # whether they are the same, the field in Salesforce knows
    if isinstance(decided.outcome, Again):
        return decided
    if isinstance(decided.outcome, Done) and external_id is not None and external_id.mode == "create_once":
        return created(decided.case_id, already=True)
    return None  # an upsert changes the Case once more; after a dead one this may do better


def _is_the_same_for_all_records(spec: Any) -> bool:
    """Return whether a value expression depends on the message, and not on the record."""
    parts = compile_expression(spec).parts
    return bool(parts) and all(part.source not in (None, "", "index") for part in parts)

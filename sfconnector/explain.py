"""What a message would become, without Salesforce: for `explain`, configuration tests and edited dead letters.

What only the org knows (fields, records, rules) is not checked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectorlib.config.document import open_document
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import MISSING, Scope, compile_condition, json_text, shorten
from connectorlib.formats import compile_format
from connectorlib.formats.body_position import RecordPath
from connectorlib.messages import Delivery
from connectorlib.pipeline.admission import admitting
from connectorlib.pipeline.lane_key import LaneKey
from connectorlib.preflight.config_tests import config_tests_command
from connectorlib.preflight.explain_command import explain_command
from connectorlib.preflight.explanation import (
    MOST_SHOWN,
    NOTHING_GIVEN,
    Explanation,
    Given,
    condition_lines,
    ignored,
    problems,
    rejected,
)
from connectorlib.preflight.message_options import takes
from sfconnector import config
from sfconnector.alarms.alarm_event import EventReader
from sfconnector.division_router import DivisionRouter
from sfconnector.lookup import AMBIGUOUS, NOT_FOUND, Answer, Answers, Lookup
from sfconnector.lookup_query import Key
from sfconnector.mapping import CaseMapper, Decoded, Draft
from sfconnector.settings import Division, SfConfig

#: Answers the lookups of records.
Fetch = Callable[[CaseMapper, Sequence[Decoded]], Answers]

MOST = 300  # characters of one value
#: In a tests file: the lookup finds several records.
SEVERAL = "ambiguous"


def checker(file: str) -> Callable[[Delivery], list[str] | None] | None:
    """Given a configuration file, return a function for the problems of a message, or None for one from another queue;
    None if it is not sfconnector's. Raise ConfigurationError for mistakes in the file."""
    if "divisions" not in open_document(file, {}, resolve_secrets=False).data:
        return None
    offline = opened(file)
    queues = offline.queues("", "")
    return lambda delivery: offline.problems(delivery) if delivery.queue in queues else None


def opened(file: str) -> "Offline":
    """Given a configuration file, return an `Offline`. Raise ConfigurationError for mistakes in it."""
    return Offline(config.load(file, resolve_secrets=False))


class Found:
    """Answers lookups without an org: as the test gives them, else with a description of the value."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = {name.lower(): value for name, value in given.items()}

    def answer(self, lookup: Lookup, key: Key) -> Answer:
        name = lookup.search.sobject.lower()
        if name in self._given:
            value = self._given[name]
            return NOT_FOUND if value is None else AMBIGUOUS if value == SEVERAL else value
        where = " and ".join(
            f"{field} = {json_text(value)}" for field, value in zip(lookup.search.where, key.values, strict=True)
        )
        return f"<{lookup.field} of the {lookup.search.sobject} where {where}>"


class Offline:
    """Explains messages by one configuration. `mappers` are those that know the org's fields, by division."""

    def __init__(self, settings: SfConfig, mappers: Mapping[str, CaseMapper] | None = None) -> None:
        self._divisions = settings.divisions
        self.format: Mapping[str, Any] = settings.divisions[0].format
        self._mappers = mappers or {
            division.name: CaseMapper(division.case, division.format, division.limits)
            for division in settings.divisions
        }

    def queues(self, exchange: str, routing_key: str) -> Sequence[str]:
        """Return the source queues that such a message is routed to; all of them without an exchange."""
        sources = [division.source for division in self._divisions]
        found = [each for each in sources if takes(each, exchange, routing_key)] if exchange else sources
        return list(dict.fromkeys(source.queue for source in found))

    def format_of(self, delivery: Delivery) -> Mapping[str, Any]:
        try:
            return self.division_of(delivery).format
        except (Failed, LookupError):
            return self.format

    def problems(self, delivery: Delivery) -> list[str]:
        """Return what would dead-letter this message again."""
        return problems(self.explain(delivery))

    def explain(self, delivery: Delivery, given: Given = NOTHING_GIVEN, fetch: Fetch | None = None) -> Explanation:
        """Return the division and the Cases of a message, or why it would be rejected. `fetch` answers its lookups;
        it may raise Failed."""
        try:
            division = self.division_of(delivery)
            reasons = _reasons_of_match(division, delivery)
            if admission := admitting(division.conditions, division.format, division.limits):
                reasons += admission.reasons(delivery)
                if left_out := admission(delivery):
                    return ignored(left_out, reasons)
            records = self._mappers[division.name].records(delivery)
        except Failed as failed:
            return rejected(failed.failure)
        except LookupError as error:
            return rejected(Failure(Kind.REJECT, "no-division", str(error.args[0])))
        for decoded in records:
            decoded.scope.now = given.now
        answers = Found(given.lookups) if fetch is None else fetch(self._mappers[division.name], records)
        drafts: list[Draft] = []
        for decoded in records:
            try:
                draft = self._mappers[division.name].case(decoded, answers)
            except Failed as failed:
                element = RecordPath(decoded.scope.index) if division.case.for_each is None else None
                return rejected(failed.failure, element)
            assert isinstance(draft, Draft), "every lookup has an answer"
            drafts.append(draft)
        try:
            alarms = _alarms(division, records)
        except Failed as failed:
            return rejected(failed.failure)
        found = _explanation(division, drafts, _lane(division, delivery))
        return replace(found, lines=[*found.lines, *condition_lines(alarms), *condition_lines(reasons)])

    def example(self) -> Mapping[str, Any]:
        """Return one test to begin with."""
        return {
            "name": "an alarm becomes a Case",
            "message": {"message_id": "m-1", "body": {"device": {"id": "pump-3"}, "alarm": "hot"}},
            "case": {"Subject": "pump-3: hot"},
        }

    def division_of(self, delivery: Delivery) -> Division:
        """Return the division of a message. Raise LookupError if none reads the queue, Failed if no `match` fits."""
        sources = ((each, each.source) for each in self._divisions)
        sharing = [each for each, source in sources if delivery.queue in (source.queue, *source.queues)]
        if not sharing:
            raise LookupError(f"no division takes messages from queue {delivery.queue!r}")
        return sharing[DivisionRouter(sharing)(delivery)]


def _alarms(division: Division, records: Sequence[Decoded]) -> list[str]:
    """Return what each record does to its alarm and why; nothing for a division without alarms. Raise Failed."""
    if division.case.alarm is None:
        return []
    reader = EventReader(division.case.alarm, division.name)
    return [reader.reason(decoded.record, decoded.scope) for decoded in records]


def _lane(division: Division, delivery: Delivery) -> Mapping[str, Any]:
    """Return the key of the message, with which others keep their order, if the division has one."""
    if division.lanes.key is None:
        return {}
    key = LaneKey(division.lanes, division.format, division.limits).key_of(delivery)
    return {"key": None if key is MISSING else key}


def _reasons_of_match(division: Division, delivery: Delivery) -> list[str]:
    """Return why the message is the division's, as a list of one line; none where it has no `match`."""
    if not division.match:
        return []
    record = delivery.records[0] if delivery.records else {}
    scope = Scope(delivery, fmt=compile_format(division.format, division.limits))
    return [f"match holds: {compile_condition(division.match).reason(record, scope)}"]


def _explanation(division: Division, drafts: Sequence[Draft], lane: Mapping[str, Any]) -> Explanation:
    count = len(drafts)
    what = "one Case" if count == 1 else f"{count or 'no'} Cases"
    lines: list[str] = []
    for number, draft in enumerate(drafts[:MOST_SHOWN]):
        lines += ["", f"Case {number + 1}"] if count > 1 else [""]
        lines += _fields(division, draft)
    if count > MOST_SHOWN:
        lines += ["", f"and {count - MOST_SHOWN} more (--json has them all)"]
    data = {"division": division.name, **lane, "cases": [dict(draft.fields) for draft in drafts]}
    order = f", in the order of {_others(lane['key'])}" if lane else ""
    return Explanation(f"division {division.name} would make {what} of it{order}", lines, data)


def _others(key: Any) -> str:
    return "messages without a key" if key is None else f"key {shorten(json_text(key), MOST)}"


def _fields(division: Division, draft: Draft) -> list[str]:
    external = division.case.external_id
    width = max(map(len, draft.fields), default=0)
    lines = []
    for name, value in draft.fields.items():
        note = "  (the external id)" if external and name.lower() == external.field.lower() else ""
        note = "  (cut)" if name in draft.truncated else note
        lines.append(f"  {name:<{width}}  {shorten(json_text(value), MOST)}{note}")
    lines += [f"  {name:<{width}}  left out: {shorten(why, MOST)}" for name, why in draft.left_out.items()]
    return lines


explain = explain_command("sfconnector", "config.json", opened)
test = config_tests_command("sfconnector", "config.json", opened)

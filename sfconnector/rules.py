"""Rules for config.json beyond the schema: shared queues, mappings, replies."""

from collections.abc import Iterable, Mapping, Sequence

from connectorlib.config import Review, review_notify
from connectorlib.config.broker_rules import review_broker
from connectorlib.config.expression_rules import (
    review_condition,
    review_expression,
    review_format,
    review_key,
    review_template,
)
from connectorlib.config.json_source import Path, show
from connectorlib.config.sections import source_settings
from connectorlib.config.source_rules import review_shard_key, review_source
from connectorlib.shared_settings import Batch, DeadLetterSettings, Limits, Source
from connectorlib.values.text import listed
from sfconnector.alarms.alarm_config import needs_one_reader, review_alarm, review_reader, review_shards
from sfconnector.config_merge import HOLD, OF_THE_FLOW, Merged, paced
from sfconnector.login_rules import review_logins
from sfconnector.settings import DEFAULT_BATCH, DEFAULT_HOLD_SECONDS

RESULT_TEXT = "$result is known to dbconnector only"


def review(found: Review) -> None:
    """Report every mistake beyond the schema."""
    merged = Merged(found.document.data)
    dead_letter = DeadLetterSettings(**found.section("tenant", "amqp", "dead_letter"))
    review_broker(found, ("tenant", "amqp"))
    review_notify(found)
    review_logins(found, merged)
    _review_lanes(found, ("tenant",))
    for names in merged.shared():
        _review_shared(found, merged, names)
    for name in merged.divisions:
        _review_taking(found, merged, name, dead_letter)
        review_format(found, ("divisions", name, "format"), Limits(**merged.section(name, "limits")))
        _review_match(found, name)
        _review_lanes(found, ("divisions", name))
        if isinstance(merged.divisions[name].get("case"), Mapping):
            _review_case(found, merged, name)
            review_alarm(found, ("divisions", name, "case"))
        _review_reply(found, merged, name, dead_letter)


# -- how messages are taken


def _review_taking(found: Review, merged: Merged, name: str, dead_letter: DeadLetterSettings) -> None:
    path: Path = ("divisions", name, "source")
    batch = Batch(**{"size": DEFAULT_BATCH.size, **merged.section(name, "batch")})
    if found.section(*path):
        review_source(found, path, dead_letter, batch, Limits(**merged.section(name, "limits")))
    source = merged.section(name, "source")
    if any(needs_one_reader(merged.section(each, "case")) for each in merged.sharing(name)):
        review_reader(found, merged.home(name, "source", "arguments"), source.get("arguments"))
    review_shards(found, ("divisions", name, "case", "alarm"), merged.section(name, "case").get("alarm"), source)
    key = merged.section(name, "lanes").get("key")
    review_shard_key(found, merged.home(name, "lanes", "key"), key, source)
    rate = found.get("divisions", name, "case", "rate")
    if rate is not None:
        _review_rate(found, merged, name, rate)


def _review_rate(found: Review, merged: Merged, name: str, rate: int) -> None:
    path: Path = ("divisions", name, "case", "rate")
    hold_seconds = merged.hold_seconds(name, DEFAULT_HOLD_SECONDS)
    if rate * hold_seconds < 60:
        text = f"{rate} a minute makes every message wait longer than it is held ({HOLD} is {hold_seconds:g})"
        found.problem(path, text)
        return
    size, prefetch = merged.section(name, "batch").get("size"), merged.section(name, "source").get("prefetch")
    largest, lanes = size or DEFAULT_BATCH.size, merged.lanes(name)
    shards = merged.section(name, "source").get("shards", 1)
    allowed = paced(largest, prefetch or 2 * largest * lanes, rate, hold_seconds, lanes, shards)
    for section, key, given, used in (
        ("batch", "size", size, allowed[0]),
        ("source", "prefetch", prefetch, allowed[1]),
    ):
        if given is not None and given > used:
            text = f"{given} is too many for a rate of {rate} a minute: some would wait too long; {used} is used"
            found.warn(merged.home(name, section, key), text)


def _review_shared(found: Review, merged: Merged, names: Sequence[str]) -> None:
    """Check divisions that share a queue: each needs a match, and they must agree on the source."""
    queue = merged.queue(names[0])
    for at, name in enumerate(names):
        match = found.get("divisions", name, "match")
        others = listed(f'"{other}"' for other in names if other != name)
        if match is None:
            found.missing(
                ("divisions", name),
                "match",
                f": the queue {queue} is also that of {others}; say which messages are whose",
            )
        elif match == {} and at < len(names) - 1:
            behind = listed(f'"{other}"' for other in names[at + 1 :])
            text = f"fits every message, so none is left for {behind}; put it last"
            found.problem(("divisions", name, "match"), text)
    for name in names[1:]:
        _review_agreement(found, merged, names[: names.index(name)], name)
    text = (
        f"{listed(names)} share the queue {queue}: a division that is paused holds up the others after a while, "
        "and so does one with a rate; a queue for each keeps them apart"
    )
    found.warn(("divisions", names[0], "source"), text)


def _review_agreement(found: Review, merged: Merged, before: Iterable[str], name: str) -> None:
    for other in before:
        mine, others = merged.divisions[name], merged.divisions[other]
        for key in OF_THE_FLOW:
            theirs = others.get(key) or {}
            for inner, value in (mine.get(key) or {}).items():
                if inner in theirs and theirs[inner] != value:
                    found.problem(("divisions", name, key, inner), _disagrees(other))
        if HOLD in mine and HOLD in others and mine[HOLD] != others[HOLD]:
            found.problem(("divisions", name, HOLD), _disagrees(other))


def _disagrees(other: str) -> str:
    return f'differs from what "{other}" says, which has the same queue: say it once'


def _review_match(found: Review, name: str) -> None:
    for key in ("match", "accept_when", "ignore_when"):
        review_condition(found, ("divisions", name, key), RESULT_TEXT)


def _review_lanes(found: Review, where: Path) -> None:
    path: Path = (*where, "lanes", "key")
    key = found.get(*path)
    compiled = None if key is None else review_expression(found, path, key)
    if compiled is not None and compiled.uses_results:
        found.problem(path, RESULT_TEXT)


# -- what a Case is made of


def _review_case(found: Review, merged: Merged, name: str) -> None:
    path: Path = ("divisions", name, "case")
    _review_mapping(found, (*path, "mapping"))
    for key in ("mapping", "defaults"):
        _review_repeated(found, (*path, key))
    nothing = not found.section(*path, "mapping") and not found.section(*path, "defaults")
    if nothing and not _is_refused(found, (*path, "mapping"), (*path, "defaults")):
        found.missing(path, "mapping", ', such as {"Subject": "Pump {device.id}: {alarm|no text}"}')
    _review_for_each(found, (*path, "for_each"), merged.lanes(name))
    _review_required(found, path)
    _review_external_id(found, path, merged.section(name, "source").get("exchange"))


def _review_mapping(found: Review, path: Path) -> None:
    from sfconnector.lookup import lookup_extra  # late: jmespath is not needed for --help
    from sfconnector.mapping import without_invalid

    extra = lookup_extra()
    for field, spec in found.section(*path).items():
        compiled = review_expression(found, (*path, field), without_invalid(spec), extra)
        if compiled is not None and compiled.uses_results:
            found.problem((*path, field), RESULT_TEXT)


def _review_for_each(found: Review, path: Path, lanes: int) -> None:
    spec = found.get(*path)
    compiled = None if spec is None else review_expression(found, path, spec)
    if compiled is not None and compiled.uses_results:
        found.problem(path, RESULT_TEXT)
    if spec is not None and lanes > 1 and found.get(*path[:-1], "alarm") is not None:
        found.problem(path, "the elements of a message may be of several alarms, so lanes.count has to be 1")


def _review_repeated(found: Review, path: Path) -> None:
    seen: dict[str, str] = {}
    for field in found.section(*path):
        first = seen.setdefault(field.lower(), field)
        if first != field:
            found.problem((*path, field), f"{first} is the same field: Salesforce does not tell capital letters apart")


def _review_required(found: Review, path: Path) -> None:
    filled = {field.lower() for key in ("mapping", "defaults") for field in found.section(*path, key)}
    filled.add(str(found.get(*path, "external_id", "field")).lower())
    if _is_refused(found, (*path, "mapping"), (*path, "defaults"), (*path, "external_id")):
        return  # one of these may fill it
    for at, field in enumerate(found.get(*path, "required") or ()):
        if field.lower() not in filled:
            text = f"nothing in mapping or defaults fills {field}, so every message would be dead-lettered"
            found.problem((*path, "required", at), text)


def _review_external_id(found: Review, path: Path, exchange: str | None) -> None:
    own: Path = (*path, "external_id")
    field = found.get(*own, "field")
    if not found.section(*own):
        if not _is_refused(found, own) and found.get(*path, "alarm") is None:
            text = "without an external_id a message that comes twice may become two Cases"
            found.warn(path, text)
        return
    for key in ("mapping", "defaults"):
        for each in found.section(*path, key):
            if field is not None and each.lower() == field.lower():
                text = f"this is the external id, which {show(own)}.value fills; leave it out"
                found.problem((*path, key, each), text)
    review_key(found, (*own, "value"), exchange)


def _is_refused(found: Review, *paths: Path) -> bool:
    return any(refused[: len(path)] == path for path in paths for refused in found.document.refused)


# -- where replies go


def _review_reply(found: Review, merged: Merged, name: str, dead_letter: DeadLetterSettings) -> None:
    reply = merged.section(name, "reply")
    if not any("reply" in section for section in (merged.tenant, merged.divisions[name])):
        return
    exchange, key = reply.get("exchange", ""), reply.get("routing_key", "")
    place = merged.home(name, "reply", "routing_key")
    if not exchange and not key and not reply.get("from_message"):
        found.missing(place[:-1], "routing_key", ": the queue that replies go to (or an exchange, or from_message)")
    template = review_template(found, place, key) if key else None
    if template is not None and any(part.source in (None, "", "result", "index") for part in template.parts):
        text = "only properties of the message are known here, such as $correlation_id, $headers.NAME, $routing_key[1]"
        found.problem(place, text)
    if exchange == dead_letter.exchange or (not exchange and key == dead_letter.queue):
        found.problem(place, "replies would lie among the dead letters")
    constant = key if template is None or not template.parts else None
    _review_loop(found, merged, place, exchange, constant)


def _review_loop(found: Review, merged: Merged, place: Path, exchange: str, key: str | None) -> None:
    """Report replies that would come back as messages; `key` is None if it depends on the message."""
    for name in merged.divisions:
        source = source_settings(merged.section(name, "source"), DEFAULT_BATCH)
        if not exchange and key in source.queues:
            found.problem(place, "this is a source queue here: replies would come back as messages")
        elif exchange and exchange == source.exchange:
            if key is None:
                found.warn(
                    place, "replies go to an exchange that messages are taken from; see to it that none comes back"
                )
            elif _reaches(source, key):
                found.problem(
                    place, "replies would come back as messages: a source queue here takes them from this exchange"
                )


def _reaches(source: Source, key: str) -> bool:
    """Return whether a message with this routing key is routed to the queue, as far as the configuration shows."""
    from connectorlib.expressions import compile_topic  # late: jmespath is not needed for --help

    if source.exchange_type == "topic":
        return any(compile_topic(pattern)(key) for pattern in source.routing_keys)
    return source.exchange_type == "fanout" or (source.exchange_type == "direct" and key in source.routing_keys)

"""The section `case.alarm` of the configuration: its settings, and its rules beyond the schema."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from connectorlib.config import Review
from connectorlib.config.expression_rules import review_condition, review_expression, review_template
from connectorlib.config.json_source import Path
from connectorlib.values.durations import parse_duration
from sfconnector.alarms.alarm import CLEARED, FLAPPED, REOPENED, REPEATED, STALE, AlarmRules
from sfconnector.settings import AlarmSettings, Severity, Silence

#: The argument of a queue that only one consumer at a time reads.
_ONE_READER = "x-single-active-consumer"
#: What lets several processes read the queue of a division with `alarm`.
SEVERAL_ALLOWED = '"writers": "one" in the section alarm promises that no other process reads the queue'
#: Where durations stand.
_DURATIONS: tuple[Path, ...] = (
    ("repeat", "comment_every"),
    ("reopen", "within"),
    ("clear", "after"),
    ("flapping", "within"),
    ("flapping", "quiet"),
    ("max_age",),
    ("stale",),
    ("late",),
)


def alarm_settings(section: Mapping[str, Any]) -> AlarmSettings:
    """Given a section that is valid, return its settings."""
    plain = {key: section[key] for key in ("key", "at", "event", "clear_when", "writers") if key in section}
    plain |= {key: section[key] for key in ("object", "case_key", "case_alarm") if key in section}
    plain |= {key: seconds(section[key]) for key in ("max_age", "late") if key in section}
    given = section.get("severity")
    severity = None if given is None else _severity(given)
    texts = {REPEATED: ("repeat", "comment"), REOPENED: ("repeat", "comment"), CLEARED: ("clear", "comment")}
    comments = {occasion: section[a][b] for occasion, (a, b) in texts.items() if b in section.get(a, {})}
    return AlarmSettings(
        rules=_rules(section, severity, frozenset(comments)),
        severity=severity,
        comments=comments,
        never=section.get("reopen", {}).get("never"),
        silence=tuple(
            Silence(each["match"], moment(each["from"]), moment(each["to"])) for each in section.get("silence", ())
        ),
        **plain,
    )


def needs_one_reader(case: Mapping[str, Any]) -> bool:
    """Return whether only one process at a time may read the queue of a division: two would write the same alarms."""
    alarm = case.get("alarm")
    return isinstance(alarm, Mapping) and "writers" not in alarm


def _severity(section: Mapping[str, Any]) -> Severity:
    return Severity(section["path"], tuple(section["order"]), section.get("field"), section.get("map", {}))


def _rules(section: Mapping[str, Any], severity: Severity | None, commented: frozenset[str]) -> AlarmRules:
    repeat, reopen, clear = (section.get(key, {}) for key in ("repeat", "reopen", "clear"))
    flapping = section.get("flapping")
    values: dict[str, Any] = {
        "severities": () if severity is None else tuple(severity.values.get(name) for name in severity.order),
        # What an agent would wonder about is always commented on: it happens rarely.
        "comments_on": commented | {REOPENED, FLAPPED, STALE},
    }
    if flapping is not None:
        values["flapping_changes"] = flapping.get("changes", 6)
    named = {
        "comment_every": repeat.get("comment_every"),
        "reopen_within": reopen.get("within"),
        "clear_after": clear.get("after"),
        "flapping_within": (flapping or {}).get("within"),
        "flapping_quiet": (flapping or {}).get("quiet"),
        "stale": section.get("stale"),
    }
    values |= {name: seconds(value) for name, value in named.items() if value is not None}
    others = {
        "comments": repeat.get("comments"),
        "reopen_status": reopen.get("status"),
        "close": clear.get("close"),
        "close_status": clear.get("status"),
    }
    return AlarmRules(**values, **{name: value for name, value in others.items() if value is not None})


def seconds(value: Any) -> float:
    """Given a duration or a number of seconds, return seconds. Raise ValueError."""
    return parse_duration(value) if isinstance(value, str) else float(value)


def moment(text: str) -> float:
    """Given a time with its zone, return seconds since 1970. Raise ValueError."""
    example = "write 2026-12-24T00:00Z or 2026-12-24T00:00+01:00"
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text} is no date with a time; {example}") from error
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone; {example}")
    return at.timestamp()


def review_alarm(found: Review, case: Path) -> None:
    """Report every mistake of the section `alarm` of a division's `case` beyond the schema."""
    path: Path = (*case, "alarm")
    section = found.section(*path)
    if not section:
        return
    for key in ("external_id", "rate"):
        if found.get(*case, key) is not None:
            found.problem((*case, key), f"{key} and alarm exclude each other: an alarm has a key of its own")
    for key in ("key", "at", "event"):
        if key in section:
            review_expression(found, (*path, key), section[key])
    severity = found.section(*path, "severity")
    if "path" in severity:
        review_expression(found, (*path, "severity", "path"), severity["path"])
    _review_severities(found, (*path, "severity"), severity)
    review_condition(found, (*path, "clear_when"))
    review_condition(found, (*path, "reopen", "never"))
    for inner in _DURATIONS:
        value = found.get(*path, *inner)
        if isinstance(value, str):
            found.attempt((*path, *inner), partial(seconds, value))
    for comments in ("repeat", "clear"):
        place = (comments, "comment")
        text = found.get(*path, *place)
        if isinstance(text, str):
            review_template(found, (*path, *place), text)
    _review_silence(found, path, section)


def review_shards(found: Review, path: Path, alarm: Any, source: Mapping[str, Any]) -> None:
    """Warn where the section `alarm`, which is at this path, may have two writers although its source is in shards."""
    if isinstance(alarm, Mapping) and "shards" in source and needs_one_reader({"alarm": alarm}):
        text = (
            "the shards are divided by the whole routing key: an alarm whose messages have several would be written by "
            "two processes. Publish a raise and its clear with the same routing key, or run one process"
        )
        if alarm.get("key") != "$routing_key":
            found.warn((*path, "key"), text)


def review_reader(found: Review, arguments: Path, given: Any) -> None:
    """Report arguments of the queue, which are at this path, that let two processes read it."""
    if isinstance(given, Mapping) and given.get(_ONE_READER, True) is not True:
        found.problem((*arguments, _ONE_READER), f"alarms have one writer, so leave this out; or {SEVERAL_ALLOWED}")


def _review_severities(found: Review, path: Path, severity: Mapping[str, Any]) -> None:
    order = severity.get("order", ())
    for name in severity.get("map", {}):
        if name not in order and found.is_known((*path, "order")):
            found.problem((*path, "map", name), "is not in order")
    if severity.get("map") and not severity.get("field"):
        found.missing(path, "field", ": the field of Case that gets the values of map")


def _review_silence(found: Review, path: Path, section: Mapping[str, Any]) -> None:
    for position, each in enumerate(section.get("silence", ())):
        place = (*path, "silence", position)
        given = {key: found.attempt((*place, key), partial(moment, each[key])) for key in ("from", "to") if key in each}
        begin, end = given.get("from"), given.get("to")
        if begin is not None and end is not None and begin >= end:
            found.problem((*place, "to"), "is not after from")
        review_condition(found, (*place, "match"))

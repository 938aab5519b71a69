"""The life-cycle of an alarm as two functions: what an event changes in it, and what its Case needs then. Pure.

`fold` takes events one by one and looks at no Case. `plan` compares the alarm with its Case as it is now, and decides
what is written. It depends on nothing else, so it decides the same after a crash: an event that was counted before and
comes again counts no more, but what it brought about and was not written is written now.
"""

from typing import Any

from connectorlib.dataclass import replace
from sfconnector.alarms.alarm import (
    CLEARED,
    FLAPPED,
    ID_BYTES,
    MOST_IDS,
    REOPENED,
    REPEATED,
    STALE,
    Alarm,
    AlarmRules,
    CaseSeen,
    Create,
    Effect,
    Event,
    Plan,
    State,
    Update,
    Wrote,
)


def fold(alarm: Alarm, event: Event, now: float, rules: AlarmRules) -> tuple[Alarm, Effect]:
    """Return the alarm after an event, and what it did."""
    digest = event.digest
    if _holds(alarm.ids, digest):
        return alarm, Effect.KNOWN
    older = event.again and event.at < alarm.newest
    if event.clears:
        if alarm.state is State.CLEARED:
            return alarm, Effect.UNMATCHED
        alarm = replace(alarm, ids=_with(alarm.ids, digest))
        return (alarm, Effect.LATE) if older else _cleared(alarm, event.at, now, rules)
    only_counts = event.only_counts or (Effect.LATE if older else None)
    if only_counts is not None:
        return _counted(alarm, event, now, rules), only_counts
    if alarm.state is State.ACTIVE:  # nearly always
        raised, severity = max(alarm.raised, event.at), max(alarm.severity, event.severity)
        return _counted(alarm, event, now, rules, raised=raised, severity=severity), Effect.REPEATED
    return _raised(_counted(alarm, event, now, rules), event, now, rules)


def _counted(alarm: Alarm, event: Event, now: float, rules: AlarmRules, **changes: Any) -> Alarm:
    """Return an alarm with one more raise, and with other changes: a copy is what takes the time."""
    return replace(
        alarm,
        ids=_with(alarm.ids, event.digest),
        due=_stale_at(now, rules) if alarm.state is State.ACTIVE else alarm.due,
        count=alarm.count + 1,
        last=max(alarm.last, event.at),
        unseen=alarm.unseen + 1,
        unseen_first=alarm.unseen_first if alarm.unseen else event.at,
        **changes,
    )


def _with(ids: bytes, digest: bytes) -> bytes:
    return ids[-ID_BYTES * (MOST_IDS - 1) :] + digest


def _holds(ids: bytes, digest: bytes) -> bool:
    at = ids.find(digest)
    while at % ID_BYTES and at > 0:  # the end of one and the beginning of the next
        at = ids.find(digest, at + 1)
    return at >= 0


def _raised(alarm: Alarm, event: Event, now: float, rules: AlarmRules) -> tuple[Alarm, Effect]:
    raised = max(alarm.raised, event.at)
    if alarm.state is State.FLAPPING:
        severity = max(alarm.severity, event.severity)
        due = alarm.due if alarm.firing else now + rules.flapping_quiet
        return replace(alarm, raised=raised, severity=severity, firing=True, due=due), Effect.REPEATED
    came_back = alarm.cleared > 0
    since = event.at - rules.flapping_within
    flips = (*(at for at in alarm.flips if at > since), *((event.at,) if came_back else ()))
    severity = event.severity if alarm.state is State.CLEARED else max(alarm.severity, event.severity)
    alarm = replace(alarm, raised=raised, severity=severity, flips=flips, noted=frozenset(), stale=False, wanted=True)
    if rules.flapping_changes and len(flips) >= rules.flapping_changes:
        return replace(alarm, state=State.FLAPPING, firing=True, due=now + rules.flapping_quiet), Effect.RAISED
    # That it is back within `clear.after` is not worth a comment.
    alarm = replace(alarm, state=State.ACTIVE, due=_stale_at(now, rules), commented_count=alarm.count)
    return alarm, Effect.RAISED


def _cleared(alarm: Alarm, at: float, now: float, rules: AlarmRules) -> tuple[Alarm, Effect]:
    alarm = replace(alarm, cleared=max(alarm.cleared, at))
    if alarm.state is State.FLAPPING:
        due = now + rules.flapping_quiet if alarm.firing else alarm.due
        return replace(alarm, firing=False, due=due), Effect.CLEARED
    if alarm.state is State.CLEARING:
        return alarm, Effect.CLEARED
    return replace(alarm, state=State.CLEARING, due=now + rules.clear_after), Effect.CLEARED


def _stale_at(now: float, rules: AlarmRules) -> float:
    return now + rules.stale if rules.stale else 0.0


def expire(alarm: Alarm, now: float, rules: AlarmRules) -> Alarm:
    """Return the alarm after what is due by now."""
    if not alarm.due or alarm.due > now:
        return alarm
    if alarm.state is State.ACTIVE:
        return replace(alarm, state=State.CLEARING, due=now, stale=True, wanted=False)
    if alarm.state is not State.FLAPPING:
        return alarm  # `plan` closes the Case
    calm = replace(alarm, flips=(), noted=alarm.noted - {FLAPPED}, firing=False)
    if alarm.firing:
        return replace(calm, state=State.ACTIVE, due=_stale_at(now, rules), commented_count=alarm.count)
    return replace(calm, state=State.CLEARING, due=now, wanted=False)  # what came and went needs no other Case


def plan(alarm: Alarm, case: CaseSeen | None, now: float, rules: AlarmRules) -> Plan:
    """Given an alarm and its Case, None if there is none, return what has to be written."""
    if case is not None and (alarm.wrote is None or case.merged):
        alarm = replace(alarm, wrote=_learned(alarm, case, rules))
    flapping = alarm.state is State.FLAPPING
    if alarm.state is State.ACTIVE or (alarm.wanted and (case is None or (case.closed and not flapping))):
        return _plan_active(alarm, case, now, rules)
    if case is None or case.closed:
        return Plan(alarm if flapping else _resting(alarm))
    alarm = _settled(alarm)
    if alarm.state is State.CLEARED:
        return Plan(alarm)
    if flapping:
        return _commented(alarm, case, FLAPPED, now, rules, once=True)
    if alarm.due > now:
        return _commented(alarm, case, CLEARED, now, rules, once=True)
    return _close(alarm, case, now, rules)


def _learned(alarm: Alarm, case: CaseSeen, rules: AlarmRules) -> Wrote:
    """Return what a Case is taken to have had from us: its own values, unless somebody else has changed it."""
    if case.touched or case.merged:
        return Wrote("", "", None, len(rules.severities))
    rank = rules.severities.index(case.severity) if case.severity in rules.severities else alarm.severity
    return Wrote(case.status, case.owner, case.severity, rank)


def _resting(alarm: Alarm) -> Alarm:
    """Return an alarm whose Case needs nothing: it has none, or it is closed already."""
    if alarm.state is State.CLEARING:
        alarm = replace(alarm, state=State.CLEARED, due=0.0)
    return _settled(alarm)


def _settled(alarm: Alarm) -> Alarm:
    return replace(alarm, wanted=False, unseen=0, unseen_first=0.0)


def _plan_active(alarm: Alarm, case: CaseSeen | None, now: float, rules: AlarmRules) -> Plan:
    if case is None:
        return _succeed(alarm, "", now)
    if not case.closed:
        return _keep(_opened_by_agent(_settled(alarm), rules), case, now, rules)
    if not _is_closed_by_us(alarm, case, rules) and alarm.raised <= case.closed_at:
        return Plan(_settled(alarm))
    if case.final:
        return Plan(_settled(alarm), muted=True)
    if rules.reopen_within and now - case.closed_at <= rules.reopen_within:
        return _reopen(_settled(alarm), case, now, rules)
    return _succeed(alarm, case.id, now)


def _opened_by_agent(alarm: Alarm, rules: AlarmRules) -> Alarm:
    """Return the alarm of an open Case. If we had closed it, the agent has reopened it, and it is not ours to close."""
    if alarm.wrote is None or alarm.wrote.status != rules.close_status:
        return alarm
    return replace(alarm, wrote=replace(alarm.wrote, status=""))


def _is_closed_by_us(alarm: Alarm, case: CaseSeen, rules: AlarmRules) -> bool:
    return alarm.wrote is not None and alarm.wrote.status == rules.close_status == case.status


def _succeed(alarm: Alarm, parent: str, now: float) -> Plan:
    """Plan another Case. `wrote` is read from it, since a rule may choose its status and owner."""
    number = alarm.number + 1
    new = replace(
        alarm,
        wanted=False,
        number=number,
        case_id="",
        count=max(alarm.unseen, 1),
        first=alarm.unseen_first or alarm.raised,
        unseen=0,
        unseen_first=0.0,
        wrote=None,
        comments=0,
        commented=now,
        commented_count=max(alarm.unseen, 1),
        noted=frozenset(),
    )
    return Plan(new, Create(number, parent))


def _reopen(alarm: Alarm, case: CaseSeen, now: float, rules: AlarmRules) -> Plan:
    assert alarm.wrote is not None
    wrote = replace(alarm.wrote, status=rules.reopen_status, owner=case.owner)
    reopened = replace(alarm, wrote=wrote, noted=frozenset())
    with_comment = _commented(reopened, case, REOPENED, now, rules)
    comment = with_comment.write.comment if isinstance(with_comment.write, Update) else None
    return Plan(with_comment.alarm, Update(case.id, status=rules.reopen_status, comment=comment))


def _keep(alarm: Alarm, case: CaseSeen, now: float, rules: AlarmRules) -> Plan:
    """Plan for an open Case: a severity that has risen, a comment that is due."""
    commented = Plan(alarm)
    if alarm.count > alarm.commented_count and now - alarm.commented >= rules.comment_every:
        commented = _commented(alarm, case, REPEATED, now, rules)
    alarm, wrote = commented.alarm, alarm.wrote
    value = rules.severities[alarm.severity] if 0 <= alarm.severity < len(rules.severities) else None
    if value is None or wrote is None or alarm.severity <= wrote.rank or case.severity != wrote.severity:
        return commented
    alarm = replace(alarm, wrote=replace(wrote, severity=value, rank=alarm.severity))
    comment = commented.write.comment if isinstance(commented.write, Update) else None
    if value == case.severity and comment is None:
        return Plan(alarm)
    return Plan(alarm, Update(case.id, severity=value, comment=comment))


def _close(alarm: Alarm, case: CaseSeen, now: float, rules: AlarmRules) -> Plan:
    wrote = alarm.wrote
    untouched = wrote is not None and (case.status, case.owner) == (wrote.status, wrote.owner)
    commented = _commented(alarm, case, STALE if alarm.stale else CLEARED, now, rules, once=True)
    done = replace(commented.alarm, state=State.CLEARED, due=0.0)
    comment = commented.write.comment if isinstance(commented.write, Update) else None
    if rules.close == "never" or (rules.close == "untouched" and not untouched):
        return Plan(done, commented.write)
    assert wrote is not None
    done = replace(done, wrote=replace(wrote, status=rules.close_status))
    return Plan(done, Update(case.id, status=rules.close_status, comment=comment))


def _commented(
    alarm: Alarm, case: CaseSeen, occasion: str, now: float, rules: AlarmRules, *, once: bool = False
) -> Plan:
    """Plan a comment, if the configuration has one for the occasion. `once`: one since the alarm was raised."""
    if occasion not in rules.comments_on or alarm.comments >= rules.comments or (once and occasion in alarm.noted):
        return Plan(alarm)
    alarm = replace(
        alarm,
        comments=alarm.comments + 1,
        commented=now,
        commented_count=alarm.count,
        noted=alarm.noted | {occasion} if once else alarm.noted,
    )
    return Plan(alarm, Update(case.id, comment=occasion))

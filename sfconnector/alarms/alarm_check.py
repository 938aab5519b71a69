"""Compares the section `alarm` with what the org has, before the first message. Pure, except for `related`."""

from collections.abc import Callable, Iterator

from connectorlib.errors import Failed, Kind
from connectorlib.values.text import did_you_mean
from sfconnector.alarms.alarm_record import CASE, FIELDS, KEY
from sfconnector.salesforce.describe import Described, Field
from sfconnector.settings import AlarmSettings

_MAKE = "`sfconnector org` writes it"


def alarm_problems(alarm: AlarmSettings, case: Described, related: Callable[[str], Described]) -> Iterator[str]:
    """Yield what is missing, one line each; `related` describes another object, and raises Failed if there is none."""
    yield from _case_problems(alarm, case)
    try:
        described = related(alarm.object)
    except Failed as failed:
        if failed.failure.kind not in (Kind.CONFIGURATION, Kind.REJECT):
            raise
        yield f"alarm.object: there is no object {alarm.object} (or it is hidden from the division's user); {_MAKE}"
        return
    for name in (KEY, *FIELDS):
        field = described.field(name)
        if field is None:
            yield f"alarm.object: {alarm.object} has no field {name} (or it is hidden from the user); {_MAKE}"
        elif name == KEY:
            yield from _key_problems(f"alarm.object: {alarm.object}.{KEY}", field)
        elif not (field.createable and field.updateable):
            yield f"alarm.object: the division's user may not write {alarm.object}.{name}"
    field = described.field(CASE)
    if field is not None and "Case" not in field.refers_to:
        yield f"alarm.object: {alarm.object}.{CASE} is not a look-up to Case"


def _case_problems(alarm: AlarmSettings, case: Described) -> Iterator[str]:
    names = [field.name for field in case.fields]
    key, link = case.field(alarm.case_key), case.field(alarm.case_alarm)
    if key is None:
        yield f"alarm.case_key: Case has no field {alarm.case_key}{did_you_mean(alarm.case_key, names)}; {_MAKE}"
    else:
        yield from _key_problems(f"alarm.case_key: Case.{key.name}", key)
    if link is None:
        yield f"alarm.case_alarm: Case has no field {alarm.case_alarm}{did_you_mean(alarm.case_alarm, names)}; {_MAKE}"
    elif alarm.object not in link.refers_to:
        yield f"alarm.case_alarm: Case.{link.name} is not a look-up to {alarm.object}"
    name = alarm.severity.case_field if alarm.severity else None
    if name is not None:
        field = case.field(name)
        if field is None:
            yield f"alarm.severity.field: Case has no field {name}{did_you_mean(name, names)}"
        elif not field.updateable:
            yield f"alarm.severity.field: Case.{field.name} cannot be changed"
    for name in alarm.never_fields:
        if case.field(name) is None:
            yield f"alarm.reopen.never: Case has no field {name}{did_you_mean(name, names)}"


def _key_problems(what: str, field: Field) -> Iterator[str]:
    if not field.unique:
        yield f"{what} is not unique, so one alarm could have two; make it External ID and Unique"
    elif not field.external_id:
        yield f"{what} is no external id; make it External ID and Unique"
    elif not field.case_sensitive:
        text = "is not case-sensitive, so alarms whose keys differ in capitals only would be one"
        yield f"{what} {text}; make it case-sensitive"
    elif not field.createable:
        yield f"{what} cannot be filled; it is read-only, at least for this user"

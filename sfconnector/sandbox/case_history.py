"""What the page shows of Cases besides their fields: the alarm that a Case is of, and what has happened to it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.sandbox.field_values import moment
from sfconnector.sandbox.org import Org

#: Records of comments and changes that are looked at, the latest; entries of one Case that are shown.
LOOKED_AT, SHOWN = 2_000, 8
#: The look-up of a Case to its alarm, and the object.
ALARM = "Alarm__c"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A comment on a Case, or a change of one of its fields."""

    at: datetime
    user_id: str
    text: str
    #: Of a change: `Status`; "" of a comment.
    field: str = ""
    old: str = ""


@dataclass(frozen=True, slots=True)
class ShownAlarm:
    """An alarm, for the Case that it is in now."""

    state: str
    count: int
    first: datetime | None
    last: datetime | None
    #: How many Cases it has had, this one included.
    number: int


@dataclass(frozen=True, slots=True)
class Story:
    """`earlier` entries are not shown; `alarm` is None for a Case of none, or whose alarm has another Case by now."""

    alarm: ShownAlarm | None
    entries: Sequence[Entry]
    earlier: int


def stories(org: Org, cases: Iterable[Record]) -> dict[str, Story]:
    """Return what is to be said of each Case, by its id."""
    with org.lock:
        entries: dict[str, list[Entry]] = {case["Id"]: [] for case in cases}
        for record in _latest(org, "CaseComment"):
            if record.get("ParentId") in entries:
                entries[record["ParentId"]].append(_entry(record, record.get("CommentBody") or ""))
        for record in _latest(org, "CaseHistory"):
            if record.get("CaseId") in entries:
                new, old = record.get("NewValue") or "", record.get("OldValue") or ""
                entries[record["CaseId"]].append(_entry(record, new, record["Field"], old))
        alarms = {case["Id"]: _alarm(org, case) for case in cases}
    return {
        case_id: Story(alarms[case_id], sorted(found, key=_when)[-SHOWN:], max(0, len(found) - SHOWN))
        for case_id, found in entries.items()
    }


def _latest(org: Org, sobject: str) -> list[Record]:
    return list(islice(reversed(org.store.table(org.objects[sobject]).records.values()), LOOKED_AT))


def _entry(record: Record, text: str, field: str = "", old: str = "") -> Entry:
    return Entry(moment(record["CreatedDate"]), record.get("CreatedById") or "", text, field, old)


def _when(entry: Entry) -> tuple[datetime, bool]:
    """Sort a change before the comment of the same write."""
    return entry.at, not entry.field


def _alarm(org: Org, case: Record) -> ShownAlarm | None:
    sobject = org.objects.get(ALARM)
    record = org.store.get(sobject, case[ALARM]) if sobject is not None and case.get(ALARM) else None
    if record is None or record.get("Case__c") != case["Id"]:
        return None
    first, last = (moment(text) if (text := record.get(name)) else None for name in ("First__c", "Last__c"))
    count, number = (int(record.get(name) or 0) for name in ("Count__c", "Number__c"))
    return ShownAlarm(str(record.get("State__c") or ""), count, first, last, number)

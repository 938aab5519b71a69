"""An alarm as its record in Salesforce: fields that people and list views read, and `Memory__c` with the rest. Pure.

`Memory__c` is JSON in a Long Text Area. What somebody else wrote into it, or cut, is not believed: then the alarm is
what the other fields say, and older events may count once more.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.formats.json_codec import json_bytes, parse_json
from sfconnector.alarms.alarm import ID_BYTES, MOST_IDS, Alarm, State, Wrote

KEY, CASE, NUMBER, STATE, COUNT = "Key__c", "Case__c", "Number__c", "State__c", "Count__c"
FIRST, LAST, SEVERITY, DUE, MEMORY = "First__c", "Last__c", "Severity__c", "Due__c", "Memory__c"
#: All but the key.
FIELDS = (CASE, NUMBER, STATE, COUNT, FIRST, LAST, SEVERITY, DUE, MEMORY)
#: Characters of `Memory__c`: ids take 2,732, and the longest values of the Case's fields that it may quote the rest.
MEMORY_LENGTH = 6000
#: Characters that the memory keeps of a value of the Case: a picklist's value has 255 at most.
_MOST_VALUE = 255


@dataclass(frozen=True, slots=True)
class RecordCodec:
    """`severities` are the names of the severities, the lowest first."""

    severities: Sequence[str] = ()

    def fields(self, alarm: Alarm) -> dict[str, Any]:
        """Return the fields of the record, but for its key and its Case, as JSON has them."""
        return {
            NUMBER: alarm.number,
            STATE: alarm.state.value,
            COUNT: alarm.count,
            FIRST: written_time(alarm.first),
            LAST: written_time(alarm.last),
            SEVERITY: self.severities[alarm.severity] if 0 <= alarm.severity < len(self.severities) else None,
            DUE: written_time(alarm.due),
            MEMORY: _memory(alarm),
        }

    def alarm(self, record: Mapping[str, Any]) -> Alarm:
        """Given a record with all fields, return the alarm."""
        memory = _read_memory(record.get(MEMORY))
        name = record.get(SEVERITY)
        return Alarm(
            state=_state(record.get(STATE)),
            number=_whole(record.get(NUMBER)),
            case_id=_text(record.get(CASE)),
            count=_whole(record.get(COUNT)),
            first=read_time(record.get(FIRST)),
            last=read_time(record.get(LAST)),
            severity=self.severities.index(name) if name in self.severities else -1,
            due=read_time(record.get(DUE)),
            **memory,
        )


def written_time(at: float) -> str | None:
    """Given seconds since 1970, return a time as Salesforce takes it, to the millisecond; None for 0."""
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: Any) -> float:
    """Given a time of a record (`2026-11-30T10:00:00.000+0000`), return seconds since 1970; 0.0 if it is none."""
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _memory(alarm: Alarm) -> str:
    wrote = alarm.wrote
    memory = {
        "ids": base64.b64encode(alarm.ids).decode(),
        "raise": alarm.raised,
        "clear": alarm.cleared,
        "flips": list(alarm.flips),
        "firing": alarm.firing,
        "wanted": alarm.wanted,
        "unseen": [alarm.unseen, alarm.unseen_first],
        "wrote": wrote and [_cut(wrote.status), _cut(wrote.owner), _cut(wrote.severity), wrote.rank],
        "commented": [alarm.comments, alarm.commented, alarm.commented_count],
        "noted": sorted(alarm.noted),
        "stale": alarm.stale,
    }
    return json_bytes(memory).decode()


def _cut(value: str | None) -> str | None:
    return value if value is None else value[:_MOST_VALUE]


def _read_memory(text: Any) -> dict[str, Any]:
    """Return what the memory says; nothing if anything in it is not as it was written."""
    try:
        memory = parse_json(text)
        ids = base64.b64decode(memory["ids"], validate=True)
        if len(ids) % ID_BYTES:
            return {}
        unseen, unseen_first = memory["unseen"]
        comments, commented, commented_count = memory["commented"]
        wrote = memory["wrote"]
        return {
            "ids": ids[-ID_BYTES * MOST_IDS :],
            "raised": float(memory["raise"]),
            "cleared": float(memory["clear"]),
            "flips": tuple(float(at) for at in memory["flips"]),
            "firing": memory["firing"] is True,
            "wanted": memory["wanted"] is True,
            "unseen": int(unseen),
            "unseen_first": float(unseen_first),
            "wrote": None if wrote is None else _read_wrote(*wrote),
            "comments": int(comments),
            "commented": float(commented),
            "commented_count": int(commented_count),
            "noted": frozenset(str(each) for each in memory["noted"]),
            "stale": memory["stale"] is True,
        }
    except (TypeError, ValueError, KeyError, binascii.Error, RecursionError):
        return {}


def _read_wrote(status: Any, owner: Any, severity: Any, rank: Any) -> Wrote:
    return Wrote(str(status), str(owner), None if severity is None else str(severity), int(rank))


def _state(value: Any) -> State:
    return State(value) if value in frozenset(State) else State.CLEARED


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

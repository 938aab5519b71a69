"""The values that the life-cycle of an alarm works on: the alarm, an event, its Case, what is written. Pure.

Times are seconds since 1970. `at` is a time of the device, which may be wrong; what runs out runs by our own clock.
"""

import hashlib
from dataclasses import field
from enum import StrEnum

from connectorlib.dataclass import dataclass

#: Event ids that an alarm remembers; older ones may count once more when they are replayed.
MOST_IDS = 256
#: Bytes of an id that are kept of its SHA-256: among 256 ids two are alike by chance once in 10^14 times.
ID_BYTES = 8


class State(StrEnum):
    """What an alarm is in. The words are those of `State__c`."""

    #: It was raised and not cleared since.
    ACTIVE = "active"
    #: It was cleared, and `clear.after` has not passed or its Case is not closed yet.
    CLEARING = "clearing"
    CLEARED = "cleared"
    #: It comes and goes too often: nothing happens to its Case until it is quiet.
    FLAPPING = "flapping"


class Effect(StrEnum):
    """What an event did to its alarm."""

    #: Its id is known: nothing.
    KNOWN = "known"
    #: It only counts: it was delivered again, and is older than what is known.
    LATE = "late"
    #: It only counts: `silence` holds for it.
    SILENCED = "silenced"
    #: It only counts: it is older than `max_age`.
    TOO_OLD = "too_old"
    #: A clear without an alarm.
    UNMATCHED = "unmatched"
    RAISED = "raised"
    REPEATED = "repeated"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Event:
    """A message, for its alarm."""

    id: str
    #: Whether it clears the alarm; else it raises it.
    clears: bool
    at: float
    #: Its position in `severity.order`; -1: it has none.
    severity: int = -1
    #: Whether it was delivered before or replayed, so that its place in the queue says nothing about its order.
    again: bool = False
    #: Why it only counts, `SILENCED` or `TOO_OLD`; None: it does more.
    only_counts: Effect | None = None
    #: Of the id, as the alarm remembers it.
    digest: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.id.encode()).digest()[:ID_BYTES])


@dataclass(frozen=True, slots=True)
class Wrote:
    """What the connector last set on the Case, or read from it when the Case was new."""

    status: str
    owner: str
    #: The value of the severity's field, and the severity that it stands for.
    severity: str | None = None
    rank: int = -1


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is known of a key: the fields of its record in Salesforce."""

    state: State = State.CLEARED
    #: How many Cases it has had, and the current one; "": it has none.
    number: int = 0
    case_id: str = ""
    #: Raises with distinct ids since its current Case began, and the times of the first and the newest.
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    severity: int = -1
    #: Digests of the latest event ids, one behind the other, the newest last.
    ids: bytes = b""
    #: The time of the newest raise that did more than count, and of the newest clear.
    raised: float = 0.0
    cleared: float = 0.0
    #: The times of raises after a clear, as far as they still count for `flapping`.
    flips: tuple[float, ...] = ()
    #: Whether the last event raised it, while it is flapping.
    firing: bool = False
    #: When something is due without an event (our clock); 0: never.
    due: float = 0.0
    #: Whether it was raised, and its Case was not looked at since.
    wanted: bool = False
    #: Raises that were counted since its Case was last seen open, and the time of the first of them: if it turns out to
    #: be closed, they are those of the next Case.
    unseen: int = 0
    unseen_first: float = 0.0
    #: None: not known yet.
    wrote: Wrote | None = None
    #: Comments on the current Case: how many, when the latest was made, and the count then.
    comments: int = 0
    commented: float = 0.0
    commented_count: int = 0
    #: What was commented on since the alarm was last raised.
    noted: frozenset[str] = frozenset()
    #: Whether it is cleared for want of events.
    stale: bool = False

    @property
    def newest(self) -> float:
        """The time of the newest event that did more than count."""
        return max(self.raised, self.cleared)


@dataclass(frozen=True, slots=True)
class CaseSeen:
    """A Case as it is in Salesforce now."""

    id: str
    status: str
    owner: str
    closed: bool = False
    closed_at: float = 0.0
    severity: str | None = None
    #: Whether somebody else than its creator has changed it last.
    touched: bool = False
    #: Whether it is not the one that was created for the alarm: an agent has merged that into this one.
    merged: bool = False
    #: Whether `reopen.never` holds for it.
    final: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """Create the Case of this number; `parent` is the Case that it succeeds, "" if there is none."""

    number: int
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """Change the Case; None stays as it is. `comment` names the occasion: `alarm.AlarmRules` has no texts."""

    case_id: str
    status: str | None = None
    severity: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class AlarmRules:
    """The section `case.alarm` as far as it decides. Durations are seconds; 0 switches off."""

    #: The value of the severity's field for each severity, None if it is left alone.
    severities: tuple[str | None, ...] = ()
    reopen_within: float = 86_400.0
    reopen_status: str = "New"
    clear_after: float = 120.0
    close: str = "untouched"  # untouched | always | never
    close_status: str = "Closed"
    #: Occasions that are commented on: created from the texts of the configuration.
    comments_on: frozenset[str] = frozenset()
    comment_every: float = 3600.0
    comments: int = 20
    flapping_changes: int = 0
    flapping_within: float = 600.0
    flapping_quiet: float = 1800.0
    stale: float = 0.0


#: Occasions of comments.
REPEATED, REOPENED, CLEARED, FLAPPED, STALE = "repeated", "reopened", "cleared", "flapping", "stale"


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be written, and the alarm as it is then."""

    alarm: Alarm
    write: Create | Update | None = None
    #: Whether the alarm fires and `reopen.never` keeps its Case closed.
    muted: bool = False

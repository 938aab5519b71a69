"""From a record of a message to the event of its alarm: key, id, time, severity, whether it clears it. Pure.

A key is that of its division, so that the divisions of an org do not meet. The time is the device's, unless its clock
is off by more than `late`: then it is that of the arrival, except for what an operator has replayed, which is late.
"""

import hashlib
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from connectorlib.errors import reject
from connectorlib.expressions import MISSING, Scope, compile_condition, compile_expression, describe_missing, shorten
from connectorlib.messages import Delivery
from connectorlib.values.text import text_of
from connectorlib.values.types import to_epoch_ms, to_epoch_s, to_timestamp
from sfconnector.alarms.alarm import Effect, Event
from sfconnector.settings import AlarmSettings
from sfconnector.soql import can_be_held

PLACE = "alarm"
#: Characters of a key; a longer one is cut, and a hash makes it unique.
MOST_KEY = 200
_KEPT = 100
#: The header that the dead-letter tool writes on what it sends back.
REPLAYS = "dead-replays"
#: A number above this is a time in milliseconds: as seconds it would be in the year 5138.
_MILLISECONDS = 100_000_000_000
_NUMBERS = frozenset({int, float, Decimal})
#: Milliseconds since 1970 at the end of the year 9999.
_LATEST = 253_402_300_799_999


class Read(NamedTuple):
    """An event of an alarm; `moved`: its time is not the one that the device says."""

    key: str
    event: Event
    moved: bool


class EventReader:
    """Reads the events of one division. Any thread may use it."""

    def __init__(self, settings: AlarmSettings, division: str) -> None:
        self._settings = settings
        self._division = division
        self._key = compile_expression(settings.key)
        self._at = None if settings.at is None else compile_expression(settings.at)
        self._event = compile_expression(settings.event)
        self._clear_when = compile_condition(settings.clear_when) if settings.clear_when else None
        self._clears = self._clear_when.matches if self._clear_when else None
        self._severity = None if settings.severity is None else compile_expression(settings.severity.path)
        self._silences = [(compile_condition(each.match).matches, each.begin, each.end) for each in settings.silence]
        #: Of messages without an id: each delivery is an event of its own.
        self._process = uuid.uuid4().hex

    def read(self, record: Any, scope: Scope, now: float) -> Read:
        """Return the event of a record. Raise Failed (reject)."""
        delivery = scope.delivery
        assert delivery is not None
        replayed = REPLAYS in delivery.headers
        given = self._given_time(record, scope)
        at, moved = _trusted(given, _sent(delivery), now, self._settings.late, replayed=replayed)
        clears = self._clears is not None and self._clears(record, scope)
        event = Event(
            id=self._id(record, scope, delivery),
            clears=clears,
            at=at,
            severity=-1 if clears else self._rank(record, scope),
            again=delivery.redelivered or replayed,
            only_counts=None if clears else self._only_counts(record, scope, given, now),
        )
        return Read(self.key(record, scope), event, moved)

    def reason(self, record: Any, scope: Scope) -> str:
        """Return what a record does to which alarm and why, for a person. Raise Failed (reject)."""
        key = self.key(record, scope)
        if self._clear_when is None:
            return f"alarm {key}: raised"
        holds = self._clear_when.matches(record, scope)
        done = "cleared: clear_when holds" if holds else "raised: clear_when does not hold"
        return f"alarm {key}: {done}: {self._clear_when.reason(record, scope)}"

    def key(self, record: Any, scope: Scope) -> str:
        """Return the key of a record's alarm, as it is stored. Raise Failed (reject)."""
        try:
            value = self._key.evaluate(record, scope)
        except ValueError as error:
            raise reject("bad-value", shorten(str(error)), place=PLACE, detail="alarm.key") from error
        if isinstance(value, list | dict | bytes):
            raise reject("bad-value", "a key is a text or a number", place=PLACE, detail="alarm.key")
        text = "" if value is MISSING or value is None else text_of(value).strip()
        if not text:
            why = describe_missing(self._key, record, scope)
            raise reject("no-key", "the message has no alarm key", place=PLACE, detail=f"alarm.key <- {why}")
        return stored_key(self._division, text)

    def _id(self, record: Any, scope: Scope, delivery: Delivery) -> str:
        value = self._event.evaluate(record, scope)
        if value is MISSING or value is None or value == "":
            return f"{self._process} {delivery.generation} {delivery.tag} {scope.index}"
        return f"{text_of(value)} {scope.index}" if scope.index else text_of(value)

    def _given_time(self, record: Any, scope: Scope) -> float | None:
        """Return the time that the message says; None: it says none."""
        if self._at is None:
            return None
        try:
            value = self._at.evaluate(record, scope)
            return None if value is MISSING or value is None or value == "" else _seconds(value)
        except (ValueError, OverflowError) as error:
            raise reject("bad-value", shorten(str(error)), place=PLACE, detail="alarm.at") from error

    def _rank(self, record: Any, scope: Scope) -> int:
        severity = self._settings.severity
        if severity is None or self._severity is None:
            return -1
        value = self._severity.evaluate(record, scope)
        text = "" if value is MISSING or value is None else text_of(value)
        return severity.order.index(text) if text in severity.order else -1

    def _only_counts(self, record: Any, scope: Scope, given: float | None, now: float) -> Effect | None:
        """Return why a raise only counts; None: it does more."""
        for matches, begin, end in self._silences:
            if begin <= now < end and matches(record, scope):
                return Effect.SILENCED
        assert scope.delivery is not None
        return Effect.TOO_OLD if self._is_old(given, scope.delivery, now) else None

    def _is_old(self, given: float | None, delivery: Delivery, now: float) -> bool:
        """Whether it waited too long to become a Case, by the broker's time or else by the device's."""
        if not self._settings.max_age:
            return False
        since = _sent(delivery) or given
        return bool(since and now - since > self._settings.max_age)


def key_prefix(division: str) -> str:
    """Return what the stored keys of a division begin with, and those of no other division."""
    return f"{division.replace('%', '%25').replace(':', '%3A')}:"


@lru_cache(maxsize=4096)  # most messages are repeats
def stored_key(division: str, key: str) -> str:
    """Return a key as it is stored: with the name of the division, and cut where the field does not take it."""
    stored = f"{key_prefix(division)}{key}"
    if len(stored) <= MOST_KEY and can_be_held(stored):
        return stored
    digest = hashlib.sha256(stored.encode("utf-8", "surrogatepass")).hexdigest()
    kept = "".join(each if can_be_held(each) else "?" for each in stored[:_KEPT])
    return f"{kept.strip()}…{digest}"


def _trusted(given: float | None, sent: float | None, now: float, late: float, *, replayed: bool) -> tuple[float, bool]:
    """Return the time of an event, and whether it is not the given one."""
    arrived = now if sent is None else sent
    if given is None:
        return arrived, False
    if given <= now + late and (replayed or abs(given - now) <= late or abs(given - arrived) <= late):
        return given, False
    return arrived, True


def _sent(delivery: Delivery) -> float | None:
    """Return when the broker took the message, where its plugin for time stamps says so."""
    at = delivery.headers.get("timestamp_in_ms")
    return at / 1000 if isinstance(at, int) and not isinstance(at, bool) and at > 0 else None


def _seconds(value: Any) -> float:
    """Return a time, as text or as a number of seconds or milliseconds since 1970, in seconds. Raise ValueError."""
    if type(value) in _NUMBERS:
        if 0 < value < _LATEST:  # nearly always
            number = float(value)
            return number / 1000 if number > _MILLISECONDS else number
        moment: datetime = to_epoch_ms(value) if value > _MILLISECONDS else to_epoch_s(value)
    else:
        moment = to_timestamp(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

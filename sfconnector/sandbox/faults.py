"""Injected faults: rules that decide which calls fail, how often and how. application.py carries them out.

A rule: {"match": {...}, "times": 1, "skip": 0, "probability": 1, "seconds": 30, "action": {...}}. It fits when all of
`match` fit: `method`, `path` (a pattern found in it), `user` (of a log-in: the name given), `record` ({field: pattern},
one record of the body has to fit). `times` null: any number of calls. `seconds`: how long it lasts; null: until it is
removed. A rule with a `name` replaces the one of that name, and goes before all others.

Keys of an action:
    delay_ms, delay_after_ms    wait before, or after, the org handles the call
    drop_before                 cut the connection; the org does nothing
    drop_after_commit           cut the connection after the org has handled the call
    reset                       with either: RST instead of an orderly end
    status, body | html | errorCode, message, fields, headers    the answer; the org does nothing
    commit                      with `status`: the org handles the call nevertheless
    record                      {statusCode, message, fields}: the result of the records that fit `match.record`
    truncate                    so many bytes of the answer's body, then the end of the connection
    slow_body_ms                between the pieces of the answer's body
    close                       an orderly `Connection: close`
"""

import math
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from connectorlib.dataclass import dataclass

RULE_KEYS = {"name", "match", "times", "skip", "probability", "seconds", "action"}
MATCH_KEYS = {"method", "path", "user", "record"}
ACTION_KEYS = {
    "delay_ms", "delay_after_ms", "drop_before", "drop_after_commit", "reset", "status", "body", "html", "errorCode",
    "message", "fields", "headers", "commit", "record", "truncate", "slow_body_ms", "close",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """A call, as far as rules match it."""

    method: str
    path: str
    user: str
    records: Sequence[Any] = ()


@dataclass(slots=True)
class FaultRule:
    id: int
    name: str
    action: Mapping[str, Any]
    methods: frozenset[str] = frozenset()
    path: re.Pattern[str] | None = None
    user: str | None = None
    record: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    until: float = math.inf  # by the clock of Faults
    taken: int = 0

    def is_active(self, now: float) -> bool:
        """Return whether it may still apply to a call."""
        return now < self.until and (self.times is None or self.taken < self.times)

    def fits(self, call: IncomingCall) -> bool:
        return (
            (not self.methods or call.method in self.methods)
            and (self.path is None or self.path.search(call.path) is not None)
            and (self.user is None or self.user == call.user)
            and (not self.record or any(self.fits_record(record) for record in call.records))
        )

    def fits_record(self, record: object) -> bool:
        """Return whether the record has every field of `match.record`, with a value that matches the pattern."""
        if not isinstance(record, Mapping):
            return False
        return all(name in record and pattern.search(str(record[name])) for name, pattern in self.record.items())


class Faults:
    """The rules, named ones first; the first that is active and fits a call applies."""

    def __init__(self, seed: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules: list[FaultRule] = []
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311  # not for secrets
        self._clock = clock
        self._numbers = 0

    def add(self, given: Mapping[str, Any]) -> int:
        """Add a rule and return the number. Raise ValueError for an unknown key."""
        with self._lock:
            self._numbers += 1
            new = rule(self._numbers, given, self._clock())
            if "name" in given:
                self._rules = [new, *(each for each in self._rules if each.name != new.name)]
            else:
                self._rules.append(new)
            return new.id

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, call: IncomingCall) -> FaultRule | None:
        """Return the rule for this call and count it, or None."""
        with self._lock:
            now = self._clock()
            for each in self._rules:
                if not each.is_active(now) or not each.fits(call):
                    continue
                if each.skip:
                    each.skip -= 1
                    continue
                if self._random.random() < each.probability:
                    each.taken += 1
                    return each
        return None

    def listed(self) -> list[dict[str, Any]]:
        """Return all rules as JSON; `seconds` is how much longer each lasts, None if it has no end."""
        with self._lock:
            now = self._clock()
            return [_listed(each, now) for each in self._rules]


def _listed(each: FaultRule, now: float) -> dict[str, Any]:
    left = None if each.until == math.inf else max(0.0, round(each.until - now, 3))
    shown = {"id": each.id, "name": each.name, "taken": each.taken, "times": each.times}
    return shown | {"active": each.is_active(now), "seconds": left}


def rule(number: int, given: Mapping[str, Any], now: float) -> FaultRule:
    """Given a rule as JSON, return it. Raise ValueError for a bad one."""
    match, action = given.get("match", {}), given.get("action", {})
    for what, keys, known in (
        ("rule", given, RULE_KEYS),
        ("match", match, MATCH_KEYS),
        ("action", action, ACTION_KEYS),
    ):
        if not isinstance(keys, Mapping) or not keys.keys() <= known:
            raise ValueError(f"{what}: expected an object with some of {', '.join(sorted(known))}")
    if not action:
        raise ValueError("action: expected what is to happen")
    methods, seconds = match.get("method", ()), given.get("seconds")
    try:
        return FaultRule(
            number,
            str(given.get("name", f"rule {number}")),
            action,
            methods=frozenset([methods] if isinstance(methods, str) else methods),
            path=re.compile(match["path"]) if "path" in match else None,
            user=match.get("user"),
            record={name: re.compile(pattern) for name, pattern in match.get("record", {}).items()},
            times=given.get("times", None if "probability" in given else 1),
            skip=int(given.get("skip", 0)),
            probability=float(given.get("probability", 1.0)),
            until=math.inf if seconds is None else now + float(seconds),
        )
    except (re.error, TypeError) as error:
        raise ValueError(f"match: {error}") from error

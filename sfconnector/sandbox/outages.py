"""The outages that an operator can rehearse: a word for each, and the fault rule behind it (faults.py)."""

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from connectorlib.dataclass import dataclass
from sfconnector.sandbox.api_limit import REFUSAL

if TYPE_CHECKING:
    from sfconnector.sandbox.world import World

OK = "ok"
SLOW_SECONDS = 5

_CALLS = "^/services/data/v"
_LOG_IN = "^/services/oauth2/token$"


@dataclass(frozen=True, slots=True)
class Outage:
    """Its text for people, its rule without name and duration, and whether sessions end at its start."""

    about: str
    match: Mapping[str, Any] = field(default_factory=dict)
    action: Mapping[str, Any] = field(default_factory=dict)
    ends_sessions: bool = False


OUTAGES: Mapping[str, Outage] = {
    "503": Outage(
        "Every request is answered 503 without a body.",
        action={"status": 503},
    ),
    "expired": Outage("All sessions end, once; the next login works.", ends_sessions=True),
    "locked-user": Outage(
        "All sessions end, and logins are refused.",
        {"path": _LOG_IN},
        {"status": 400, "body": {"error": "invalid_grant", "error_description": "authentication failure"}},
        ends_sessions=True,
    ),
    "limits": Outage(
        "No API calls are left: REQUEST_LIMIT_EXCEEDED.",
        {"path": _CALLS},
        {"status": 403, "errorCode": REFUSAL[0], "message": REFUSAL[1]},
    ),
    "slow": Outage(f"Every answer takes {SLOW_SECONDS} seconds.", action={"delay_ms": SLOW_SECONDS * 1000}),
    "lost": Outage(
        "Writes are committed, but the answer is lost.",
        {"path": _CALLS, "method": ["POST", "PATCH", "PUT", "DELETE"]},
        {"drop_after_commit": True},
    ),
}
WORDS: Mapping[str, str] = {word: outage.about for word, outage in OUTAGES.items()} | {OK: "All faults end."}


def lasts(word: str) -> bool:
    """Return whether the outage of a word has a duration."""
    return word in OUTAGES and bool(OUTAGES[word].action)


def rule_of(word: str, seconds: float | None = None, user: str | None = None) -> dict[str, Any] | None:
    """Return the fault rule of a word, as JSON: for all users or one, for some seconds or without end. None if the word
    needs none. Raise ValueError for an unknown word, and for a duration or user of a word that takes none."""
    if word not in WORDS:
        raise ValueError(f"expected one of {', '.join(WORDS)}")
    if word == OK and user is not None:
        raise ValueError(f"{word} ends the faults of all users")
    if not lasts(word):
        if seconds is not None:
            raise ValueError(f"{word} happens once and has no duration")
        return None
    outage = OUTAGES[word]
    name, match = (word, outage.match) if user is None else (f"{word} {user}", {**outage.match, "user": user})
    return {"name": name, "match": {**match}, "times": None, "seconds": seconds, "action": {**outage.action}}


def begin(world: "World", word: str, seconds: float | None = None, user: str | None = None) -> None:
    """Begin an outage, or end all faults. Raise ValueError as `rule_of`."""
    rule = rule_of(word, seconds, user)
    if word == OK:
        world.faults.clear()
        return
    if rule is not None:
        world.faults.add(rule)
    if OUTAGES[word].ends_sessions:
        world.accounts.end_sessions(user)


def active(world: "World") -> list[dict[str, Any]]:
    """Return the faults that may still happen, as `Faults.listed`."""
    return [each for each in world.faults.listed() if each["active"]]

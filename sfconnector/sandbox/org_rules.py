"""What an org's administrators set up: validation and assignment rules, automation that fails, locks, rights, storage.

All of it is plain values, so that it can come from a file or a request and go back into one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class ValidationRule:
    """Refuses records for which `when` holds: a condition as in SOQL, or a function of the record; "" holds always.

    With another `code` it is a trigger or a flow that fails. `more_than` makes it one that only large calls meet, as
    those that use up a governor limit: it holds for calls with more records of the object than that.
    """

    object: str
    message: str
    when: str | Callable[[Mapping[str, Any]], bool] = ""
    field: str | None = None
    code: str = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    more_than: int = 0
    active: bool = True


@dataclass(frozen=True, slots=True)
class AssignmentEntry:
    """The first entry whose `when` holds gives the Case its owner: a user's or a queue's id."""

    owner: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class AssignmentRule:
    """Sets the owner. The active one is used without a header; one that is named by its id is used, active or not."""

    id: str
    entries: tuple[AssignmentEntry, ...]
    active: bool = True
    object: str = "Case"


@dataclass(slots=True)
class Rules:
    validation: list[ValidationRule] = field(default_factory=list)
    assignment: list[AssignmentRule] = field(default_factory=list)
    #: By object, the fields in which a new record may not be like another one (unless the call allows it).
    duplicates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Records that somebody else holds a lock on: whatever refers to them fails.
    locked: set[str] = field(default_factory=set)
    #: Records that nobody has the right to refer to.
    hidden: set[str] = field(default_factory=set)
    #: Users who may write nothing.
    read_only_users: set[str] = field(default_factory=set)
    storage_full: bool = False
    #: Whether an unknown field refuses the `request` or its `record` alone; no source says which it is in an org.
    unknown_field_scope: str = "request"
    #: Of records of one call that share a unique value, whether the `first` passes or they fail `both`; as above.
    duplicates_in_call: str = "first"

    def take(self, given: Mapping[str, Any], check: Callable[[str, str], object]) -> None:
        """Set what is given, as `told` returns it. `check` gets each object with a condition and raises for those that
        it does not know. Raise ValueError, and then nothing is set."""
        known = {each.name for each in fields(self)}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        try:
            read = {name: _READERS[name](value) for name, value in given.items()}
        except (TypeError, KeyError) as error:
            raise ValueError(f"a rule lacks a key or has one too many: {error}") from error
        for sobject, condition in _conditions(read):
            check(sobject, condition)
        for name, value in read.items():
            setattr(self, name, value)

    def told(self) -> dict[str, Any]:
        """Return everything as JSON can say it. Rules that are functions are left out."""
        told = asdict(self)
        told["validation"] = [each for each in told["validation"] if isinstance(each["when"], str)]
        for name in ("locked", "hidden", "read_only_users"):
            told[name] = sorted(told[name])
        return told


def _validation(given: Iterable[Any]) -> list[ValidationRule]:
    return [each if isinstance(each, ValidationRule) else ValidationRule(**each) for each in given]


def _assignment(given: Iterable[Any]) -> list[AssignmentRule]:
    rules = []
    for each in given:
        if not isinstance(each, AssignmentRule):
            entries = tuple(AssignmentEntry(**entry) for entry in each["entries"])
            each = AssignmentRule(**{**each, "entries": entries})
        rules.append(each)
    return rules


def _duplicates(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(listed) for name, listed in given.items()}


def _one_of(*choice: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choice:
            raise ValueError(f"{value!r} is none of {', '.join(choice)}")
        return str(value)

    return read


def _conditions(read: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for rule in read.get("validation", ()):
        yield rule.object, rule.when if isinstance(rule.when, str) else ""
    for rule in read.get("assignment", ()):
        for entry in rule.entries:
            yield rule.object, entry.when
    for name in read.get("duplicates", ()):
        yield name, ""


_READERS: dict[str, Callable[[Any], Any]] = {
    "validation": _validation,
    "assignment": _assignment,
    "duplicates": _duplicates,
    "locked": set,
    "hidden": set,
    "read_only_users": set,
    "storage_full": bool,
    "unknown_field_scope": _one_of("request", "record"),
    "duplicates_in_call": _one_of("first", "both"),
}

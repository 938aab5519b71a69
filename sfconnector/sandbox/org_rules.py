"""An org's set-up: validation and assignment rules, automation that fails, locks, rights, storage. Plain values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, field, fields
from typing import Any

from connectorlib.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class ValidationRule:
    """Refuses records for which `when` holds: a condition as in SOQL, or a function of the record; "" holds always.

    With another `code` it acts as a trigger or a flow that fails. With `more_than` it applies only to calls with more
    records of the object than that, like a governor limit.
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
    """An owner (the id of a user or a queue) and the condition for it; the first entry that fits applies."""

    owner: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class AssignmentRule:
    """Sets the owner. Without a header the active one applies; one named by its id applies, active or not."""

    id: str
    entries: tuple[AssignmentEntry, ...]
    active: bool = True
    object: str = "Case"


@dataclass(slots=True)
class Rules:
    validation: list[ValidationRule] = field(default_factory=list)
    assignment: list[AssignmentRule] = field(default_factory=list)
    #: Who gets a Case for which no assignment rule has an owner, whenever assignment is asked for; "": nobody.
    default_case_owner: str = ""
    #: By object, the fields by which a new record is a duplicate of another (unless the call allows it).
    duplicates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Records locked by another transaction: writing a record that refers to them fails.
    locked: set[str] = field(default_factory=set)
    #: Records that nobody may see or refer to.
    hidden: set[str] = field(default_factory=set)
    #: Users without the right to write.
    read_only_users: set[str] = field(default_factory=set)
    storage_full: bool = False
    #: Whether an unknown field refuses the `request` or its `record` alone; undocumented, so both can be tried.
    unknown_field_scope: str = "request"
    #: Whether of two records of a call with one unique value the `first` is written or `both` fail; as above.
    duplicates_in_call: str = "first"

    def take(self, given: Mapping[str, Any], check: Callable[[str, str], object]) -> None:
        """Set these settings, in the form of `export`. `check` raises for an unknown object or a bad condition. Raise
        ValueError; then nothing is set."""
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

    def export(self) -> dict[str, Any]:
        """Return everything as JSON values, without the rules that are functions."""
        values = asdict(self)
        values["validation"] = [each for each in values["validation"] if isinstance(each["when"], str)]
        for name in ("locked", "hidden", "read_only_users"):
            values[name] = sorted(values[name])
        return values


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
    "default_case_owner": str,
    "duplicates": _duplicates,
    "locked": set,
    "hidden": set,
    "read_only_users": set,
    "storage_full": bool,
    "unknown_field_scope": _one_of("request", "record"),
    "duplicates_in_call": _one_of("first", "both"),
}

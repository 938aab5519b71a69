"""An org with alarms and Cases in memory, whose calls can be cut anywhere: each writes in steps, as Salesforce does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from connectorlib.errors import Failed, Failure, Kind
from sfconnector.alarms.alarm import Alarm, CaseSeen
from sfconnector.alarms.register import Change, Opening

LOST = Failure(Kind.UNAVAILABLE, "no-answer", "nothing came back")
RULE_OWNER = "queue"


class Crash(Exception):
    """The process ends here."""


@dataclass
class Case:
    id: str
    key: str
    parent: str = ""
    status: str = "New"
    owner: str = RULE_OWNER
    severity: str | None = None
    closed_at: float = 0.0
    #: When an agent deleted it; 0: it is there.
    deleted_at: float = 0.0
    changed_by_agent: bool = False
    #: Status and owner since the connector last wrote it.
    ours: tuple[str, str] = ("New", RULE_OWNER)
    comments: int = 0

    @property
    def closed(self) -> bool:
        return self.status.startswith("Closed")

    @property
    def is_untouched(self) -> bool:
        return (self.status, self.owner) == self.ours


@dataclass(frozen=True)
class Set:
    """A field of a Case that the connector has set."""

    field: str
    before: str | None
    after: str
    untouched: bool


class MemoryOrg:
    def __init__(self) -> None:
        self.now = 0.0
        self.alarms: dict[str, Alarm] = {}
        self.cases: dict[str, Case] = {}
        #: Steps until a call is cut; negative: it is not. What happens then: Crash, or LOST.
        self.cut_after = -1
        self.cut_by: Exception = Crash()
        self.calls: list[str] = []
        #: Why a Case with this key is refused, once.
        self.refused: dict[str, Failure] = {}
        #: What was written on Cases, in the words of tests.
        self.log: list[str] = []
        #: What the connector set on Cases.
        self.set: list[Set] = []

    def step(self) -> None:
        if self.cut_after == 0:
            self.cut_after = -1
            raise self.cut_by
        self.cut_after -= self.cut_after > 0

    def cases_of(self, key: str) -> list[Case]:
        return [case for case in self.cases.values() if case.key.rpartition("#")[0] == key and not case.deleted_at]

    def current(self, key: str) -> Case | None:
        alarm = self.alarms.get(key)
        case = self.cases.get(alarm.case_id) if alarm else None
        return None if case is None or case.deleted_at else case

    def seen(self, key: str) -> CaseSeen | None:
        case = self.current(key)
        if case is None:
            return None
        return CaseSeen(
            case.id,
            case.status,
            case.owner,
            case.closed,
            case.closed_at,
            case.severity,
            touched=case.changed_by_agent,
            merged=case.key != f"{key}#{self.alarms[key].number}",
            final=case.status == "Closed - will not fix",
        )

    def merge(self, case: Case, into: Case | None = None) -> None:
        """As an agent does; look-ups lead to the other Case then. None: into one of the agent's own."""
        if into is None:
            into = Case(f"case {len(self.cases) + 1}", f"agent's {len(self.cases) + 1}")
            self.cases[into.id] = into
        into.changed_by_agent, case.deleted_at = True, self.now
        for key, alarm in self.alarms.items():
            if alarm.case_id == case.id:
                self.alarms[key] = replace(alarm, case_id=into.id)

    # The calls of the connector

    def load(self, keys: Sequence[str]) -> Mapping[str, Alarm]:
        self.calls.append("load")
        self.step()
        return {key: self.alarms[key] for key in keys if key in self.alarms}

    def save(self, alarms: Mapping[str, Alarm]) -> Mapping[str, CaseSeen | Failure | None]:
        self.calls.append("save")
        for key, alarm in alarms.items():
            self.step()
            assert key in self.alarms, "a record that is not there is written"
            self.write(key, alarm)
        self.step()
        return {key: self.seen(key) for key in alarms}

    def write(self, key: str, alarm: Alarm) -> None:
        """Only the call that creates a Case writes the look-up to it."""
        self.alarms[key] = replace(alarm, case_id=self.alarms[key].case_id)

    def change(self, changes: Mapping[str, Change]) -> Mapping[str, Failure | None]:
        self.calls.append("change")
        changed = [change.update.case_id for change in changes.values()]
        assert len(changed) == len(set(changed)), "a call changes a Case twice"
        for key, change in changes.items():
            self.step()
            case, update = self.cases[change.update.case_id], change.update
            words = [update.status, update.severity, update.comment and f"comment: {update.comment}"]
            self.log.append(f"{case.key}: " + ", ".join(word for word in words if word))
            if update.status is not None:
                self.set.append(Set("status", case.status, update.status, case.is_untouched))
                case.closed_at = self.now if update.status == "Closed" else 0.0
                case.status = update.status
                case.ours = (case.status, case.owner)
            if update.severity is not None:
                self.set.append(Set("severity", case.severity, update.severity, case.is_untouched))
                case.severity = update.severity
            case.comments += update.comment is not None
            self.step()
            self.write(key, change.alarm)
        self.step()
        return dict.fromkeys(changes)

    def open(self, openings: Mapping[str, Opening]) -> Mapping[str, CaseSeen | Failure]:
        self.calls.append("open")
        seen: dict[str, CaseSeen | Failure] = {}
        for key, opening in openings.items():
            self.step()
            self.alarms.setdefault(key, Alarm())
            self.step()
            case_key = f"{key}#{opening.create.number}"
            case = next((each for each in self.cases.values() if each.key == case_key), None)
            if case_key in self.refused:
                seen[key] = self.refused.pop(case_key)
                continue
            if case is None:
                case = Case(f"case {len(self.cases) + 1}", case_key, opening.create.parent)
                case.severity = opening.fields.get("Priority")
                self.cases[case.id] = case
                self.log.append(
                    f"{case_key}: new" + (f" after {opening.create.parent}" if opening.create.parent else "")
                )
            self.step()
            self.alarms[key] = replace(opening.alarm, case_id=case.id)
            found = self.seen(key)
            assert found is not None
            seen[key] = found
        self.step()
        return seen


def lost() -> Failed:
    return Failed(LOST)

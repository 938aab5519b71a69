"""The calls for alarms: records and their Cases together, by Composite, so that most batches cost one call.

Records are written by key, Cases by id. Everything that is written is absolute, and a Case's key is unique, so a call
that is sent twice does no harm. A call that may change a Case carries `Sforce-Auto-Assign: FALSE`: the header defaults
to TRUE and would take the Case from its agent.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.pipeline.flood import Brake
from sfconnector import soql
from sfconnector.alarms.alarm import Alarm, CaseSeen, State
from sfconnector.alarms.alarm_brake import AlarmBrake
from sfconnector.alarms.alarm_record import CASE, DUE, FIELDS, KEY, NUMBER, STATE, RecordCodec, read_time, written_time
from sfconnector.alarms.register import Change, Opening
from sfconnector.batch_send import CallSizes
from sfconnector.mapping import Decoded
from sfconnector.record_outcome import NO_RULE as NO_ASSIGNMENT
from sfconnector.record_outcome import OWNER, Judge, LeaveOut
from sfconnector.salesforce import error_codes, responses
from sfconnector.salesforce.error_codes import SfError
from sfconnector.salesforce.responses import Result
from sfconnector.settings import AlarmSettings

if TYPE_CHECKING:
    from sfconnector.salesforce.client import Client, Subrequest

Answer = TypeVar("Answer")

PLACE = "alarm"
#: Of Cases that are changed: new ones pass another place, and what refuses the ones need not refuse the others.
CHANGED = "changed case"
#: Records of a collection (sObject Collections, REST API guide).
MOST_RECORDS = 200
#: Bytes of the keys in one query; the rest of the address is the names.
MOST_KEY_BYTES = soql.MAX_ADDRESS - 2_000
#: The header with which no assignment rule runs.
NO_RULE = {"Sforce-Auto-Assign": NO_ASSIGNMENT}
#: Characters of a comment (`Case.Comments`, object reference).
MOST_COMMENT = 4000


@dataclass(frozen=True, slots=True)
class OrgNames:
    """What the org calls it: the object, and on Case the key, the look-up to the alarm, the severity's field."""

    sobject: str = "Alarm__c"
    case_key: str = "Alarm_Key__c"
    case_alarm: str = "Alarm__c"
    #: Whether `Key__c` tells capitals from small letters.
    case_sensitive: bool = True
    severity: str | None = None
    #: Fields that `reopen.never` looks at.
    never: tuple[str, ...] = ()

    @property
    def case_fields(self) -> list[str]:
        """The fields of a Case that are looked at."""
        names = [self.case_key, "Status", "OwnerId", "IsClosed", "ClosedDate", "CreatedById", "LastModifiedById"]
        return list(dict.fromkeys([*names, *([self.severity] if self.severity else []), *self.never]))


def names_of(settings: AlarmSettings) -> OrgNames:
    """Return the names that the configuration has."""
    severity = settings.severity.case_field if settings.severity else None
    never = settings.never_fields
    return OrgNames(settings.object, settings.case_key, settings.case_alarm, severity=severity, never=never)


def relationship(field: str) -> str:
    """Given a custom look-up, return the name of its relationship: `Case__c` becomes `Case__r`."""
    return field[:-1] + "r"


class AlarmCalls:
    """An org's alarms. Used by one thread."""

    def __init__(
        self,
        client: "Client",
        names: OrgNames,
        codec: RecordCodec,
        *,
        comment: Callable[[str, str, Alarm], str] = lambda key, occasion, alarm: occasion,
        is_final: Callable[[Mapping[str, Any]], bool] = lambda case: False,
        judge: Judge | None = None,
        brake: AlarmBrake | None = None,
        sizes: CallSizes | None = None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        """`comment` is asked for the text of a comment, by key, occasion and alarm; `is_final` whether a Case is never
        reopened; `judge` decides about refusals, by what the configuration says; `brake` counts them; `sizes`
        says how many alarms a call may have; `guard` raises before a call that is not to be made any more."""
        self._client = client
        self._names = names
        self._codec = codec
        self._comment = comment
        self._is_final = is_final
        self._judge = judge or Judge(PLACE)
        self._brake = brake or AlarmBrake(Brake(0))
        self._sizes = sizes or CallSizes(PLACE)
        self._guard = guard

    def load(self, keys: Sequence[str]) -> dict[str, Alarm]:
        """Return the records that there are. Raise Failed."""
        found: dict[str, Alarm] = {}
        for chunk in chunks(keys):
            query = soql.select(self._names.sobject, [KEY, *FIELDS], {KEY: [soql.quote(key) for key in chunk]})
            self._guard()
            records = self._client.query(query)
            alarms = {self._fold(record.get(KEY)): self._codec.alarm(record) for record in records}
            found |= {key: alarms[self._fold(key)] for key in chunk if self._fold(key) in alarms}
        return found

    def overdue(self, prefix: str, before: float) -> list[str]:
        """Return keys that begin with this for which something was due before then, the oldest first. Raise Failed."""
        self._guard()
        where = f"{DUE} < {written_time(before)} AND {KEY} LIKE {soql.beginning(prefix)}"
        query = f"SELECT {KEY} FROM {self._names.sobject} WHERE {where} ORDER BY {DUE} LIMIT {MOST_RECORDS}"
        keys = [str(record.get(KEY)) for record in self._client.query(query)]
        return [key for key in keys if key.startswith(prefix)]  # LIKE does not tell capital letters apart

    def count(self, prefix: str, states: Sequence[State]) -> dict[State, int]:
        """Return how many alarms whose key begins with this are in each of these states, five at most. Raise Failed."""
        queries = [
            f"SELECT COUNT() FROM {self._names.sobject} WHERE {STATE} = {soql.quote(state)} AND "
            f"{KEY} LIKE {soql.beginning(prefix)}"
            for state in states
        ]
        answers = self._composite([self._subrequest("GET", f"query?q={soql.encoded(query)}") for query in queries])
        return {state: self._total(answer) for state, answer in zip(states, answers, strict=True)}

    def save(self, alarms: Mapping[str, Alarm]) -> dict[str, CaseSeen | Failure | None]:
        """Write records, then return their Cases. Raise Failed."""
        return self._in_calls(alarms, partial(self._save, alarms))

    def _save(self, alarms: Mapping[str, Alarm], keys: Sequence[str]) -> dict[str, CaseSeen | Failure | None]:
        written, seen = self._composite([self._write(alarms, keys), self._look(keys)])
        cases = self._cases(seen)
        results = zip(keys, self._results(written, len(keys)), strict=True)
        return {key: self._refusal(result.errors) or cases.get(self._fold(key)) for key, result in results}

    def change(self, changes: Mapping[str, Change]) -> dict[str, Failure | None]:
        """Change Cases, then write their records; the record of a Case that is refused stays. Raise Failed."""
        return self._in_calls(changes, partial(self._change, changes))

    def _change(self, changes: Mapping[str, Change], keys: Sequence[str]) -> dict[str, Failure | None]:
        cases = [self._changed(key, changes[key]) for key in keys]
        body = {"allOrNone": False, "records": cases}
        calls = [self._subrequest("PATCH", "composite/sobjects", body, NO_RULE)]
        calls.append(self._write({key: changes[key].alarm for key in keys}, keys))
        changed, written = self._composite(calls)
        refused = {key: _to_be_looked_at(each) for key, each in self._refusals(changed, keys).items()}
        self._restore({key: changes[key].before for key in keys if refused[key]})
        unwritten = self._refusals(written, keys)
        return {
            key: self._brake.weighed(changes[key].delivery, CHANGED, refused[key]) or unwritten[key] for key in keys
        }

    def _restore(self, alarms: Mapping[str, Alarm]) -> None:
        """Write the records of Cases that were not changed as they were before."""
        if alarms:
            self._composite([self._write(alarms, list(alarms))])

    def open(self, openings: Mapping[str, Opening]) -> dict[str, CaseSeen | Failure | LeaveOut]:
        """Create Cases and their records. Raise Failed."""
        return self._in_calls(openings, partial(self._open, openings))

    def _open(self, openings: Mapping[str, Opening], keys: Sequence[str]) -> dict[str, CaseSeen | Failure | LeaveOut]:
        chosen = {key: openings[key] for key in keys}
        groups = _by_assignment(chosen, self._judge.auto_assign)
        calls = [
            self._keys(keys),
            *(self._create({key: chosen[key] for key in group}, assign) for assign, group in groups.items()),
            self._write({key: each.alarm for key, each in chosen.items()}, keys, cases=chosen),
            self._look(keys),
        ]
        made, *created, written, seen = self._composite(calls)
        cases, unmade, unwritten = self._cases(seen), self._refusals(made, keys), self._refusals(written, keys)
        results: dict[str, Result] = {}
        for group, answer in zip(groups.values(), created, strict=True):
            results |= zip(group, self._results(answer, len(group)), strict=True)
        any_created = any(not result.errors for result in results.values())
        answers: dict[str, CaseSeen | Failure | LeaveOut] = {}
        for key, result in results.items():
            case = cases.get(self._fold(key))
            opening = chosen[key]
            refused: Failure | LeaveOut | None = unmade[key]  # then the Case is refused too: it refers to the record
            refused = refused or self._to_leave_out(opening, result.errors)
            if refused is None:
                refused = self._not_created(result.errors, opening.fields, singled_out=any_created)
                refused = self._brake.weighed(opening.arrival.delivery, self._judge.place, refused)
            answers[key] = refused or unwritten[key] or case or _unseen(key)
        return answers

    def _in_calls(
        self, keys: Iterable[str], call: Callable[[Sequence[str]], Mapping[str, Answer]]
    ) -> dict[str, Answer]:
        """Return the answers of as many calls as these keys need. Those that hit a governor limit are sent again, fewer
        at a time. Raise Failed."""
        answers: dict[str, Answer] = {}
        rest = list(keys)
        while rest:
            chunk = next(chunks(rest, self._sizes.size.records))
            begun = time.monotonic()
            answers |= call(chunk)
            crowded = [key for key in chunk if _is_crowded(answers[key])] if len(chunk) > 1 else []
            self._sizes.note(len(chunk), time.monotonic() - begun, crowded=bool(crowded))
            rest = crowded + rest[len(chunk) :]
        return answers

    def _to_leave_out(self, opening: Opening, errors: Sequence[SfError]) -> LeaveOut | None:
        """Return the fields without which the Case is created; None: they are not why it was refused."""
        record: Decoded | None = opening.arrival.record
        if not errors or record is None or record.draft is None:
            return None
        return self._judge.to_leave_out(record.draft, errors)

    def _not_created(
        self, errors: Sequence[SfError], fields: Mapping[str, Any], *, singled_out: bool
    ) -> Failure | None:
        """Return why a Case was not created; None: it is there."""
        if not errors or any(error_codes.duplicate_of(error, self._names.case_key) is not None for error in errors):
            return None
        return self._judge.failure(errors, fields, singled_out=singled_out)

    def _composite(self, calls: "Sequence[Subrequest]") -> list[tuple[int, Any]]:
        self._guard()
        return self._client.composite(calls)

    # -- the calls in a call

    def _subrequest(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> "Subrequest":
        from sfconnector.salesforce.client import Subrequest  # late: an HTTP library is not needed for --help

        return Subrequest(method, path, body, headers)

    def _write(
        self, alarms: Mapping[str, Alarm], keys: Sequence[str], cases: Mapping[str, Opening] | None = None
    ) -> "Subrequest":
        """Return the call that writes records; with `cases` they get the new Cases, by the key of each."""
        records = []
        for key in keys:
            record = self._record(key) | self._codec.fields(alarms[key])
            if cases is not None:
                record[relationship(CASE)] = {
                    "attributes": {"type": "Case"},
                    self._names.case_key: case_key(key, cases[key]),
                }
            records.append(record)
        return self._upsert(records)

    def _keys(self, keys: Sequence[str]) -> "Subrequest":
        """Return the call that makes the records that there are not."""
        return self._upsert([self._record(key) for key in keys])

    def _record(self, key: str) -> dict[str, Any]:
        return {"attributes": {"type": self._names.sobject}, KEY: key}

    def _upsert(self, records: Sequence[Mapping[str, Any]]) -> "Subrequest":
        path = f"composite/sobjects/{self._names.sobject}/{KEY}"
        return self._subrequest("PATCH", path, {"allOrNone": False, "records": records})

    def _create(self, openings: Mapping[str, Opening], assign: str) -> "Subrequest":
        names, records = self._names, []
        for key, opening in openings.items():
            record = {"attributes": {"type": "Case"}, **opening.fields, names.case_key: case_key(key, opening)}
            record[relationship(names.case_alarm)] = self._record(key)
            if opening.create.parent:
                record["ParentId"] = opening.create.parent
            records.append(record)
        body = {"allOrNone": False, "records": records}
        return self._subrequest("POST", "composite/sobjects", body, {"Sforce-Auto-Assign": assign})

    def _changed(self, key: str, change: Change) -> dict[str, Any]:
        update = change.update
        record: dict[str, Any] = {"attributes": {"type": "Case"}, "id": update.case_id}
        if update.status is not None:
            record["Status"] = update.status
        if update.severity is not None and self._names.severity:
            record[self._names.severity] = update.severity
        if update.comment is not None:
            record["Comments"] = self._comment(key, update.comment, change.alarm)[:MOST_COMMENT]
        return record

    def _look(self, keys: Sequence[str]) -> "Subrequest":
        case = relationship(CASE)
        fields = [KEY, CASE, NUMBER, *(f"{case}.{name}" for name in self._names.case_fields)]
        query = soql.select(self._names.sobject, fields, {KEY: [soql.quote(key) for key in keys]})
        return self._subrequest("GET", f"query?q={soql.encoded(query)}")

    # -- the answers

    def _total(self, answer: tuple[int, Any]) -> int:
        """Return what a query has counted. Raise Failed if it was refused."""
        status, value = answer
        total = responses.total_of(value) if status < 400 else None
        if total is None:
            raise Failed(self._refusal(responses.errors_of(value), status) or _senseless())
        return total

    def _cases(self, answer: tuple[int, Any]) -> dict[str, CaseSeen | Failure]:
        """Return the Cases that a query has found, by the key of their alarm. Raise Failed if it was refused."""
        status, value = answer
        page = responses.records_of(value) if status < 400 else None
        if page is None:
            raise Failed(self._refusal(responses.errors_of(value), status) or _senseless())
        cases = ((self._fold(record.get(KEY)), self._case(record)) for record in page[0])
        return {key: case for key, case in cases if case is not None}

    def _case(self, record: Mapping[str, Any]) -> CaseSeen | Failure | None:
        case = record.get(relationship(CASE))
        if not record.get(CASE):
            return None
        if not isinstance(case, Mapping):
            return _hidden(str(record[CASE]))
        return CaseSeen(
            id=str(record[CASE]),
            status=str(case.get("Status") or ""),
            owner=str(case.get("OwnerId") or ""),
            closed=case.get("IsClosed") is True,
            closed_at=read_time(case.get("ClosedDate")),
            severity=case.get(self._names.severity) if self._names.severity else None,
            touched=case.get("LastModifiedById") != case.get("CreatedById"),
            merged=self._fold(case.get(self._names.case_key)) != self._fold(f"{record[KEY]}#{record[NUMBER]:.0f}"),
            final=self._is_final(case),
        )

    def _fold(self, key: Any) -> str:
        """Return a key as Salesforce compares it."""
        return str(key) if self._names.case_sensitive else str(key).lower()

    def _results(self, answer: tuple[int, Any], count: int) -> list[Result]:
        """Return the result of each record of a collection. Raise Failed if it was refused as a whole."""
        status, value = answer
        results = responses.results_of(value, count) if status < 400 else None
        if results is None:
            raise Failed(self._refusal(responses.errors_of(value), status) or _senseless())
        return results

    def _refusals(self, answer: tuple[int, Any], keys: Sequence[str]) -> dict[str, Failure | None]:
        results = self._results(answer, len(keys))
        return {key: self._refusal(result.errors) for key, result in zip(keys, results, strict=True)}

    def _refusal(self, errors: Sequence[SfError], status: int = 200) -> Failure | None:
        if not errors:
            return None
        error, kind = error_codes.gravest(errors, status, self._judge.errors)
        return None if kind is None else replace(error_codes.failure(error, kind, "case"), place=PLACE)


def case_key(key: str, opening: Opening) -> str:
    """Return the key of a Case, which no other Case can have."""
    return f"{key}#{opening.create.number}"


def _by_assignment(openings: Mapping[str, Opening], auto_assign: str) -> dict[str, list[str]]:
    """Return keys by the value of Sforce-Auto-Assign: a rule would replace an owner that the mapping gives."""
    groups: dict[str, list[str]] = {}
    for key, opening in openings.items():
        groups.setdefault(NO_ASSIGNMENT if OWNER in opening.fields else auto_assign, []).append(key)
    return groups


def chunks(keys: Sequence[str], most: int = MOST_RECORDS) -> Iterator[list[str]]:
    """Split keys into those of one call: a collection, and a query whose address has room for them."""
    chunk: list[str] = []
    room = MOST_KEY_BYTES
    for key in keys:
        length = soql.encoded_length(soql.quote(key) + ", ")
        if chunk and (len(chunk) == most or length > room):
            yield chunk
            chunk, room = [], MOST_KEY_BYTES
        chunk.append(key)
        room -= length
    if chunk:
        yield chunk


def _is_crowded(answer: object) -> bool:
    """Return whether fewer records in the call may pass."""
    return (
        isinstance(answer, Failure)
        and answer.kind is Kind.RETRY
        and error_codes.is_governor(SfError(answer.code, answer.text))
    )


def _senseless() -> Failure:
    return Failure(Kind.UNAVAILABLE, "no-answer", "a call of several was answered with something else", PLACE)


def _to_be_looked_at(failure: Failure | None) -> Failure | None:
    """Return why a Case was not changed. One that is gone is no fault of the message, and the next look shows it."""
    if failure is None:
        return None
    return replace(failure, place=CHANGED, kind=Kind.RETRY if failure.code in error_codes.GONE else failure.kind)


def _hidden(case_id: str) -> Failure:
    """Return why nothing is done for an alarm. A look-up is emptied when its record is deleted, so this one is there:
    taken for none, it would have a successor with each message."""
    text = f"the user of the division may not see Case {case_id}, which is an alarm's; let the user view all Cases"
    return Failure(Kind.CONFIGURATION, "hidden-case", text, PLACE)


def _unseen(key: str) -> Failure:
    return Failure(Kind.RETRY, "no-case", f"the Case of {key} was created and is not found", PLACE)

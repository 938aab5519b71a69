"""What the connector assumes of Salesforce and no documentation settles, tried on an org with records of its own.

Each trial says what was assumed and returns what was seen, in the same words where it is so. A trial makes what it
needs; at the end everything that was made is deleted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from secrets import token_hex
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Kind
from connectorlib.preflight.findings import Finding, bad, failed, good, odd
from sfconnector.alarms.alarm_calls import NO_RULE, OrgNames, names_of, relationship
from sfconnector.alarms.alarm_record import CASE as ALARM_CASE
from sfconnector.alarms.alarm_record import KEY, LAST, MEMORY, MEMORY_LENGTH, read_time
from sfconnector.metadata.permissions import CASE, permissions_of
from sfconnector.salesforce.client import Client, Rejected, Subrequest
from sfconnector.salesforce.describe import Described
from sfconnector.salesforce.login import TokenProvider
from sfconnector.settings import Division
from sfconnector.soql import encoded, quote

SUBJECT = "sfconnector org --prove, may be deleted"
#: The oldest time that an HTTP date can name here: whatever it is compared with, has changed since.
_LONG_AGO = "Thu, 01 Jan 2015 00:00:00 GMT"
_TIME = "2026-01-02T03:04:05.678Z"
#: The type of an org that belongs to a developer (object reference, Organization).
_DEVELOPER = "Developer Edition"
#: Records that one call deletes.
_MOST_DELETED = 200
#: Fields of Case that no permission set may name, as `permissions` has it.
_ALWAYS_SEEN = ("Status", "OwnerId", "CaseNumber", "IsClosed")


class NotTried(Exception):
    """Why a trial was not made."""


class ProofOrg:
    """The org of a division, with the records that were made in it."""

    def __init__(self, client: Client, division: Division) -> None:
        self.client = client
        self.division = division
        alarm = division.case.alarm
        self._names = None if alarm is None else names_of(alarm)
        self.closed = "Closed" if alarm is None else alarm.rules.close_status
        #: So that two proofs at a time do not meet.
        self.run = token_hex(4)
        self._made: list[str] = []

    @property
    def names(self) -> OrgNames:
        """The names of the alarms. Raise NotTried without alarms."""
        if self._names is None:
            raise NotTried("the division has no section alarm")
        return self._names

    def key(self, name: str) -> str:
        return f"prove:{self.run}:{name}"

    def calls(self, *calls: Subrequest) -> list[tuple[int, Any]]:
        """Make calls in one, and remember what they made. Raise Failed if all of them were refused."""
        answers = self.client.composite(calls)
        for _, value in answers:
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Mapping) and each.get("success") is True and each.get("created", True):
                    self._made.append(str(each["id"]))
        return answers

    def create(self, **fields: Any) -> tuple[int, Any]:
        """Create one Case without assignment rules; return status and JSON."""
        return self.calls(_create(fields))[0]

    def case(self, **fields: Any) -> str:
        """Create a Case and return its id. Raise NotTried."""
        status, value = self.create(**fields)
        if status != 201:
            raise NotTried(f"no Case was created: {_words(status, value)}")
        return str(value["id"])

    def change(self, case_id: str, headers: Mapping[str, str] = NO_RULE, **fields: Any) -> tuple[int, Any]:
        path = f"sobjects/{CASE}/{case_id}"
        return self.calls(Subrequest("PATCH", path, fields, headers))[0]

    def read(self, sobject: str, where: str, *fields: str) -> list[dict[str, Any]]:
        return self.client.query(f"SELECT {', '.join(fields)} FROM {sobject} WHERE {where}")

    def seen(self, case_id: str, *fields: str) -> dict[str, Any]:
        """Return fields of a Case. Raise NotTried if it is not there."""
        found = self.read(CASE, f"Id = {quote(case_id)}", *fields)
        if not found:
            raise NotTried("the Case is not to be seen")
        return found[0]

    def clean(self) -> list[str]:
        """Delete what was made; return the ids of what is left. Comments go with their Case."""
        made: list[str] = list(dict.fromkeys(reversed(self._made)))
        left: list[str] = []
        for start in range(0, len(made), _MOST_DELETED):
            ids = made[start : start + _MOST_DELETED]
            path = f"composite/sobjects?ids={','.join(ids)}&allOrNone=false"
            try:
                status, value = self.client.composite([Subrequest("DELETE", path)])[0]
            except Failed:
                status, value = 500, None
            results = value if status < 400 and isinstance(value, list) else [{}] * len(ids)
            left += [id for id, result in zip(ids, results, strict=True) if not _is_gone(result)]
        return left


@dataclass(frozen=True, slots=True)
class Trial:
    about: str
    assumed: str
    see: Callable[[ProofOrg], str]


def findings(division: Division, *, anywhere: bool = False) -> Iterator[Finding]:
    """Yield a line for each trial. Without `anywhere` only in a sandbox or a developer org. Raise Failed if Salesforce
    stops answering."""
    client = Client(division.salesforce, division.name, TokenProvider(division.salesforce, division.name))
    with closing(client):
        org = ProofOrg(client, division)
        if not anywhere and not _is_for_trying(org):
            text = "is not known to be a sandbox or a developer org, and Cases would be created in it"
            yield bad(f"org of {division.name}", text, "name another org, or give --force", Kind.CONFIGURATION)
            return
        try:
            for trial in TRIALS:
                yield _tried(trial, org)
        finally:
            left = org.clean()
        if left:
            yield odd("what was made", f"is still there: {', '.join(left)}", "delete it")
        else:
            yield good("what was made", "is deleted")


def _is_for_trying(org: ProofOrg) -> bool:
    if org.client.log_in().instance_url.startswith("http://"):
        return True  # the sandbox of this machine
    try:
        found = org.client.query("SELECT IsSandbox, OrganizationType FROM Organization")
    except Rejected:
        return False
    return any(each.get("IsSandbox") is True or each.get("OrganizationType") == _DEVELOPER for each in found)


def _tried(trial: Trial, org: ProofOrg) -> Finding:
    try:
        seen = trial.see(org)
    except NotTried as why:
        return odd(trial.about, f"not tried: {why}")
    except Failed as error:
        return failed(trial.about, error.failure, f'differs? "{trial.assumed}" was assumed')
    if seen == trial.assumed:
        return good(trial.about, f"as assumed: {seen}")
    return bad(trial.about, f"differs: assumed was {trial.assumed}; seen was {seen}")


# -- the trials


def _comments(org: ProofOrg) -> str:
    case_id = org.case(Comments="at the beginning")
    status, value = org.change(case_id, Comments="later")
    if status != 204:
        return f"the update was refused: {_words(status, value)}"
    found = org.read("CaseComment", f"ParentId = {quote(case_id)}", "CommentBody")
    texts = sorted(str(each["CommentBody"]) for each in found)
    return f"a comment each: {', '.join(texts)}" if texts else "no comment"


def _owner(org: ProofOrg) -> str:
    case_id = org.case()
    before = org.seen(case_id, "OwnerId")["OwnerId"]
    org.change(case_id, Priority="Low")
    after = org.seen(case_id, "OwnerId")["OwnerId"]
    who = "the user" if before == org.client.log_in().user_id else "somebody else"
    return f"{who} owns it{', and keeps it' if after == before else ' until the update'}"


def _closing(org: ProofOrg) -> str:
    case_id = org.case()
    told = []
    for status in (org.closed, "New"):
        code, value = org.change(case_id, Status=status)
        if code != 204:
            raise NotTried(f"status {status}: {_words(code, value)}")
        seen = org.seen(case_id, "IsClosed", "ClosedDate")
        told.append(f"{'closed' if seen['IsClosed'] else 'open'} {'with' if seen['ClosedDate'] else 'without'} a date")
    return ", then ".join(told)


def _deleted(org: ProofOrg) -> str:
    case_id = org.case()
    org.calls(Subrequest("DELETE", f"sobjects/{CASE}/{case_id}"))
    return _words(*org.change(case_id, Priority="Low"))


def _unknown_field(org: ProofOrg) -> str:
    status, value = org.calls(_collection({"Subject": SUBJECT}, {"Subject": SUBJECT, "No_Such__c": 1}))[0]
    return f"the whole call: {_words(status, value)}" if status >= 400 else "the record only"


def _two_mistakes(org: ProofOrg) -> str:
    status, value = org.create(AccountId="500000000000000", Subject="x" * 300)
    return f"{len(value)} of two mistakes" if status == 400 and isinstance(value, list) else _words(status, value)


def _old_time(org: ProofOrg) -> str:
    case_id = org.case()
    return _words(*org.change(case_id, {**NO_RULE, "If-Unmodified-Since": _LONG_AGO}, Priority="Low"))


def _one_call(org: ProofOrg) -> str:
    def used() -> int:
        org.calls(*[_query(f"SELECT Id FROM {CASE} LIMIT 1")] * 3)
        return org.client.usage.used if org.client.usage else 0

    first, second = used(), used()
    if not first:
        raise NotTried("the org does not say how many calls there were")
    return "at most one call" if second - first <= 1 else f"{second - first} calls"


def _goes_on(org: ProofOrg) -> str:
    refused, made = org.calls(_create({"No_Such__c": 1}), _create({}))
    return f"{_words(*refused)}, then {_words(*made)}"


def _contact_by_email(org: ProofOrg) -> str:
    found = org.read("Contact", "Email != null LIMIT 1", "Id", "Email")
    if not found:
        raise NotTried("no Contact has an address")
    status, value = org.create(Contact={"Email": found[0]["Email"]})
    return "the Contact is linked" if status == 201 else _words(status, value)


def _same_key(org: ProofOrg) -> str:
    field = org.names.case_key
    first = org.case(**{field: org.key("twice")})
    status, value = org.create(**{field: org.key("twice")})
    text = str(value[0].get("message", "")) if isinstance(value, list) and value else ""
    told = [word for word, there in (("the field", field in text), ("the record", first[:15] in text)) if there]
    return f"{_words(status, value)}, which names {' and '.join(told) or 'neither field nor record'}"


def _capitals(org: ProofOrg) -> str:
    records = [{org.names.case_key: org.key(name)} for name in ("Capital", "capital")]
    return _made(org.calls(_collection(*records))[0])


def _same_key_at_once(org: ProofOrg) -> str:
    return _made(org.calls(_collection(*[{org.names.case_key: org.key("at once")}] * 2))[0])


def _whole_alarm(org: ProofOrg) -> str:
    """As a new alarm is made: its record, its Case, the look-up back, and the query that reads it."""
    names, key = org.names, org.key("alarm")
    case_key = f"{key}#1"
    alarm = {"attributes": {"type": names.sobject}, KEY: key}
    upsert = f"composite/sobjects/{names.sobject}/{KEY}"
    back = {**alarm, relationship(ALARM_CASE): {"attributes": {"type": CASE}, names.case_key: case_key}}
    case = {names.case_key: case_key, relationship(names.case_alarm): {"attributes": {"type": names.sobject}, KEY: key}}
    fields = f"{relationship(ALARM_CASE)}.Status, {ALARM_CASE}"
    *_, (status, value) = org.calls(
        Subrequest("PATCH", upsert, {"allOrNone": False, "records": [alarm]}),
        _collection(case),
        Subrequest("PATCH", upsert, {"allOrNone": False, "records": [back]}),
        _query(f"SELECT {fields} FROM {names.sobject} WHERE {KEY} = {quote(key)}"),
    )
    records = value.get("records") if status == 200 and isinstance(value, Mapping) else None
    if not records:
        return f"no alarm: {_words(status, value)}"
    return "the alarm has its Case" if records[0].get(ALARM_CASE) else "the alarm has no Case"


def _alarm_written(org: ProofOrg, **fields: Any) -> dict[str, Any]:
    """Write fields of the alarm, and return it as it is read, without its Case. Raise NotTried."""
    names, key = org.names, org.key("alarm")
    record = {"attributes": {"type": names.sobject}, KEY: key, **fields}
    path = f"composite/sobjects/{names.sobject}/{KEY}"
    status, value = org.calls(Subrequest("PATCH", path, {"allOrNone": False, "records": [record]}))[0]
    found = org.read(names.sobject, f"{KEY} = {quote(key)}", "Id", ALARM_CASE, *fields)
    if not found:
        raise NotTried(f"the alarm was not written: {_words(status, value)}")
    return found[0]


def _memory(org: ProofOrg) -> str:
    text = "é" * MEMORY_LENGTH
    found = _alarm_written(org, **{MEMORY: text})[MEMORY]
    return "all of it" if found == text else f"{len(found or '')} characters"


def _time(org: ProofOrg) -> str:
    found = read_time(_alarm_written(org, **{LAST: _TIME})[LAST])
    off = abs(found - read_time(_TIME))
    return "right to the second" if off < 1 else f"{off:g} s off"


def _untouched(org: ProofOrg) -> str:
    case_id = _alarm_written(org)[ALARM_CASE]
    if not case_id:
        raise NotTried("the alarm has no Case")
    before = org.seen(case_id, "LastModifiedDate", "SystemModstamp")
    _alarm_written(org, **{MEMORY: "again"})
    after = org.seen(case_id, "LastModifiedDate", "SystemModstamp")
    return "its Case is not touched" if before == after else "its Case is modified"


def _orphan(org: ProofOrg) -> str:
    case_id = _alarm_written(org)[ALARM_CASE]
    if not case_id:
        raise NotTried("the alarm has no Case")
    status, value = org.calls(Subrequest("DELETE", f"sobjects/{CASE}/{case_id}"))[0]
    if status != 204:
        raise NotTried(f"the Case was not deleted: {_words(status, value)}")
    return "the alarm has its Case" if _alarm_written(org)[ALARM_CASE] else "the alarm has no Case"


def _permissionable(org: ProofOrg) -> str:
    """Compare the permission set with what Salesforce says of each field."""
    needed = permissions_of([org.division])
    wrong = []
    for sobject in needed.objects:
        answer = org.client.describe(sobject)
        may = {str(each.get("name")).lower(): each.get("permissionable") is True for each in answer["fields"]}
        named = [name.partition(".")[2] for name in needed.fields if name.startswith(f"{sobject}.")]
        wrong += [f"{sobject}.{name} may not" for name in named if may.get(name.lower()) is False]
        if Described(answer).name == CASE:
            wrong += [f"{CASE}.{name} may" for name in _ALWAYS_SEEN if may.get(name.lower())]
    return ", ".join(wrong) or "those that sfconnector org writes"


TRIALS = (
    Trial("Case.Comments at a create and an update", "a comment each: at the beginning, later", _comments),
    Trial("the owner of a Case, with Sforce-Auto-Assign FALSE", "the user owns it, and keeps it", _owner),
    Trial("a Case that is closed and reopened", "closed with a date, then open without a date", _closing),
    Trial("a Case that was deleted, at an update", "404 ENTITY_IS_DELETED", _deleted),
    Trial("a field that is not there, in one of two records", "the whole call: 400 INVALID_FIELD", _unknown_field),
    Trial("a record with two mistakes", "1 of two mistakes", _two_mistakes),
    Trial("If-Unmodified-Since at a Case", "204", _old_time),
    Trial("three queries in one Composite count as", "at most one call", _one_call),
    Trial("a Composite whose first call is refused", "400 INVALID_FIELD, then 201", _goes_on),
    Trial("a Contact by its address", "the Contact is linked", _contact_by_email),
    Trial(
        "a second Case with the same key",
        "400 DUPLICATE_VALUE, which names the field and the record",
        _same_key,
    ),
    Trial("keys that differ in capitals only", "2 made", _capitals),
    Trial("two Cases with the same key in one call", "1 made, DUPLICATE_VALUE", _same_key_at_once),
    Trial("an alarm, its Case and the look-up back in one Composite", "the alarm has its Case", _whole_alarm),
    Trial(f"a memory of {MEMORY_LENGTH} characters", "all of it", _memory),
    Trial("a time with milliseconds", "right to the second", _time),
    Trial("an alarm that is written", "its Case is not touched", _untouched),
    Trial("an alarm whose Case is deleted", "the alarm has no Case", _orphan),
    Trial("fields that a permission set may name", "those that sfconnector org writes", _permissionable),
)


# -- calls and answers


def _create(fields: Mapping[str, Any]) -> Subrequest:
    return Subrequest("POST", f"sobjects/{CASE}", {"Subject": SUBJECT, **fields}, NO_RULE)


def _collection(*records: Mapping[str, Any]) -> Subrequest:
    typed = [{"attributes": {"type": CASE}, "Subject": SUBJECT, **each} for each in records]
    return Subrequest("POST", "composite/sobjects", {"allOrNone": False, "records": typed}, NO_RULE)


def _query(soql: str) -> Subrequest:
    return Subrequest("GET", f"query?q={encoded(soql)}")


def _words(status: int, value: Any) -> str:
    """Return an answer in words: its status, and the code of its first error."""
    errors = value if isinstance(value, list) else []
    code = errors[0].get("errorCode", "") if errors and isinstance(errors[0], Mapping) else ""
    return f"{status} {code}".strip()


def _made(answer: tuple[int, Any]) -> str:
    """Return what a collection has made, in words."""
    status, value = answer
    if status >= 400 or not isinstance(value, Sequence):
        return _words(status, value)
    errors = [error.get("statusCode", "") for each in value for error in each.get("errors", ())]
    return ", ".join([f"{sum(each.get('success') is True for each in value)} made", *errors])


def _is_gone(result: Mapping[str, Any]) -> bool:
    codes = [error.get("statusCode") for error in result.get("errors", ())]
    return result.get("success") is True or "ENTITY_IS_DELETED" in codes

"""Writes one record as an org does: checks rights, fields, values, references, rules and uniqueness in this order.

A refusal is an ApiError and changes nothing. Writes are in the journal of the store.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.sandbox import effects, field_values, ids, refusals, soql_parser, where
from sfconnector.sandbox.effects import Author
from sfconnector.sandbox.objects import Catalog, OrgField, SObject
from sfconnector.sandbox.org_rules import Rules
from sfconnector.sandbox.query import attributes
from sfconnector.sandbox.record_body import RecordBody, Reference
from sfconnector.sandbox.refusals import ApiError, ApiProblem, refused
from sfconnector.sandbox.store import Record, Store

#: Fields of Case whose changes are kept.
TRACKED = ("Status", "Priority", "OwnerId")


@dataclass(frozen=True)
class WriteCall:
    """What applies to a whole call: user, headers, size."""

    user_id: str | None
    now: datetime
    #: Sforce-Auto-Assign: use the active assignment rule, none, or the one with this id.
    auto_assign: bool | str = True
    #: allowSave of Sforce-Duplicate-Rule-Header.
    allow_duplicates: bool = False
    size: int = 1  # records of the same object in the call

    @cached_property
    def author(self) -> Author:
        return Author(self.user_id, field_values.stamp(self.now))


class RecordWriter:
    def __init__(self, catalog: Catalog, store: Store, rules: Rules, version: str) -> None:
        self.catalog = catalog
        self.store = store
        self.rules = rules
        self.version = version
        self._tests: dict[tuple[str, str, date], where.Test] = {}

    def forget_conditions(self) -> None:
        """Discard compiled conditions, because fields have changed."""
        self._tests.clear()

    def check(self, name: str, condition: str) -> None:
        """Raise ValueError for an unknown object, ApiError for a bad condition."""
        sobject = self.catalog.objects.get(name)
        if sobject is None:
            raise ValueError(f"there is no object {name}")
        if condition:
            self._compile(sobject, condition, datetime.now(UTC))

    def _compile(self, sobject: SObject, condition: str, now: datetime) -> where.Test:
        paths = where.Paths(self.catalog, self.store, sobject, condition)
        return where.compile_condition(soql_parser.parse_condition(condition), paths, now)

    def create(self, sobject: SObject, body: RecordBody, call: WriteCall) -> str:
        """Return the new record's id. Raise ApiError."""
        self._check_rights(call)
        self._check_fields(body, [field.name for field in body.fields if not field.createable])
        self._resolve(body)
        self._check_values(body)
        missing = [field.name for field in sobject.required if body.values.get(field.name) is None]
        if missing:
            raise ApiError(refusals.required(missing))
        self._check_references(sobject, body)
        record = {name: value for name, value in body.values.items() if value is not None}
        comment = record.pop("Comments", None) if sobject.name == "Case" else None
        record["Id"] = self.store.table(sobject).new_id()
        effects.of_creation(self.store, sobject, record, call.author)
        effects.of_writing(self.catalog, self.store, record, sobject, call.author, body.values.keys())
        self._check_record(sobject, record, call)
        self._check_similar(sobject, record, call)
        self._check_unique(sobject, record, body)
        self._assign(sobject, record, call)
        self.store.put(sobject, record)
        if comment is not None:
            self._comment(record["Id"], comment, call)
        return str(record["Id"])

    def update(self, sobject: SObject, record_id: str, body: RecordBody, call: WriteCall) -> None:
        """Change an existing record. Raise ApiError."""
        before = self.store.table(sobject).records[record_id]
        self._check_rights(call)
        self._check_fields(body, [field.name for field in body.fields if not field.updateable])
        self._resolve(body)
        self._check_values(body)
        emptied = [field.name for field in sobject.required if body.values.get(field.name, field) is None]
        if emptied:
            raise ApiError(refusals.required(emptied))
        self._check_references(sobject, body)
        record = {name: value for name, value in {**before, **body.values}.items() if value is not None}
        comment = record.pop("Comments", None) if sobject.name == "Case" else None
        effects.of_writing(self.catalog, self.store, record, sobject, call.author, body.values.keys())
        self._check_record(sobject, record, call)
        self._check_unique(sobject, record, body)
        self._assign(sobject, record, call)
        self.store.put(sobject, record)
        if sobject.name == "Case":
            self._track(before, record, call)
        if comment is not None:
            self._comment(record_id, comment, call)

    def seed(self, sobject: SObject, body: RecordBody, call: WriteCall) -> str:
        """Store a record without rules and rights; it may have an Id. Raise ApiError for a unique value in use or a
        missing parent."""
        self._resolve(body)
        record = {name: value for name, value in body.values.items() if value is not None}
        for name in [each for each in record if sobject.fields[each].type in ("id", "reference")]:
            record[name] = ids.full(record[name]) or record[name]
        record.setdefault("Id", self.store.table(sobject).new_id())
        effects.of_creation(self.store, sobject, record, call.author)
        effects.of_writing(self.catalog, self.store, record, sobject, call.author, body.values.keys())
        self._check_unique(sobject, record, body)
        self.store.put(sobject, record)
        return str(record["Id"])

    def _check_rights(self, call: WriteCall) -> None:
        if call.user_id in self.rules.read_only_users:
            raise refused("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
        if self.rules.storage_full:
            raise refused("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded")

    def _check_fields(self, body: RecordBody, closed: list[str]) -> None:
        if closed:
            raise ApiError(refusals.not_writeable(closed))
        if body.problems:
            raise ApiError(body.problems[0])

    def _resolve(self, body: RecordBody) -> None:
        """Replace external ids of parents by the parents' ids."""
        for reference in body.references:
            body.values[reference.field.name] = self._parent(reference)
            body.fields.append(reference.field)

    def _parent(self, reference: Reference) -> str:
        found = self.store.table(reference.parent).find(reference.key.name, reference.value)
        if not found:
            value = "" if reference.value is None else str(reference.value)
            raise ApiError(refusals.no_foreign_key(value, reference.key.name, reference.parent.name))
        if len(found) > 1:
            raise ApiError(refusals.several_records(reference.key.label, found))
        return found[0]

    def _check_values(self, body: RecordBody) -> None:
        for field in body.fields:
            problem = field_values.check(field, body.values.get(field.name))
            if problem is not None:
                raise ApiError(problem)

    def _check_references(self, sobject: SObject, body: RecordBody) -> None:
        for field in body.fields:
            given = body.values.get(field.name)
            if field.type != "reference" or given is None:
                continue
            body.values[field.name] = self._checked_reference(sobject, field, given)

    def _checked_reference(self, sobject: SObject, field: OrgField, given: str) -> str:
        """Return the full id of what a field refers to."""
        wanted = ids.full(given) or given
        parent = self.catalog.by_prefix.get(wanted[:3])
        if parent is not None and parent.name in field.refers_to:
            self._check_parent(sobject, field, wanted, self.store.get(parent, wanted))
        elif parent is not None or any(name in self.catalog.objects for name in field.refers_to):
            raise ApiError(field_values.wrong_id(field, given))
        return wanted

    def _check_parent(self, sobject: SObject, field: OrgField, wanted: str, parent: Record | None) -> None:
        if field.name == "RecordTypeId":
            fits = parent is not None and parent.get("IsActive") and parent.get("SobjectType") == sobject.name
            if not fits:
                text = f"{field.label}: this ID value isn't valid for the user: {wanted}"
                raise refused("INVALID_CROSS_REFERENCE_KEY", text, (field.name,))
            return
        if parent is None:
            raise ApiError(refusals.bad_reference())
        if parent.get("IsDeleted"):
            raise refusals.deleted(400)
        if wanted in self.rules.hidden:
            text = f"insufficient access rights on cross-reference id: {wanted}"
            raise refused("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", text)
        if field.name == "OwnerId":
            self._check_owner(sobject, wanted, parent)

    def _check_owner(self, sobject: SObject, wanted: str, owner: Record) -> None:
        if wanted.startswith("005") and not owner.get("IsActive"):
            text = f"operation performed with inactive user [{wanted[:15]}] as owner of {sobject.name.lower()}"
            raise refused("INACTIVE_OWNER_OR_USER", text, ("OwnerId",))
        if wanted.startswith("00G") and owner.get("Type") != "Queue":
            text = "The specified cross reference type isn't valid for the specified field."
            raise refused("INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD", text, ("OwnerId",))

    def _check_record(self, sobject: SObject, record: Record, call: WriteCall) -> None:
        """Check the whole record: locks, rules of the object, validation rules (reporting all that hold)."""
        if self.rules.locked:
            parents = [record.get(field.name) for field in sobject.fields.values() if field.type == "reference"]
            locked = [each for each in (record["Id"], *parents) if each in self.rules.locked]
            if locked:
                raise ApiError(refusals.locked(dict.fromkeys(locked)))
        if sobject.name == "Asset" and not (record.get("AccountId") or record.get("ContactId")):
            text = "Every asset needs an account, a contact, or both."
            raise refused("FIELD_INTEGRITY_EXCEPTION", text, ("AccountId", "ContactId"))
        problems = [
            ApiProblem(rule.code, rule.message, (rule.field,) if rule.field else ())
            for rule in self.rules.validation
            if rule.active and rule.object == sobject.name and call.size > rule.more_than
            if self._holds(rule.when, sobject, record, call)
        ]
        if problems:
            raise ApiError(*problems)

    def _holds(self, when: Any, sobject: SObject, record: Record, call: WriteCall) -> bool:
        if not isinstance(when, str):
            return bool(when(record))
        if not when:
            return True
        key = (sobject.name, when, call.now.date())  # a condition may contain TODAY
        test = self._tests.get(key)
        if test is None:
            test = self._tests[key] = self._compile(sobject, when, call.now)
        return test(record)

    def _check_similar(self, sobject: SObject, record: Record, call: WriteCall) -> None:
        """Apply duplicate rules, unless the call allows duplicates."""
        names = self.rules.duplicates.get(sobject.name)
        if not names or call.allow_duplicates or not all(record.get(name) is not None for name in names):
            return
        keys = [(field, field.key(record[field.name])) for name in names if (field := sobject.field(name))]
        similar = [
            other
            for other in self.store.table(sobject).live()
            if all(field.key(other.get(field.name)) == key for field, key in keys)
        ]
        if similar:
            text = "Use one of these records?"
            extra = {"duplicateResult": self._duplicate_result(sobject, similar, text)}
            raise ApiError(ApiProblem("DUPLICATES_DETECTED", text, (), extra))

    def _duplicate_result(self, sobject: SObject, similar: list[Record], text: str) -> Mapping[str, Any]:
        records = [
            {
                "additionalInformation": [],
                "fieldDiffs": [],
                "matchConfidence": 100.0,
                "record": {"attributes": attributes(sobject.name, other["Id"], self.version), "Id": other["Id"]},
            }
            for other in similar
        ]
        rule = f"Standard_{sobject.name}_Match_Rule"
        match = {"entityType": sobject.name, "errors": [], "matchEngine": "ExactMatchEngine", "matchRecords": records}
        return {
            "allowSave": True,
            "duplicateRule": f"Standard_{sobject.name}_Duplicate_Rule",
            "duplicateRuleEntityType": sobject.name,
            "errorMessage": text,
            "matchResults": [{**match, "rule": rule, "size": len(records), "success": True}],
        }

    def _check_unique(self, sobject: SObject, record: Record, body: RecordBody) -> None:
        table = self.store.table(sobject)
        for field in sobject.indexed:
            if field.unique and field.name in body.values:
                others = [each for each in table.find(field.name, record.get(field.name)) if each != record["Id"]]
                if others and others[0] in self.rules.hidden:
                    raise ApiError(refusals.duplicate_value("<unknown>", "<unknown>"))
                if others:
                    raise ApiError(refusals.duplicate_value(field.name, others[0]))

    def _assign(self, sobject: SObject, record: Record, call: WriteCall) -> None:
        """Apply assignment rules: last, because they replace the owner given in the call."""
        rules = [rule for rule in self.rules.assignment if rule.object == sobject.name]
        if isinstance(call.auto_assign, str):
            rules = [rule for rule in rules if ids.full(rule.id) == ids.full(call.auto_assign)]
            if not rules:
                raise refused("INVALID_ASSIGNMENT_RULE", f"invalid assignment rule id: {call.auto_assign}")
        elif call.auto_assign:
            rules = [rule for rule in rules if rule.active]
        else:
            return
        for entry in rules[0].entries if rules else ():
            if self._holds(entry.when, sobject, record, call):
                record["OwnerId"] = self._checked_reference(sobject, sobject.fields["OwnerId"], entry.owner)
                return
        if sobject.name == "Case" and self.rules.default_case_owner:
            record["OwnerId"] = self.rules.default_case_owner

    def _comment(self, case_id: str, text: str, call: WriteCall) -> None:
        self._add("CaseComment", {"ParentId": case_id, "CommentBody": text}, call)

    def _track(self, before: Record, record: Record, call: WriteCall) -> None:
        """Keep the history of a Case's tracked fields, as an org does whose administrator has chosen these."""
        for name in TRACKED:
            old, new = before.get(name), record.get(name)
            if old != new:
                self._add(
                    "CaseHistory", {"CaseId": record["Id"], "Field": name, "OldValue": old, "NewValue": new}, call
                )

    def _add(self, name: str, values: Mapping[str, Any], call: WriteCall) -> None:
        """Store a record that follows from another one."""
        sobject = self.catalog.objects[name]
        record: Record = {key: value for key, value in values.items() if value is not None}
        record["Id"] = self.store.table(sobject).new_id()
        effects.of_creation(self.store, sobject, record, call.author)
        effects.of_writing(self.catalog, self.store, record, sobject, call.author, record.keys())
        self.store.put(sobject, record)

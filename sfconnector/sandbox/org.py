"""One org in memory: describe, create, read, change, delete, collections, queries. Without HTTP.

Any thread may call any method; a refusal is an ApiError with the text of Salesforce.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.sandbox import describe_answers, field_values, ids, query, record_body, refusals
from sfconnector.sandbox.collections import Collections, failure
from sfconnector.sandbox.objects import Catalog, OrgField, SObject, read_field
from sfconnector.sandbox.org_rules import Rules
from sfconnector.sandbox.query import Rows
from sfconnector.sandbox.record_body import RecordBody
from sfconnector.sandbox.record_writer import RecordWriter, WriteCall
from sfconnector.sandbox.refusals import ApiError, refused
from sfconnector.sandbox.store import Record, Store

API_VERSION = "62.0"


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A User record, as far as a log-in needs it."""

    id: str
    username: str
    name: str
    active: bool


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Org:
    """`schema` adds objects and fields to the built-in ones (see objects.py); ValueError if it is not a schema."""

    def __init__(
        self,
        *,
        schema: Mapping[str, Any] | None = None,
        clock: Callable[[], datetime] = _utc_now,
        api_version: str = API_VERSION,
    ) -> None:
        self.id = ids.make("00D", 1)
        self.version = api_version
        self.catalog = Catalog(schema)
        self.store = Store()
        self.rules = Rules()
        self.lock = threading.RLock()
        self._clock = clock
        self._writer = RecordWriter(self.catalog, self.store, self.rules, api_version)
        self._collections = Collections(self._writer)

    # Describe

    @property
    def objects(self) -> Mapping[str, SObject]:
        return self.catalog.objects

    @property
    def users(self) -> dict[str, UserRecord]:
        """The User records by id."""
        with self.lock:
            return {
                record["Id"]: UserRecord(record["Id"], record["Username"], record["Name"], bool(record.get("IsActive")))
                for record in self.store.table(self.objects["User"]).live()
            }

    def sobject(self, name: str) -> SObject:
        """Return the object with this name. Raise ApiError (404)."""
        found = self.catalog.find(name)
        if found is None:
            raise refusals.not_found()
        return found

    def describe(self, sobject: str) -> dict[str, Any]:
        with self.lock:
            known = self.sobject(sobject)
            answer = known.describe(self.version)
            types = [each for each in self._live("RecordType") if each.get("SobjectType") == known.name]
            infos = [self._record_type(each) for each in types]
            return {**answer, "recordTypeInfos": [*infos, *answer["recordTypeInfos"]]} if infos else answer

    def global_describe(self) -> dict[str, Any]:
        with self.lock:
            return describe_answers.everything([each.given for each in self.objects.values()], self.version)

    def summary(self, sobject: str) -> dict[str, Any]:
        """Return the answer to `/sobjects/<name>`."""
        with self.lock:
            answer = describe_answers.summary(self.sobject(sobject).given, self.version)
            return {"objectDescribe": answer, "recentItems": []}

    def add_field(self, sobject: str, field: Mapping[str, Any]) -> None:
        """Add a field, in the shape of schema.json or of a describe answer. Raise ValueError."""
        with self.lock:
            known = self.sobject(sobject)
            known.add(read_field(field))
            self.store.table(known).index()
            self._writer.forget_conditions()

    def add_objects(self, schema: Mapping[str, Any]) -> None:
        """Add the objects and fields of a schema. Raise ValueError."""
        with self.lock:
            self.catalog.read(schema)
            for table in self.store.tables.values():
                table.index()
            self._writer.forget_conditions()

    def configure(self, rules: Mapping[str, Any]) -> None:
        """Set validation and assignment rules, locks and the like (org_rules.py); the rest stays as it is. Raise
        ValueError."""
        with self.lock:
            try:
                self.rules.take(rules, self._writer.check)
            except ApiError as error:
                raise ValueError(str(error)) from error

    # One record. `options` are what headers say: `auto_assign`, `allow_duplicates` (see WriteCall)

    def create(self, sobject: str, fields: Mapping[str, Any], user_id: str, **options: Any) -> str:
        """Return the id of the new record. Raise ApiError."""
        with self.lock:
            known = self.sobject(sobject)
            body = self._body(known, fields, "Id")
            self.store.begin()
            return self._writer.create(known, body, self._call(user_id, **options))

    def update(self, sobject: str, record_id: str, fields: Mapping[str, Any], user_id: str, **options: Any) -> None:
        with self.lock:
            known = self.sobject(sobject)
            record = self._record(known, record_id)
            body = self._body(known, fields, "Id")
            self.store.begin()
            self._writer.update(known, record["Id"], body, self._call(user_id, **options))

    def upsert(
        self,
        sobject: str,
        field: str,
        value: str,
        fields: Mapping[str, Any],
        user_id: str,
        *,
        update_only: bool = False,
        **options: Any,
    ) -> tuple[str, bool]:
        """Return the record's id and whether it is new. Raise ApiError; SeveralMatch is the answer with status 300."""
        with self.lock:
            known = self.sobject(sobject)
            key = self.key_field(known, field)
            body = self._body(known, fields, "Id", key.name)
            found = self._matches(known, key, value)
            call = self._call(user_id, **options)
            self.store.begin()
            if found is not None:
                self._writer.update(known, found, body, call)
                return found, False
            if update_only or key.type == "id":
                raise refusals.not_found()
            body.values[key.name] = field_values.read(key, value)
            body.fields.append(key)
            return self._writer.create(known, body, call), True

    def delete(self, sobject: str, record_id: str, user_id: str) -> None:
        """Move a record to the recycle bin."""
        with self.lock:
            known = self.sobject(sobject)
            record = self._record(known, record_id)
            if user_id in self.rules.read_only_users:
                raise refused("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
            self.store.begin()
            self._discard(known, record, user_id)
            self._lead_to(record["Id"], None)

    def merge(self, sobject: str, record_id: str, into: str, user_id: str) -> None:
        """Delete a record in favour of another one, as a user does; what refers to it refers to the other one then."""
        with self.lock:
            known = self.sobject(sobject)
            record, other = self._record(known, record_id), self._record(known, into)
            self.store.begin()
            self._discard(known, record, user_id)
            self._lead_to(record["Id"], other["Id"])
            self.store.put(known, {**other, **self._stamps(user_id)})

    def _discard(self, sobject: SObject, record: Record, user_id: str) -> None:
        self.store.put(sobject, {**record, **self._stamps(user_id), "IsDeleted": True})

    def _stamps(self, user_id: str) -> Record:
        now = field_values.stamp(self._clock())
        return {"LastModifiedDate": now, "SystemModstamp": now, "LastModifiedById": user_id}

    def _lead_to(self, before: str, after: str | None) -> None:
        """Change all references to a record. None: it was deleted, which empties custom look-ups."""
        for table in self.store.tables.values():
            fields = [each for each in table.sobject.fields.values() if each.type == "reference"]
            names = [each.name for each in fields if after is not None or each.name.endswith("__c")]
            for record in list(table.live()):
                if changed := [name for name in names if record.get(name) == before]:
                    kept = {name: value for name, value in record.items() if name not in changed}
                    self.store.put(table.sobject, kept | (dict.fromkeys(changed, after) if after else {}))

    def delete_many(self, record_ids: Sequence[str], user_id: str, *, all_or_none: bool) -> list[dict[str, Any]]:
        """Move records of any objects to the recycle bin; return each one's result, in order."""
        with self.lock:
            kept = {name: dict(table.records) for name, table in self.store.tables.items()}
            results = [self._deleted(record_id, user_id) for record_id in record_ids]
            if all_or_none and not all(each["success"] for each in results):
                for name, records in kept.items():
                    for record_id, record in records.items():
                        self.store.tables[name].put(record_id, record)
                rolled_back = failure(ApiError(refusals.ROLLED_BACK))
                results = [rolled_back if each["success"] else each for each in results]
            return results

    def _deleted(self, record_id: str, user_id: str) -> dict[str, Any]:
        sobject = self.catalog.by_prefix.get(record_id[:3])
        try:
            if sobject is None or ids.full(record_id) is None:
                raise refused("MALFORMED_ID", f"malformed id {record_id}")
            self.delete(sobject.name, record_id, user_id)
        except ApiError as error:
            return failure(error)
        return {"id": ids.full(record_id), "success": True, "errors": []}

    def get(self, sobject: str, record_id: str, fields: Sequence[str] | None = None) -> dict[str, Any]:
        with self.lock:
            known = self.sobject(sobject)
            return self._render(known, self._record(known, record_id), fields)

    def get_by(self, sobject: str, field: str, value: str, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the record with this external id. Raise ApiError (404, or SeveralMatch)."""
        with self.lock:
            known = self.sobject(sobject)
            found = self._matches(known, self.key_field(known, field), value)
            if found is None:
                raise refusals.not_found()
            return self._render(known, self._record(known, found), fields)

    def key_field(self, sobject: SObject, name: str) -> OrgField:
        """Return the external-id field with this name. Raise ApiError (404)."""
        known = sobject.field(name)
        if known is None or not (known.external_id or known.type == "id"):
            raise refusals.no_external_id(name)
        return known

    # Several records

    def collection(
        self,
        records: object,
        user_id: str,
        *,
        all_or_none: bool = False,
        upsert_field: tuple[str, str] | None = None,
        update: bool = False,
        unknown_field_scope: str | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Create, or with `upsert_field` (object, field) upsert, or update records by their Id: return each one's
        result, in order. Raise ApiError when the whole call is refused."""
        with self.lock:
            call = self._call(user_id, **options)
            scope = unknown_field_scope or self.rules.unknown_field_scope
            key = None
            if upsert_field is not None:
                sobject = self.sobject(upsert_field[0])
                key = (sobject, self.key_field(sobject, upsert_field[1]))
            return self._collections.write(records, call, all_or_none=all_or_none, key=key, update=update, scope=scope)

    def query(self, soql: str, user_id: str | None = None, *, with_deleted: bool = False) -> Rows:
        """Return all records a statement selects; the server pages them. Raise ApiError."""
        with self.lock:
            return query.run(
                soql,
                self.catalog,
                self.store,
                now=self._clock(),
                version=self.version,
                with_deleted=with_deleted,
                hidden=self.rules.hidden,
            )

    # Set-up

    def seed(self, sobject: str, records: Iterable[Mapping[str, Any]], user_id: str | None = None) -> list[str]:
        """Store records without rules or rights, read-only fields included; return their ids.
        Raise ApiError for unknown fields, values of another type and unique values that are in use."""
        with self.lock:
            known = self.sobject(sobject)
            call = self._call(user_id, auto_assign=False, allow_duplicates=True)
            return [self._writer.seed(known, record_body.read(self.catalog, known, each), call) for each in records]

    def records(self, sobject: str) -> list[dict[str, Any]]:
        """Return all live records with all fields, oldest first."""
        with self.lock:
            known = self.sobject(sobject)
            return [self._render(known, record, None) for record in self._live(known.name)]

    def export(self) -> dict[str, Any]:
        """Return everything in the org as JSON values."""
        with self.lock:
            return {
                "schema": {"objects": [self._exported(each) for each in self.objects.values()]},
                "records": {name: list(table.records.values()) for name, table in self.store.tables.items()},
                "numbers": {name: table.number for name, table in self.store.tables.items()},
                "case_number": self.store.case_number,
                "rules": self.rules.export(),
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Replace everything by an exported org. Raise ValueError or KeyError for bad data."""
        with self.lock:
            self.catalog.read(state["schema"])
            self.store.clear()
            for name, records in state["records"].items():
                table = self.store.table(self.sobject(name))
                for record in records:
                    table.put(record["Id"], dict(record))
                table.number = state["numbers"][name]
            self.store.case_number = state["case_number"]
            self.rules.take(state["rules"], self._writer.check)
            self._writer.forget_conditions()

    # Helpers

    def _call(self, user_id: str | None, **options: Any) -> WriteCall:
        return WriteCall(user_id, self._clock(), **options)

    def _body(self, sobject: SObject, fields: Mapping[str, Any], *closed: str) -> RecordBody:
        """Return what was given for one record, which must not name the fields that the address names."""
        body = record_body.read(self.catalog, sobject, fields)
        for name in closed:
            if name in body.values:
                raise refusals.not_in_body(name)
        return body

    def _live(self, name: str) -> Iterable[Record]:
        return self.store.table(self.objects[name]).live()

    def _record(self, sobject: SObject, record_id: str) -> Record:
        wanted = ids.full(record_id)
        if wanted is None:
            raise refusals.no_external_id(record_id)
        record = self.store.get(sobject, wanted)
        if record is None:
            raise refusals.not_found()
        if record.get("IsDeleted"):
            raise refusals.deleted()
        return record

    def _matches(self, sobject: SObject, key: OrgField, value: str) -> str | None:
        try:
            wanted = field_values.read(key, value)
        except field_values.WrongToken:
            raise refusals.not_found() from None
        found = self.store.find(sobject, key, wanted)
        if len(found) > 1:
            base = describe_answers.urls(sobject.name, self.version)["sobject"]
            raise refusals.SeveralMatch(f"{base}/{each}" for each in found)
        return found[0] if found else None

    def _render(self, sobject: SObject, record: Record, names: Sequence[str] | None) -> dict[str, Any]:
        fields: Iterable[OrgField] = sobject.fields.values()
        if names is not None:
            fields = []
            for name in names:
                known = sobject.field(name)
                if known is None:
                    raise refusals.no_column(name, sobject.name)
                fields.append(known)
        return query.render(fields, sobject.name, record, self.version)

    def _exported(self, sobject: SObject) -> dict[str, Any]:
        return {**sobject.given, "fields": [dict(each.described) for each in sobject.fields.values()]}

    def _record_type(self, record: Record) -> dict[str, Any]:
        active = bool(record.get("IsActive"))
        return {
            "active": active,
            "available": active,
            "defaultRecordTypeMapping": False,
            "developerName": record.get("DeveloperName"),
            "master": False,
            "name": record.get("Name"),
            "recordTypeId": record["Id"],
            "urls": {},
        }

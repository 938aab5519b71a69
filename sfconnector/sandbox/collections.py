"""sObject Collections: up to 200 records in one call, with one result for each, in order.

What makes the body unreadable refuses the call (Malformed, 400); what is wrong with a record is that record's result.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from sfconnector.sandbox import ids, record_body, refusals
from sfconnector.sandbox.objects import OrgField, SObject
from sfconnector.sandbox.record_body import RecordBody
from sfconnector.sandbox.record_writer import RecordWriter, WriteCall
from sfconnector.sandbox.refusals import ApiError, ApiProblem, Malformed, refused

MAX_RECORDS = 200
MAX_CHUNKS = 10  # runs of records of one object

RecordResult = dict[str, Any]
ReadRecord = tuple[SObject, RecordBody] | ApiError


def failure(error: ApiError) -> RecordResult:
    return {"success": False, "errors": error.in_collection()}


class Collections:
    """Writes several records in one call."""

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer
        self._store = writer.store

    def write(
        self,
        records: object,
        call: WriteCall,
        *,
        all_or_none: bool,
        key: tuple[SObject, OrgField] | None,
        update: bool,
        scope: str,
    ) -> list[RecordResult]:
        if not isinstance(records, list):
            raise refusals.unreadable("records: a list is required")
        if len(records) > MAX_RECORDS:
            raise ApiError(refusals.TOO_MANY)
        sobjects = [self._sobject(record) for record in records]
        if key is not None and any(each is not key[0] for each in sobjects):
            text = f"All records must be of the type {key[0].name}, which the request's URL names"
            raise refused("INVALID_TYPE", text, None)
        if len(list(groupby(sobjects, lambda each: each.name))) > MAX_CHUNKS:
            text = f"Cannot have more than {MAX_CHUNKS} chunks in a single operation. Please rearrange the data."
            raise refused("LIMIT_EXCEEDED", text, None, 400)
        items = [self._read(sobject, record, scope) for sobject, record in zip(sobjects, records, strict=True)]
        sizes = Counter(each.name for each in sobjects)
        self._store.begin()
        results = self._write_all(items, call, sizes, key, update)
        if all_or_none and not all(each["success"] for each in results):
            self._store.roll_back()
            rolled_back = failure(ApiError(refusals.ROLLED_BACK))
            results = [rolled_back if each["success"] else each for each in results]
        return results

    def _sobject(self, record: object) -> SObject:
        attributes = record.get("attributes") if isinstance(record, Mapping) else None
        name = attributes.get("type") if isinstance(attributes, Mapping) else None
        if not isinstance(name, str) or not name:
            text = "The 'type' attribute is required in the attributes of each record"
            raise Malformed(ApiProblem("MISSING_ARGUMENT", text, None))
        sobject = self._writer.catalog.find(name)
        if sobject is None:
            raise Malformed(ApiProblem("INVALID_TYPE", f"sObject type '{name}' is not supported.", None))
        return sobject

    def _read(self, sobject: SObject, record: object, scope: str) -> ReadRecord:
        try:
            return sobject, record_body.read(self._writer.catalog, sobject, record)
        except Malformed as error:
            if scope == "record" and error.problems[0].code == "INVALID_FIELD":
                return error
            raise

    def _write_all(
        self,
        items: list[ReadRecord],
        call: WriteCall,
        sizes: Counter[str],
        key: tuple[SObject, OrgField] | None,
        update: bool,
    ) -> list[RecordResult]:
        twice = self._twice(items, key[1] if key else None)
        calls = {name: replace(call, size=size) for name, size in sizes.items()}
        results = []
        for place, item in enumerate(items):
            try:
                if isinstance(item, ApiError):
                    raise item
                if place in twice:
                    raise ApiError(twice[place])
                sobject, body = item
                own = calls[sobject.name]
                if key is not None:
                    results.append(self._upsert(sobject, key[1], body, own))
                elif update:
                    results.append(self._update(sobject, body, own))
                else:
                    results.append(self._create(sobject, body, own))
            except ApiError as error:
                results.append(failure(error))
        return results

    def _twice(self, items: list[ReadRecord], key: OrgField | None) -> dict[int, ApiProblem]:
        """Return the problems of records that share an id or a key within the call: an update and an upsert refuse all
        of them."""
        problems: dict[int, ApiProblem] = {}
        seen: dict[tuple[str, str, Any], list[int]] = {}
        for place, item in enumerate(items):
            if isinstance(item, ApiError):
                continue
            sobject, body = item
            watched = [key] if key else [each for each in sobject.indexed if each.unique or each.type == "id"]
            for field in watched:
                value = body.values.get(field.name)
                if value is not None:
                    seen.setdefault((sobject.name, field.name, field.key(value)), []).append(place)
        for (_, name, _), places in seen.items():
            is_key = key is not None or name == "Id"
            if len(places) < 2 or not (is_key or self._writer.rules.duplicates_in_call == "both"):
                continue
            for place in places:
                item = items[place]
                assert not isinstance(item, ApiError)
                value = item[1].values[name]
                problems[place] = (
                    refusals.key_twice(value, name) if is_key else refusals.duplicate_value(*["<unknown>"] * 2)
                )
        return problems

    def _create(self, sobject: SObject, body: RecordBody, call: WriteCall) -> RecordResult:
        if "Id" in body.values:
            raise refused("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ("Id",))
        return {"id": self._writer.create(sobject, body, call), "success": True, "errors": []}

    def _update(self, sobject: SObject, body: RecordBody, call: WriteCall) -> RecordResult:
        given = body.without("Id")
        if given is None:
            raise refused("MISSING_ARGUMENT", "Id not specified in an update call")
        record_id = self._by_id(sobject, given)
        self._writer.update(sobject, record_id, body, call)
        return {"id": record_id, "success": True, "errors": []}

    def _by_id(self, sobject: SObject, given: object) -> str:
        wanted = ids.full(given)
        if wanted is None or not wanted.startswith(sobject.prefix):
            label = sobject.fields["Id"].label
            raise refused("MALFORMED_ID", f"{label}: id value of incorrect type: {given}", ("Id",))
        record = self._store.get(sobject, wanted)
        if record is None:
            raise ApiError(refusals.bad_reference())
        if record.get("IsDeleted"):
            raise refusals.deleted(400)
        return wanted

    def _upsert(self, sobject: SObject, key: OrgField, body: RecordBody, call: WriteCall) -> RecordResult:
        if "Id" in body.values and key.type != "id":
            raise refusals.not_in_body("Id")
        value = body.values.get(key.name)
        if value is None:
            if key.type != "id":
                raise refused("MISSING_ARGUMENT", f"{key.name} not specified")
            body.without("Id")
            found: list[str] = []
        elif key.type == "id":
            found = [self._by_id(sobject, body.without("Id"))]
        else:
            found = self._store.find(sobject, key, value)
        if len(found) > 1:
            raise ApiError(refusals.several_records(key.label, found))
        if not found:
            record_id = self._writer.create(sobject, body, call)
            return {"id": record_id, "success": True, "errors": [], "created": True}
        if key.type != "id":
            body.without(key.name)
        self._writer.update(sobject, found[0], body, call)
        return {"id": found[0], "success": True, "errors": [], "created": False}

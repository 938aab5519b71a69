"""From JSON to a record: field names in their own spelling, converted values, and relationships.

Malformed refuses a whole collection: the org reads the complete body before it looks at a record.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.sandbox import field_values, refusals
from sfconnector.sandbox.objects import Catalog, OrgField, SObject
from sfconnector.sandbox.refusals import ApiError, ApiProblem


@dataclass(frozen=True, slots=True)
class Reference:
    """A parent identified by an external id: `{"Contact": {"Customer_Number__c": "x"}}`."""

    field: OrgField
    parent: SObject
    key: OrgField
    value: Any


@dataclass(slots=True)
class RecordBody:
    """The content of one record."""

    values: dict[str, Any] = field(default_factory=dict)
    fields: list[OrgField] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    #: Errors of the record: relationships without a usable key.
    problems: list[ApiProblem] = field(default_factory=list)

    def without(self, name: str) -> Any:
        """Remove a value and return it."""
        self.fields = [each for each in self.fields if each.name != name]
        return self.values.pop(name, None)


def read(catalog: Catalog, sobject: SObject, given: Any) -> RecordBody:
    """Given the JSON value of one record, return the content. Raise Malformed."""
    if not isinstance(given, Mapping):
        raise _unreadable(field_values.WrongToken(sobject.name.lower(), given), given)
    body = RecordBody()
    for name, value in given.items():
        known = sobject.field(name)
        if known is not None:
            try:
                body.values[known.name] = field_values.read(known, value)
            except field_values.WrongToken as error:
                raise _unreadable(error, given, name) from None
            body.fields.append(known)
        elif name != "attributes":
            _read_relationship(catalog, sobject, body, name, value)
    for reference in body.references:
        if reference.field.name in body.values:
            raise refusals.given_twice(reference.field.relationship or "", reference.field.name)
    return body


def _unreadable(error: field_values.WrongToken, given: Any, name: str | None = None) -> ApiError:
    """Return the error; the column is where the value begins if json.dumps writes the record."""
    column = 1
    if name is not None:
        names = list(given)
        before = {key: given[key] for key in names[: names.index(name)]}
        column = len(json.dumps({**before, name: None}, default=str)) - len("null")
    return refusals.unreadable(f"{error} or request may be missing a required field at [line:1, column:{column}]")


def _read_relationship(catalog: Catalog, sobject: SObject, body: RecordBody, name: str, value: Any) -> None:
    known = sobject.relation(name)
    if known is None:
        raise refusals.no_column(name, sobject.name)
    if value is None:
        body.values[known.name] = None
        body.fields.append(known)
        return
    if not isinstance(value, Mapping):
        raise _unreadable(field_values.WrongToken(known.refers_to[0].lower(), value), {name: value}, name)
    attributes = value.get("attributes")
    named = [key for key in value if key != "attributes"]
    parent = _parent(catalog, known, attributes.get("type") if isinstance(attributes, Mapping) else None, named)
    keys = []
    for each in named:
        key = parent.field(each)
        if key is None:
            raise refusals.no_column(each, parent.name)
        keys.append(key)
    if len(keys) != 1:
        text = f"More than 1 field provided in an external foreign key reference in entity: {parent.name}"
        body.problems.append(ApiProblem("INVALID_FIELD", text))
    elif keys[0].type == "id" or not (keys[0].external_id or keys[0].id_lookup):
        text = f"Field name provided, {keys[0].name} is not an External ID or indexed field for {parent.name}"
        body.problems.append(ApiProblem("INVALID_FIELD", text))
    else:
        try:
            wanted = field_values.read(keys[0], value[named[0]])
        except field_values.WrongToken as error:
            raise _unreadable(error, value, named[0]) from None
        body.references.append(Reference(known, parent, keys[0], wanted))


def _parent(catalog: Catalog, known: OrgField, wanted: object, named: list[str]) -> SObject:
    """Return the parent object: the one named in `attributes`, else one that has the field."""
    choice = [parent for name in known.refers_to if (parent := catalog.find(name))]
    if not choice:
        raise refusals.no_column(known.relationship or known.name, known.refers_to[0] if known.refers_to else "")
    for parent in choice:
        if isinstance(wanted, str) and parent.name.lower() == wanted.lower():
            return parent
    for parent in choice:
        if any(parent.field(name) for name in named):
            return parent
    return choice[0]

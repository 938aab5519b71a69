"""The org's objects and fields, read from a schema, and the describe answers built from them.

A schema is `{"objects": [...]}` with objects in the shape of schema.json, or one describe answer of a real org. Names
are found ignoring case, and answered as the schema spells them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from importlib import resources
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.salesforce.describe import Field, attributes_of
from sfconnector.sandbox import describe_answers

#: Types whose values are text; too long a text is refused, never cut.
TEXTS = frozenset(
    {"string", "textarea", "picklist", "multipicklist", "combobox", "email", "phone", "url", "encryptedstring"}
)
NUMBERS = frozenset({"int", "double", "currency", "percent", "long"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgField(Field):
    """A field with what an org enforces."""

    precision: int
    scale: int
    default: Any
    filterable: bool
    sortable: bool
    #: Its part of the describe answer.
    described: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def indexed(self) -> bool:
        return self.unique or self.external_id or self.id_lookup

    def key(self, value: Any) -> Any:
        """Return what is equal for two values that Salesforce takes for the same."""
        return value.lower() if isinstance(value, str) and not self.case_sensitive else value


def read_field(given: Mapping[str, Any]) -> OrgField:
    """Given a field in the shape of schema.json or of a describe answer, return it. Raise ValueError without a name or
    a type."""
    if not isinstance(given.get("name"), str) or not isinstance(given.get("type"), str):
        raise ValueError(f"a field needs a name and a type: {json.dumps(dict(given), default=str)[:200]}")
    described = describe_answers.field(given)
    return OrgField(
        **attributes_of(described),
        precision=described["digits"] or described["precision"],
        scale=described["scale"],
        default=described["defaultValue"],
        filterable=described["filterable"],
        sortable=described["sortable"],
        described=described,
    )


class SObject:
    """One object type."""

    def __init__(self, given: Mapping[str, Any], fields: Iterable[OrgField]) -> None:
        self.name: str = given["name"]
        self.given = dict(given)
        self.prefix: str = given["keyPrefix"]
        self.fields: dict[str, OrgField] = {}
        self._by_name: dict[str, OrgField] = {}
        self._by_relationship: dict[str, OrgField] = {}
        for each in fields:
            self.add(each)

    def add(self, new: OrgField) -> None:
        """Add a field; it replaces one of the same name."""
        self.fields[new.name] = new
        self._by_name[new.name.lower()] = new
        if new.relationship:
            self._by_relationship[new.relationship.lower()] = new
        self.required = [each for each in self.fields.values() if each.required]
        self.indexed = [each for each in self.fields.values() if each.indexed]
        self.defaults = {
            each.name: False if each.default is None and each.type == "boolean" else each.default
            for each in self.fields.values()
            if each.default is not None or each.type == "boolean"
        }
        self._described: dict[str, Any] | None = None

    def field(self, name: str) -> OrgField | None:
        return self._by_name.get(name.lower())

    def relation(self, name: str) -> OrgField | None:
        """Return the reference field with this relationship name."""
        return self._by_relationship.get(name.lower())

    def describe(self, version: str) -> dict[str, Any]:
        if self._described is None or self._described["urls"] != describe_answers.urls(self.name, version):
            fields = [each.described for each in self.fields.values()]
            self._described = describe_answers.sobject(self.given, fields, version)
        return self._described


class Catalog:
    """The objects of one org. Raises ValueError for a bad schema."""

    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        built_in = _resource("sfconnector.sandbox", "schema.json")
        self._common = [read_field(each) for each in built_in["common"]]
        self.objects: dict[str, SObject] = {}
        self._by_name: dict[str, SObject] = {}
        self.by_prefix: dict[str, SObject] = {}
        self.read(built_in)
        self.read(_resource("sfconnector.alarms", "alarm_object.json"))
        if schema is not None:
            self.read(schema)

    def read(self, schema: Mapping[str, Any]) -> None:
        """Add the objects of a schema, and new fields of known objects."""
        listed = schema.get("objects", [schema])
        for given in listed.values() if isinstance(listed, Mapping) else listed:
            if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
                raise ValueError("a schema is a list of `objects`, each with a name and fields")
            fields = [read_field(each) for each in given.get("fields", ())]
            known = self.find(given["name"])
            if known is None:
                self._add(given, fields)
                continue
            for each in fields:
                known.add(each)

    def _add(self, given: Mapping[str, Any], fields: list[OrgField]) -> None:
        prefix = given.get("keyPrefix") or self._free_prefix()
        new = SObject({**given, "keyPrefix": prefix}, [*self._common, *fields])
        self.objects[new.name] = self._by_name[new.name.lower()] = self.by_prefix[prefix] = new

    def _free_prefix(self) -> str:
        """Return an unused prefix; those of custom objects begin with a00, as in an org."""
        return next(text for number in range(1000) if (text := f"a{number:02}") not in self.by_prefix)

    def find(self, name: object) -> SObject | None:
        return self._by_name.get(name.lower()) if isinstance(name, str) else None


def _resource(package: str, name: str) -> Any:
    return json.loads(resources.files(package).joinpath(name).read_text("utf-8"))

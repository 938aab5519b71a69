"""The org's objects and fields: a describe-like description, read from a schema, and the describe answers made of it.

A schema is `{"objects": [...]}` with objects in the shape of schema.json, or one describe answer of a real org. Names
are found in any case, and told in their own.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from sfconnector.sandbox import describe_answers

#: Types whose values are text, cut off at no length but refused above it.
TEXTS = frozenset(
    {"string", "textarea", "picklist", "multipicklist", "combobox", "email", "phone", "url", "encryptedstring"}
)
NUMBERS = frozenset({"int", "double", "currency", "percent", "long"})
#: Text that SOQL can neither filter nor sort by.
LONG_TEXT = 255


@dataclass(frozen=True, slots=True)
class OrgField:
    name: str
    label: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    createable: bool = True
    updateable: bool = True
    nillable: bool = True
    defaulted: bool = False
    default: Any = None
    external_id: bool = False
    id_lookup: bool = False
    unique: bool = False
    case_sensitive: bool = False
    filterable: bool = True
    sortable: bool = True
    restricted: bool = False
    values: tuple[str, ...] = ()  # the active ones of a picklist
    refers_to: tuple[str, ...] = ()
    relationship: str | None = None
    #: The describe answer's part for this field, whole.
    described: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def required(self) -> bool:
        return self.createable and not self.nillable and not self.defaulted and self.type != "boolean"

    @property
    def indexed(self) -> bool:
        return self.unique or self.external_id or self.id_lookup

    def key(self, value: Any) -> Any:
        """Return what two values have in common that are one value to Salesforce."""
        return value.lower() if isinstance(value, str) and not self.case_sensitive else value


def read_field(given: Mapping[str, Any]) -> OrgField:
    """Given a field in the shape of schema.json or of a describe answer, return it. Raise ValueError if it lacks a
    name or a type."""
    if not isinstance(given.get("name"), str) or not isinstance(given.get("type"), str):
        raise ValueError(f"a field needs a name and a type: {json.dumps(dict(given), default=str)[:200]}")
    described = describe_answers.field(given)
    return OrgField(
        name=described["name"],
        label=described["label"],
        type=described["type"],
        length=described["length"],
        precision=described["digits"] or described["precision"],
        scale=described["scale"],
        createable=described["createable"],
        updateable=described["updateable"],
        nillable=described["nillable"],
        defaulted=described["defaultedOnCreate"],
        default=described["defaultValue"],
        external_id=described["externalId"],
        id_lookup=described["idLookup"],
        unique=described["unique"],
        case_sensitive=described["caseSensitive"],
        filterable=described["filterable"],
        sortable=described["sortable"],
        restricted=described["restrictedPicklist"],
        values=tuple(entry["value"] for entry in described["picklistValues"] if entry["active"]),
        refers_to=tuple(described["referenceTo"]),
        relationship=described["relationshipName"],
        described=described,
    )


class SObject:
    """One kind of record."""

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
        """Take a field in, in place of one of the same name."""
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
        """Return the reference field that has the given relationship name."""
        return self._by_relationship.get(name.lower())

    def describe(self, version: str) -> dict[str, Any]:
        if self._described is None or self._described["urls"] != describe_answers.urls(self.name, version):
            fields = [each.described for each in self.fields.values()]
            self._described = describe_answers.sobject(self.given, fields, version)
        return self._described


class Catalog:
    """The objects of one org. Raise ValueError for a schema that is none."""

    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        built_in = json.loads(resources.files("sfconnector.sandbox").joinpath("schema.json").read_text("utf-8"))
        self._common = [read_field(each) for each in built_in["common"]]
        self.objects: dict[str, SObject] = {}
        self._by_name: dict[str, SObject] = {}
        self.by_prefix: dict[str, SObject] = {}
        self.read(built_in)
        if schema is not None:
            self.read(schema)

    def read(self, schema: Mapping[str, Any]) -> None:
        """Take the objects of a schema in: new ones, and new fields of those that are there."""
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
        """Custom objects begin with a00, as in an org."""
        return next(text for number in range(1000) if (text := f"a{number:02}") not in self.by_prefix)

    def find(self, name: object) -> SObject | None:
        return self._by_name.get(name.lower()) if isinstance(name, str) else None

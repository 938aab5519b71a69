"""The answer to `describe` as values, as far as a mapping needs it. Pure."""

from collections.abc import Mapping
from typing import Any

from connectorlib.dataclass import dataclass

#: Types of free text, which may be cut.
CUTTABLE = frozenset({"string", "textarea", "encryptedstring", "combobox"})
PICKLISTS = frozenset({"picklist", "multipicklist"})
REFERENCES = frozenset({"reference", "id"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object."""

    name: str
    label: str
    type: str
    length: int  # characters; 0 for types that have none
    createable: bool
    updateable: bool
    restricted: bool  # whether Salesforce refuses other picklist values than `values`
    values: tuple[str, ...]  # the active ones of a picklist
    external_id: bool
    id_lookup: bool  # whether it may identify a record instead of its id
    unique: bool
    case_sensitive: bool  # whether it tells capitals from small letters
    nillable: bool
    defaulted: bool  # whether Salesforce sets it when a record is created
    relationship: str | None
    refers_to: tuple[str, ...]

    @property
    def required(self) -> bool:
        """Whether a new record needs a value for this field."""
        return self.createable and not self.nillable and not self.defaulted and self.type != "boolean"

    @property
    def cut(self) -> int:
        """The length to which a text may be cut; 0: it may not."""
        return self.length if self.type in CUTTABLE else 0


class Described:
    """One object. Names are found ignoring case, as Salesforce does."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.name = str(answer.get("name", ""))
        self.createable = bool(answer.get("createable", True))
        self.fields = tuple(Field(**attributes_of(each)) for each in answer.get("fields") or ())
        self._by_name = {field.name.lower(): field for field in self.fields}
        self._by_relationship = {field.relationship.lower(): field for field in self.fields if field.relationship}

    def field(self, name: str) -> Field | None:
        return self._by_name.get(name.lower())

    def relationship(self, name: str) -> Field | None:
        """Return the reference field to which this relationship belongs."""
        return self._by_relationship.get(name.lower())

    @property
    def relationships(self) -> tuple[str, ...]:
        return tuple(field.relationship for field in self.fields if field.relationship)


def attributes_of(field: Mapping[str, Any]) -> dict[str, Any]:
    """Given a field of a describe answer, return the attributes of its `Field`."""
    values = field.get("picklistValues") or ()
    return {
        "name": str(field.get("name", "")),
        "label": str(field.get("label") or field.get("name", "")),
        "type": str(field.get("type", "string")),
        "length": int(field.get("length") or 0),
        "createable": bool(field.get("createable", True)),
        "updateable": bool(field.get("updateable", True)),
        "restricted": bool(field.get("restrictedPicklist", False)),
        "values": tuple(str(each.get("value")) for each in values if each.get("active", True)),
        "external_id": bool(field.get("externalId", False)),
        "id_lookup": bool(field.get("idLookup", False)),
        "unique": bool(field.get("unique", False)),
        "case_sensitive": bool(field.get("caseSensitive", False)),
        "nillable": bool(field.get("nillable", True)),
        "defaulted": bool(field.get("defaultedOnCreate", False)),
        "relationship": field.get("relationshipName") or None,
        "refers_to": tuple(str(each) for each in field.get("referenceTo") or ()),
    }

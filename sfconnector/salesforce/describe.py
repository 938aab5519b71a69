"""What Salesforce says about an object (`describe`), as far as a mapping needs it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Types that hold free text, which still means something when its end is cut off.
CUTTABLE = frozenset({"string", "textarea", "encryptedstring", "combobox"})
PICKLISTS = frozenset({"picklist", "multipicklist"})
REFERENCES = frozenset({"reference", "id"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a describe answer, as far as it matters here."""

    name: str
    label: str
    type: str
    length: int  # characters; 0 for types that have none
    createable: bool
    updateable: bool
    restricted: bool  # whether Salesforce refuses picklist values other than `values`
    values: tuple[str, ...]  # the active ones of a picklist
    external_id: bool
    id_lookup: bool  # whether it may name a record in place of its id
    unique: bool
    nillable: bool
    defaulted: bool  # whether Salesforce fills it when a record is created
    relationship: str | None
    refers_to: tuple[str, ...]

    @property
    def required(self) -> bool:
        """Whether a new record needs a value for it."""
        return self.createable and not self.nillable and not self.defaulted and self.type != "boolean"

    @property
    def cut(self) -> int:
        """Where a text that is too long may be cut; 0: nowhere."""
        return self.length if self.type in CUTTABLE else 0


class Described:
    """One object. Names are found in any case, as Salesforce takes them."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.name = str(answer.get("name", ""))
        self.createable = bool(answer.get("createable", True))
        self.fields = tuple(_field(each) for each in answer.get("fields") or ())
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


def _field(told: Mapping[str, Any]) -> Field:
    values = told.get("picklistValues") or ()
    return Field(
        name=str(told.get("name", "")),
        label=str(told.get("label") or told.get("name", "")),
        type=str(told.get("type", "string")),
        length=int(told.get("length") or 0),
        createable=bool(told.get("createable", True)),
        updateable=bool(told.get("updateable", True)),
        restricted=bool(told.get("restrictedPicklist", False)),
        values=tuple(str(each.get("value")) for each in values if each.get("active", True)),
        external_id=bool(told.get("externalId", False)),
        id_lookup=bool(told.get("idLookup", False)),
        unique=bool(told.get("unique", False)),
        nillable=bool(told.get("nillable", True)),
        defaulted=bool(told.get("defaultedOnCreate", False)),
        relationship=told.get("relationshipName") or None,
        refers_to=tuple(str(each) for each in told.get("referenceTo") or ()),
    )

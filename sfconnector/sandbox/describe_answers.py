"""Describe answers with all their keys, built from the few that a schema gives."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

_SOAP = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
}
_LENGTHS = {"id": 18, "reference": 18, "url": 255, "email": 80, "phone": 40, "picklist": 255, "string": 255}
#: The keys of a field and of an object, with the value that they have unless the schema gives another.
_DEFAULTS = json.loads(resources.files("sfconnector.sandbox").joinpath("describe_defaults.json").read_text("utf-8"))
_FIELD: dict[str, Any] = _DEFAULTS["field"]
_SOBJECT: dict[str, Any] = _DEFAULTS["sobject"]
#: The record type of every record that has no other.
MASTER = "012000000000000AAA"


def field(given: Mapping[str, Any]) -> dict[str, Any]:
    """Given the keys that differ from the default, return the complete description of a field."""
    name, kind = given["name"], given["type"]
    custom = name.endswith("__c")
    answer = _FIELD | {"label": name.removesuffix("__c").replace("_", " "), "custom": custom}
    answer |= {"soapType": _SOAP.get(kind, "xsd:string"), "length": _LENGTHS.get(kind, 0)}
    # Whoever may read the record, sees its name and what it must have.
    answer["permissionable"] = given.get("nillable", True) and not given.get("nameField", False)
    if kind == "reference" and custom:
        answer["relationshipName"] = name.removesuffix("c") + "r"
    if kind in ("double", "currency", "percent"):
        answer["precision"] = 18
    answer |= given
    answer["picklistValues"] = [_value(each, answer["defaultValue"]) for each in answer["picklistValues"]]
    answer["namePointing"] = answer["polymorphicForeignKey"] = len(answer["referenceTo"]) > 1
    if answer["length"] and not answer["byteLength"]:
        answer["byteLength"] = answer["length"] * (1 if kind in ("id", "reference") else 3)
    return answer


def _value(given: Any, default: Any) -> dict[str, Any]:
    entry = {"active": True, "defaultValue": False, "label": None, "validFor": None, "value": given}
    if isinstance(given, Mapping):
        entry |= given
    elif given == default:
        entry["defaultValue"] = True
    return entry | {"label": entry["label"] or entry["value"]}


def urls(name: str, version: str) -> dict[str, str]:
    base = f"/services/data/v{version}/sobjects/{name}"
    return {"sobject": base, "describe": f"{base}/describe", "rowTemplate": base + "/{ID}"}


def summary(given: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return what `/sobjects` answers about one object."""
    name = given["name"]
    answer = _SOBJECT | {"label": name, "labelPlural": name, "custom": name.endswith("__c")}
    answer |= {key: value for key, value in given.items() if key in _SOBJECT}
    return answer | {"urls": urls(name, version)}


def sobject(given: Mapping[str, Any], fields: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """Return the answer to `/sobjects/<name>/describe`."""
    own = {key: value for key, value in given.items() if key not in ("fields", "urls")}
    master = {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": True,
        "developerName": "Master",
        "master": True,
        "name": "Master",
        "recordTypeId": MASTER,
        "urls": {},
    }
    lists: dict[str, Any] = {"actionOverrides": [], "childRelationships": [], "namedLayoutInfos": []}
    lists |= {"supportedScopes": [], "recordTypeInfos": [master]}
    return lists | summary(given, version) | own | {"fields": list(fields), "urls": urls(given["name"], version)}


def everything(objects: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """Return the answer to `/sobjects`."""
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [summary(each, version) for each in objects]}

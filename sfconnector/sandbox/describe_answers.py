"""Describe answers with all their keys, made of the few that a schema states. Pure."""

from collections.abc import Mapping, Sequence
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
#: What a describe answer says of a field for which the schema says nothing else.
_FIELD: dict[str, Any] = {
    "aggregatable": True,
    "autoNumber": False,
    "byteLength": 0,
    "calculated": False,
    "calculatedFormula": None,
    "cascadeDelete": False,
    "caseSensitive": False,
    "compoundFieldName": None,
    "controllerName": None,
    "createable": True,
    "custom": False,
    "defaultValue": None,
    "defaultValueFormula": None,
    "defaultedOnCreate": False,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "digits": 0,
    "displayLocationInDecimal": False,
    "encrypted": False,
    "externalId": False,
    "extraTypeInfo": None,
    "filterable": True,
    "filteredLookupInfo": None,
    "groupable": True,
    "highScaleNumber": False,
    "htmlFormatted": False,
    "idLookup": False,
    "inlineHelpText": None,
    "label": "",
    "length": 0,
    "mask": None,
    "maskType": None,
    "name": "",
    "nameField": False,
    "namePointing": False,
    "nillable": True,
    "permissionable": True,
    "picklistValues": [],
    "polymorphicForeignKey": False,
    "precision": 0,
    "queryByDistance": False,
    "referenceTargetField": None,
    "referenceTo": [],
    "relationshipName": None,
    "relationshipOrder": None,
    "restrictedDelete": False,
    "restrictedPicklist": False,
    "scale": 0,
    "searchPrefilterable": False,
    "soapType": "xsd:string",
    "sortable": True,
    "type": "string",
    "unique": False,
    "updateable": True,
    "writeRequiresMasterRead": False,
}
_SOBJECT: dict[str, Any] = {
    "activateable": False,
    "createable": True,
    "custom": False,
    "customSetting": False,
    "deletable": True,
    "deprecatedAndHidden": False,
    "feedEnabled": True,
    "hasSubtypes": False,
    "isSubtype": False,
    "keyPrefix": None,
    "label": "",
    "labelPlural": "",
    "layoutable": True,
    "mergeable": False,
    "mruEnabled": True,
    "name": "",
    "queryable": True,
    "replicateable": True,
    "retrieveable": True,
    "searchable": True,
    "triggerable": True,
    "undeletable": True,
    "updateable": True,
}
#: The record type that every record has which has no other.
MASTER = "012000000000000AAA"


def field(given: Mapping[str, Any]) -> dict[str, Any]:
    """Given the keys that differ, return the whole description of a field."""
    name, kind = given["name"], given["type"]
    custom = name.endswith("__c")
    told = _FIELD | {"label": name.removesuffix("__c").replace("_", " "), "custom": custom}
    told |= {"soapType": _SOAP.get(kind, "xsd:string"), "length": _LENGTHS.get(kind, 0), "permissionable": custom}
    if kind == "reference" and custom:
        told["relationshipName"] = name.removesuffix("c") + "r"
    if kind in ("double", "currency", "percent"):
        told["precision"] = 18
    told |= given
    told["picklistValues"] = [_value(each, told["defaultValue"]) for each in told["picklistValues"]]
    told["namePointing"] = told["polymorphicForeignKey"] = len(told["referenceTo"]) > 1
    if told["length"] and not told["byteLength"]:
        told["byteLength"] = told["length"] * (1 if kind in ("id", "reference") else 3)
    return told


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
    """What `/sobjects` says of one object."""
    name = given["name"]
    told = _SOBJECT | {"label": name, "labelPlural": name, "custom": name.endswith("__c")}
    told |= {key: value for key, value in given.items() if key in _SOBJECT}
    return told | {"urls": urls(name, version)}


def sobject(given: Mapping[str, Any], fields: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """What `/sobjects/<name>/describe` says."""
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
    """What `/sobjects` says."""
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [summary(each, version) for each in objects]}

"""The files of a project for Salesforce's own command line, with what a configuration needs in the org. Pure.

Written from the documentation (Metadata API guide, version 62 and later) and from projects that others have published;
not tried on an org. The fields of the alarms come from alarm_object.json, which the sandbox loads too.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import chain, count
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.alarms.alarm_calls import relationship
from sfconnector.alarms.alarm_record import CASE as ALARM_CASE
from sfconnector.alarms.alarm_record import COUNT, KEY, LAST, STATE
from sfconnector.metadata.metadata_xml import Content, document
from sfconnector.metadata.permissions import CASE, CREATE, EDIT, READ, VIEW_ALL, Permissions, permissions_of
from sfconnector.settings import AlarmSettings, Division, SfConfig

API_VERSION = "62.0"
SOURCE = "force-app/main/default"
#: The names of `AlarmSettings` that alarm_object.json uses.
_PLAIN = AlarmSettings.__dataclass_fields__
_TYPES = {"string": "Text", "double": "Number", "datetime": "DateTime", "picklist": "Picklist"}
#: What a Case shows of its alarm: a part of the field's name and label, the type, the formula.
_SHOWN: Sequence[tuple[str, Mapping[str, Content], str]] = (
    ("Count", {"type": "Number", "precision": 18, "scale": 0}, "{alarm}." + COUNT),
    ("State", {"type": "Text"}, "TEXT({alarm}." + STATE + ")"),
    ("Last", {"type": "DateTime"}, "{alarm}." + LAST),
)


@dataclass(frozen=True, slots=True)
class ClientApp:
    """An External Client App; `flow` is `jwt` or `client_credentials`."""

    name: str
    flow: str


def files(config: SfConfig, name: str, email: str, certificate: str = "") -> dict[str, str]:
    """Return the texts of the files by their paths. `name` is that of permission set and app; `email` is whom
    Salesforce writes to about the app; `certificate` is what the app checks JWTs with, as PEM."""
    access = permissions_of(config.divisions)
    made = {
        "sfdx-project.json": _json({"packageDirectories": [{"path": "force-app", "default": True}]}),
        **_permission_set(name, f"{name}: what the connector needs", access.objects, access.fields, api=True),
    }
    alarms = alarms_of(config)
    for alarm in alarms:
        made |= dict(_alarm(alarm))
    if alarms:
        made |= _agents(f"{name}_agents", alarms)
    for app in apps_of(config, name):
        made |= dict(_app(app, name, email, certificate))
    made["README.md"] = _read_me(config, name, access, certificate)
    return made


def alarms_of(config: SfConfig) -> list[AlarmSettings]:
    """Return the sections `alarm` that differ in what they need of the org."""
    found: dict[tuple[str, str, str], AlarmSettings] = {}
    for division in config.divisions:
        if (alarm := division.case.alarm) is not None:
            found.setdefault((alarm.object, alarm.case_key, alarm.case_alarm), alarm)
    return list(found.values())


def apps_of(config: SfConfig, name: str) -> list[ClientApp]:
    """Return the apps that divisions log in through: one for all JWTs, one for each user of client credentials. A
    division with a password gets the one for JWTs: External Client Apps have no flow for passwords."""
    flows = {division.name: division.salesforce.auth for division in config.divisions}
    own = [each for each, flow in flows.items() if flow == "client_credentials"]
    names = [f"{name}_{each}" for each in developer_names(own)] if len(own) > 1 else [name] * len(own)
    apps = [ClientApp(each, "client_credentials") for each in names]
    if len(own) < len(flows):
        apps.append(ClientApp(f"{name}_jwt" if apps else name, "jwt"))
    return apps


def developer_names(texts: Sequence[str]) -> list[str]:
    """Return a name for each of the texts that Salesforce takes, no two alike: letters, digits and single underscores,
    none of them at an end."""
    found: list[str] = []
    for number, text in enumerate(texts, 1):
        name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
        others = (f"{name}_{each}".lstrip("_") for each in count(number))
        taken = {each.lower() for each in found}
        found.append(next(each for each in chain([name], others) if each and each.lower() not in taken))
    return found


def username_of(division: Division) -> str | None:
    """Return the division's user; None if it is not named, or is found elsewhere when the connector starts."""
    username = division.salesforce.username
    return None if username is None or "${" in username else username


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps({**value, "sourceApiVersion": API_VERSION}, indent=2) + "\n"


# -- the permission sets


def _permission_set(
    name: str, label: str, objects: Mapping[str, set[str]], fields: Mapping[str, bool], *, api: bool = False
) -> dict[str, str]:
    permissions = (READ, CREATE, EDIT, "allowDelete", "modifyAllRecords", VIEW_ALL)
    content: dict[str, Content] = {
        "label": label,
        "hasActivationRequired": False,
        "objectPermissions": [
            {"object": each, **{permission: permission in objects[each] for permission in permissions}}
            for each in sorted(objects)
        ],
        "fieldPermissions": [{"field": each, "readable": True, "editable": fields[each]} for each in sorted(fields)],
    }
    if api:
        content["userPermissions"] = [{"name": "ApiEnabled", "enabled": True}]
    return {f"{SOURCE}/permissionsets/{name}.permissionset-meta.xml": document("PermissionSet", content)}


def _agents(name: str, alarms: Sequence[AlarmSettings]) -> dict[str, str]:
    """Return a permission set for those who work on the Cases: reading the alarms, in their list and on the Case."""
    access = Permissions()
    for alarm in alarms:
        access.may(alarm.object)
        for each in _own_fields(alarm):
            access.sees(alarm.object, each["name"])
        for field in (alarm.case_alarm, *(shown for shown, *_ in _shown(alarm))):
            access.sees(CASE, field)
    return _permission_set(name, f"{name}: alarms and their Cases", access.objects, access.fields)


# -- the alarms


def _alarm(alarm: AlarmSettings) -> Iterator[tuple[str, str]]:
    folder = f"{SOURCE}/objects/{alarm.object}"
    given = _objects()[_default("object")]
    yield f"{folder}/{alarm.object}.object-meta.xml", document("CustomObject", _object(given))
    for each in _own_fields(alarm):
        yield _field(folder, each, _refers(alarm, each), children=_plural(alarm.object))
    yield f"{folder}/listViews/Ringing.listView-meta.xml", document("ListView", _LIST)
    case = f"{SOURCE}/objects/{CASE}"
    names = {_default("case_key"): alarm.case_key, _default("case_alarm"): alarm.case_alarm}
    for each in _objects()[CASE]["fields"]:
        own = {**each, "name": names[each["name"]]}
        yield _field(case, own, _refers(alarm, own), children=f"{_base(alarm.case_alarm)}_Cases")
    for name, content in _shown(alarm):
        yield f"{case}/fields/{name}.field-meta.xml", document("CustomField", content)


_LIST: Mapping[str, Content] = {
    "fullName": "Ringing",
    "label": "Not cleared",
    "columns": ["NAME", KEY, STATE, COUNT, LAST, ALARM_CASE],
    "filterScope": "Everything",
    "filters": {"field": STATE, "operation": "notEqual", "value": "cleared"},
}


def _object(given: Mapping[str, Any]) -> Mapping[str, Content]:
    name = next(each for each in given["fields"] if each.get("nameField"))
    return {
        "label": given["label"],
        "pluralLabel": given["labelPlural"],
        "nameField": {"label": name["label"], "type": "AutoNumber", "displayFormat": "A-{00000000}"},
        "deploymentStatus": "Deployed",
        # Whoever may edit the object may edit every record: another user may take over a division.
        "sharingModel": "ReadWrite",
        "enableReports": True,
    }


def _field(folder: str, given: Mapping[str, Any], refers_to: str, *, children: str) -> tuple[str, str]:
    """Return path and text of a field; `children` is what the records that refer to another one are called there."""
    content: dict[str, Content] = {"fullName": given["name"], "label": given["label"], "required": False}
    kind = given["type"]
    if kind == "reference":
        content |= {"type": "Lookup", "referenceTo": refers_to, "deleteConstraint": "SetNull"}
        content |= {"relationshipName": children, "relationshipLabel": children.replace("_", " ")}
    elif kind == "textarea":
        content |= {"type": "LongTextArea", "length": given["length"], "visibleLines": 3}
    else:
        content["type"] = _TYPES[kind]
    if kind == "string":
        content["length"] = given["length"]
        content |= {key: given[key] for key in ("externalId", "unique", "caseSensitive") if key in given}
    elif kind == "double":
        content |= {key: given[key] for key in ("precision", "scale")}
    elif kind == "picklist":
        values = [{"fullName": each, "label": each, "default": False} for each in given["picklistValues"]]
        content["valueSet"] = {"restricted": False, "valueSetDefinition": {"sorted": False, "value": values}}
    return f"{folder}/fields/{given['name']}.field-meta.xml", document("CustomField", content)


def _shown(alarm: AlarmSettings) -> Iterator[tuple[str, Mapping[str, Content]]]:
    """Yield the formula fields that show the alarm on its Case, which is not written for that."""
    base = _base(alarm.case_alarm)
    for part, kind, formula in _SHOWN:
        name = f"{base}_{part}__c"
        text = formula.format(alarm=relationship(alarm.case_alarm))
        label = f"{base} {part}".replace("_", " ")
        yield name, {"fullName": name, "label": label, "formula": text, "formulaTreatBlanksAs": "BlankAsBlank", **kind}


def _own_fields(alarm: AlarmSettings) -> list[Mapping[str, Any]]:
    """Return the custom fields of the object, as alarm_object.json has them."""
    return [each for each in _objects()[_default("object")]["fields"] if each["name"].endswith("__c")]


def _refers(alarm: AlarmSettings, given: Mapping[str, Any]) -> str:
    (refers_to,) = given.get("referenceTo", [""])
    return alarm.object if refers_to == _default("object") else refers_to


def _objects() -> dict[str, dict[str, Any]]:
    text = resources.files("sfconnector.alarms").joinpath("alarm_object.json").read_text("utf-8")
    return {each["name"]: each for each in json.loads(text)["objects"]}


def _default(name: str) -> str:
    return str(_PLAIN[name].default)


def _base(name: str) -> str:
    return name.removesuffix("__c")


def _plural(name: str) -> str:
    return f"{_base(name)}s"


# -- the apps


def _app(app: ClientApp, permission_set: str, email: str, certificate: str) -> Iterator[tuple[str, str]]:
    jwt, own = app.flow == "jwt", {"externalClientApplication": app.name}
    header: dict[str, Content] = {
        "label": app.name,
        "contactEmail": email,
        "distributionState": "Local",
        "isProtected": False,
    }
    yield f"{SOURCE}/externalClientApps/{app.name}.eca-meta.xml", document("ExternalClientApplication", header)
    flow: dict[str, Content] = {"isClientCredentialsFlowEnabled": not jwt}
    if jwt and certificate:
        flow["certificate"] = _base64_of(certificate)
    secrets: dict[str, Content] = {
        **own,
        **flow,
        "label": f"{app.name} global OAuth settings",
        "callbackUrl": "https://login.salesforce.com/services/oauth2/callback",  # needed, and not used by these flows
        "isConsumerSecretOptional": False,
        "isIntrospectAllTokens": False,
        "isPkceRequired": True,
        "isSecretRequiredForRefreshToken": True,
        "shouldRotateConsumerKey": False,
        "shouldRotateConsumerSecret": False,
    }
    path = f"{SOURCE}/extlClntAppGlobalOauthSets/{app.name}_global.ecaGlblOauth-meta.xml"
    yield path, document("ExtlClntAppGlobalOauthSettings", secrets)
    # Without RefreshToken the JWT flow refuses users that are approved beforehand.
    scopes = "Api, RefreshToken" if jwt else "Api"
    settings: dict[str, Content] = {**own, "label": f"{app.name} OAuth settings", "commaSeparatedOauthScopes": scopes}
    path = f"{SOURCE}/extlClntAppOauthSettings/{app.name}_oauth.ecaOauth-meta.xml"
    yield path, document("ExtlClntAppOauthSettings", settings)
    if jwt:  # that of client credentials needs a user of the org
        policy: dict[str, Content] = {
            **own,
            "label": f"{app.name} OAuth policy",
            "permittedUsersPolicyType": "AdminApprovedPreAuthorized",
            "commaSeparatedPermissionSet": permission_set,
            "ipRelaxationPolicyType": "Enforce",
            "refreshTokenPolicyType": "Zero",
        }
        path = f"{SOURCE}/extlClntAppOauthPolicies/{app.name}_policy.ecaOauthPlcy-meta.xml"
        yield path, document("ExtlClntAppOauthConfigurablePolicies", policy)


def _base64_of(pem: str) -> str:
    """Return what is between the lines BEGIN and END of a certificate. Raise ValueError without one."""
    match = re.search(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", pem, re.DOTALL)
    if match is None:
        raise ValueError("expected a certificate as PEM text, which begins with -----BEGIN CERTIFICATE-----")
    return "".join(match[1].split())


# -- what a person has to do


def _read_me(config: SfConfig, name: str, access: Permissions, certificate: str) -> str:
    steps = [*_before(config, certificate), "", *_deploy(config, name), "", *_after(config, name)]
    if access.unknown:
        steps += ["", "Only the org knows these. Add them to the permission set by hand:", ""]
        steps += [f"- {each}" for each in access.unknown]
    return "\n".join([f"# What {name} needs in Salesforce", "", *_KNOWN, "", *steps]) + "\n"


_KNOWN = (
    "Written by `sfconnector org`. It follows Salesforce's documentation and has not been tried on an org: use a",
    "sandbox or a developer org first. Afterwards `sfconnector check` shows what is missing.",
    "",
    '- "You cannot deploy to a required field": remove that field from the permission set. Users who may',
    "  create the record may set it.",
    '- "Permission … depends on permission(s): Read …": add that permission.',
    "- Permission sets do not cover sharing: the users must be able to see the records that lookups find.",
)


def _before(config: SfConfig, certificate: str) -> Iterator[str]:
    yield 'Before: in Setup, External Client App Settings, switch on "Allow Access to OAuth Consumer Secrets via'
    yield 'Metadata API". The user who deploys needs "View External Client Apps Consumer Secrets in Metadata".'
    flows = {division.salesforce.auth for division in config.divisions}
    if "password" in flows:
        yield ""
        yield "External Client Apps have no username-password flow: the app is for `auth` jwt."
    if flows != {"client_credentials"} and not certificate:
        yield ""
        yield "The app has no certificate yet: `sfconnector org --certificate FILE` writes it, or upload it in Setup."


def _deploy(config: SfConfig, name: str) -> Iterator[str]:
    yield "```sh"
    yield "sf org login web --alias target"
    yield "sf project deploy start --source-dir force-app --target-org target"
    for user in dict.fromkeys(_user(division) for division in config.divisions):
        yield f"sf org assign permset --name {name} --on-behalf-of {shlex.quote(user)} --target-org target"
    yield "```"


def _user(division: Division) -> str:
    """Return the division's user, or what stands for one that the configuration does not name."""
    return username_of(division) or f"USER OF {division.name}"


def _after(config: SfConfig, name: str) -> Iterator[str]:
    yield "Afterwards:"
    yield ""
    yield "- Setup, External Client App Manager, the app, Settings shows the consumer key: `client_id`."
    for app in apps_of(config, name):
        if app.flow == "client_credentials":
            yield f"- Policies of {app.name}: enable the client credentials flow and choose the user that it runs as."
    for alarm in alarms_of(config):
        yield f"- `/lightning/o/{alarm.object}/list` lists the alarms. Agents see them with `{name}_agents`; put"
        yield f"  {', '.join(name for name, _ in _shown(alarm))} on the page of the Case."

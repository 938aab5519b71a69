"""The project for an org: what is in its files is what the configuration and alarm_object.json say, and no more."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lxml import etree

from sfconnector.config import load
from sfconnector.metadata.metadata_xml import NAMESPACE
from sfconnector.metadata.org_command import org
from sfconnector.metadata.org_project import SOURCE, developer_names, files
from tests.services.salesforce import private_key
from tests.services.selfsigned import certificate

DEFINED = {
    each["name"]: {field["name"]: field for field in each["fields"]}
    for each in json.loads(resources.files("sfconnector.alarms").joinpath("alarm_object.json").read_text())["objects"]
}
OF_ALARM = {f"Alarm__c.{name}": True for name in DEFINED["Alarm__c"] if name.endswith("__c")}
OF_ITS_CASE = {
    "Case.Alarm_Key__c": True,
    "Case.Alarm__c": True,
    "Case.ParentId": True,
    "Case.Comments": True,
    "Case.ClosedDate": False,
}
CREATES, READS = {"allowRead", "allowCreate"}, {"allowRead"}
WRITES = CREATES | {"allowEdit"}
WATCHES = WRITES | {"viewAllRecords"}
JWT = {"auth": "jwt", "client_id": "c", "username": "pumps@example.com", "private_key": "${KEY}"}


def configuration(folder: Path, *cases: Any, **salesforce: Any) -> Path:
    divisions = {f"d {number}": {"salesforce": JWT | salesforce, "case": case} for number, case in enumerate(cases)}
    file = folder / "config.json"
    file.write_text(json.dumps({"tenant": {}, "divisions": divisions}))
    return file


def texts(
    folder: Path, *cases: Any, email: str = "admin@example.com", pem: str = "", **salesforce: Any
) -> dict[str, str]:
    return files(load(configuration(folder, *cases, **salesforce), resolve_secrets=False), "amqp", email, pem)


def read(text: str) -> Any:
    return etree.fromstring(text.encode())


def value(element: Any, name: str) -> str | None:
    found = element.find(f"{{{NAMESPACE}}}{name}")
    return None if found is None else found.text


def each(root: Any, name: str) -> list[Any]:
    return root.findall(f"{{{NAMESPACE}}}{name}")


def fields_of(permission_set: Any) -> dict[str, bool]:
    found = each(permission_set, "fieldPermissions")
    assert {value(one, "readable") for one in found} <= {"true"}
    return {str(value(one, "field")): value(one, "editable") == "true" for one in found}


def objects_of(permission_set: Any) -> dict[str, set[str]]:
    return {
        str(value(one, "object")): {etree.QName(part).localname for part in one if part.text == "true"}
        for one in each(permission_set, "objectPermissions")
    }


ALARM = {"mapping": {"Subject": "x"}, "alarm": {"key": "k"}}


@pytest.mark.parametrize(
    ("cases", "objects", "fields"),
    [
        ([{"mapping": {"Subject": "s"}}], {"Case": CREATES}, {"Case.Subject": True}),
        (
            [{"defaults": {"Origin": "Web", "Status": "New", "OwnerId": "005000000000001"}, "mapping": {"M__c": "m"}}],
            {"Case": CREATES},
            {"Case.Origin": True, "Case.M__c": True},
        ),
        (
            [{"mapping": {"Subject": "s"}, "external_id": {"field": "K__c", "value": "k", "mode": "upsert"}}],
            {"Case": WRITES},
            {"Case.Subject": True, "Case.K__c": True},
        ),
        (
            [
                {"mapping": {"subject": "s"}, "external_id": {"field": "K__c", "value": "k"}},
                {"mapping": {"Subject": "s", "Type": "t"}},
            ],
            {"Case": CREATES},
            {"Case.subject": True, "Case.K__c": True, "Case.Type": True},
        ),
        (
            [
                {
                    "mapping": {
                        "AssetId": {"lookup": "Asset", "where": {"SerialNumber": "s"}, "order_by": "InstallDate DESC"},
                        "OwnerId": {"lookup": "Group", "where": {"DeveloperName": "g"}},
                        "ContactId": {
                            "first_of": [
                                {"lookup": "Contact", "where": {"Email": "e", "Account.Name": "a"}},
                                {"lookup": "User", "where": {"Badge__c": "b", "Email": "e"}, "field": "ContactId"},
                            ]
                        },
                    }
                }
            ],
            {"Case": CREATES, "Asset": READS, "Contact": READS, "Account": READS},
            {
                "Case.AssetId": True,
                "Case.ContactId": True,
                "Asset.SerialNumber": False,
                "Asset.InstallDate": False,
                "Contact.Email": False,
                "Contact.AccountId": False,
                "User.Badge__c": False,
            },
        ),
        (
            [{"mapping": {"Contact.Email": "e", "Parent.Key__c": "k", "Machine__r.Serial__c": "s"}}],
            {"Case": CREATES, "Contact": READS, "Account": READS},
            {
                "Case.ContactId": True,
                "Contact.Email": False,
                "Case.ParentId": True,
                "Case.Key__c": False,
                "Case.Machine__c": True,
            },
        ),
        ([ALARM], {"Case": WATCHES, "Alarm__c": WRITES}, {"Case.Subject": True} | OF_ITS_CASE | OF_ALARM),
        (
            [
                {
                    "mapping": {"Subject": "s"},
                    "alarm": {
                        "key": "k",
                        "object": "Bell__c",
                        "case_key": "Bell_Key__c",
                        "case_alarm": "Its_Bell__c",
                        "severity": {"path": "s", "order": ["a"], "field": "Priority"},
                        "reopen": {"never": {"Status": "x", "Reason": "y"}},
                    },
                }
            ],
            {"Case": WATCHES, "Bell__c": WRITES},
            {
                "Case.Subject": True,
                "Case.Bell_Key__c": True,
                "Case.Its_Bell__c": True,
                "Case.ParentId": True,
                "Case.Comments": True,
                "Case.ClosedDate": False,
                "Case.Priority": True,
                "Case.Reason": False,
            }
            | {name.replace("Alarm__c", "Bell__c"): True for name in OF_ALARM},
        ),
    ],
)
def test_the_permission_set_has_what_the_configuration_names_and_nothing_else(
    tmp_path: Path, cases: Any, objects: dict[str, set[str]], fields: dict[str, bool]
) -> None:
    made = texts(tmp_path, *cases)
    found = read(made[f"{SOURCE}/permissionsets/amqp.permissionset-meta.xml"])
    assert fields_of(found) == fields
    assert objects_of(found) == objects
    assert [value(one, "name") for one in each(found, "userPermissions")] == ["ApiEnabled"]
    unknown = "the object behind Machine__r, and its field Serial__c" in made["README.md"]
    assert unknown is ("Case.Machine__c" in fields)


KINDS = {
    "string": "Text",
    "double": "Number",
    "datetime": "DateTime",
    "picklist": "Picklist",
    "textarea": "LongTextArea",
    "reference": "Lookup",
}


@pytest.mark.parametrize(
    ("names", "object", "on_case"),
    [
        ({}, "Alarm__c", {"Alarm_Key__c": "Alarm_Key__c", "Alarm__c": "Alarm__c"}),
        (
            {"object": "Bell__c", "case_key": "Bell_Key__c", "case_alarm": "Its_Bell__c"},
            "Bell__c",
            {"Bell_Key__c": "Alarm_Key__c", "Its_Bell__c": "Alarm__c"},
        ),
    ],
)
def test_the_fields_are_those_that_the_sandbox_has(
    tmp_path: Path, names: Any, object: str, on_case: dict[str, str]
) -> None:
    made = texts(tmp_path, {"mapping": {"Subject": "s"}, "alarm": {"key": "k"} | names})
    wanted = {f"{object}/fields/{name}": one for name, one in DEFINED["Alarm__c"].items() if name.endswith("__c")}
    wanted |= {f"Case/fields/{name}": DEFINED["Case"][source] for name, source in on_case.items()}
    written = {path: text for path, text in made.items() if "/fields/" in path and "<formula>" not in text}
    assert set(written) == {f"{SOURCE}/objects/{path}.field-meta.xml" for path in wanted}
    for path, defined in wanted.items():
        field = read(written[f"{SOURCE}/objects/{path}.field-meta.xml"])
        assert value(field, "fullName") == path.rpartition("/")[2]
        assert value(field, "type") == KINDS[defined["type"]]
        for key in ("label", "length", "precision", "scale"):
            if defined["type"] != "picklist" or key == "label":
                assert value(field, key) == (str(defined[key]) if key in defined else None)
        for key in ("externalId", "unique", "caseSensitive"):
            assert (value(field, key) == "true") is defined.get(key, False)
        refers = [name.replace("Alarm__c", object) for name in defined.get("referenceTo", [])]
        assert [value(field, "referenceTo")] == (refers or [None])
        values = [value(one, "fullName") for one in field.iter(f"{{{NAMESPACE}}}value")]
        assert values == defined.get("picklistValues", [])
    assert f"{SOURCE}/objects/{object}/{object}.object-meta.xml" in made
    assert f"{SOURCE}/objects/{object}/listViews/Ringing.listView-meta.xml" in made


def test_a_case_shows_its_alarm_by_formulas_that_agents_may_read(tmp_path: Path) -> None:
    made = texts(tmp_path, ALARM)
    formulas = {
        str(value(read(text), "fullName")): value(read(text), "formula")
        for text in made.values()
        if "<formula>" in text
    }
    assert formulas == {
        "Alarm_Count__c": "Alarm__r.Count__c",
        "Alarm_State__c": "TEXT(Alarm__r.State__c)",
        "Alarm_Last__c": "Alarm__r.Last__c",
    }
    agents = read(made[f"{SOURCE}/permissionsets/amqp_agents.permissionset-meta.xml"])
    shown = {f"Case.{name}": False for name in formulas} | {"Case.Alarm__c": False}
    assert fields_of(agents) == shown | dict.fromkeys(OF_ALARM, False)
    assert objects_of(agents) == {"Alarm__c": READS}


def test_without_alarms_there_are_a_permission_set_and_an_app_only(tmp_path: Path) -> None:
    assert sorted(Path(path).name for path in texts(tmp_path, {"mapping": {"Subject": "s"}})) == [
        "README.md",
        "amqp.eca-meta.xml",
        "amqp.permissionset-meta.xml",
        "amqp_global.ecaGlblOauth-meta.xml",
        "amqp_oauth.ecaOauth-meta.xml",
        "amqp_policy.ecaOauthPlcy-meta.xml",
        "sfdx-project.json",
    ]


def app(made: dict[str, str], name: str = "amqp_global.ecaGlblOauth") -> Any:
    (text,) = [text for path, text in made.items() if path.endswith(f"{name}-meta.xml")]
    return read(text)


def test_the_app_has_the_flow_of_the_configuration(tmp_path: Path) -> None:
    case = {"mapping": {"Subject": "s"}}
    pem = certificate(private_key(), 100)
    made = texts(tmp_path, case, pem=f"a key\n{pem}")
    assert value(app(made), "isClientCredentialsFlowEnabled") == "false"
    assert (
        "-----BEGIN CERTIFICATE-----" + str(value(app(made), "certificate"))
        == pem.replace("\n", "").split("-----END")[0]
    )
    assert value(app(made, "amqp_policy.ecaOauthPlcy"), "commaSeparatedPermissionSet") == "amqp"
    assert value(app(texts(tmp_path, case)), "certificate") is None
    own = {"auth": "client_credentials", "client_secret": "${S}", "login_url": "https://acme.my.salesforce.com"}
    made = texts(tmp_path, case, case, **own)
    for name in ("amqp_d_0", "amqp_d_1"):
        assert value(app(made, f"{name}_global.ecaGlblOauth"), "isClientCredentialsFlowEnabled") == "true"
        assert f"Policies of {name}: enable the client credentials flow" in made["README.md"]


def test_names_are_such_as_salesforce_takes_and_no_two_alike() -> None:
    texts = ["Field service", "field-Service", "冷", "__a--b__", "3", "a", "a_8", "a"]
    assert developer_names(texts) == ["Field_service", "field_Service_2", "3", "a_b", "3_5", "a", "a_8", "a_9"]


def test_a_user_that_the_configuration_does_not_name_is_none(tmp_path: Path) -> None:
    case = {"mapping": {"Subject": "s"}}
    assert "--on-behalf-of 'it'\"'\"'s@example.com'" in texts(tmp_path, case, username="it's@example.com")["README.md"]
    assert "--on-behalf-of 'USER OF d 0'" in texts(tmp_path, case, username="${WHO}@example.com")["README.md"]


def test_whatever_is_given_is_escaped(tmp_path: Path) -> None:
    made = texts(tmp_path, {"mapping": {"Subject": "s"}}, email='"<&>"@example.com')
    assert value(app(made, "amqp.eca"), "contactEmail") == '"<&>"@example.com'


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_with_other_content_is_left_alone_unless_force_is_given(tmp_path: Path) -> None:
    file, out = configuration(tmp_path, ALARM), tmp_path / "org"
    command = ["-i", str(file), "--out", str(out), "--name", "amqp"]
    assert CliRunner().invoke(org, command).exit_code == 0
    made = written(out)
    assert made == texts(tmp_path, ALARM, email="pumps@example.com")
    assert CliRunner().invoke(org, command).exit_code == 0  # the same once more
    for other in (out / "force-app/mine.txt", out / "README.md"):
        before = other.read_text() if other.exists() else None
        other.write_text("mine")
        refused = CliRunner().invoke(org, command)
        assert refused.exit_code == 2
        assert other.name in refused.output
        assert other.read_text() == "mine"
        if before is None:
            other.unlink()
    assert CliRunner().invoke(org, [*command, "--force"]).exit_code == 0
    assert written(out) == made


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--name", "two words"], 2, "letters, digits"),
        (["--name", "two__words"], 2, "letters, digits"),
        (["--certificate", "config.json"], 2, "BEGIN CERTIFICATE"),
        (["-i", "broken.json"], 78, "broken.json"),
        (["-i", "nobody.json"], 2, "--email is missing"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nobody.json").write_text(configuration(tmp_path, ALARM, username="nobody").read_text())
    configuration(tmp_path, ALARM)
    Path("broken.json").write_text("{")
    done = CliRunner().invoke(org, ["-i", "config.json", "--out", "org", *options])
    assert (done.exit_code, text in done.output) == (code, True), done.output
    assert not Path("org").exists()

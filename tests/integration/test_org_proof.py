"""`sfconnector org --prove` on the sandbox: it is as assumed, an org that is not shows it, and nothing is left over."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from connectorlib.preflight.findings import Finding, Mark
from sfconnector.config import load
from sfconnector.metadata.org_command import org
from sfconnector.metadata.org_proof import TRIALS, findings
from tests.services.salesforce import Org

NEED_ALARMS = {
    "a second Case with the same key",
    "keys that differ in capitals only",
    "two Cases with the same key in one call",
    "an alarm, its Case and the look-up back in one Composite",
    "a memory of 6000 characters",
    "a time with milliseconds",
    "an alarm that is written",
    "an alarm whose Case is deleted",
}


def configuration(folder: Path, salesforce: Org, **case: Any) -> Path:
    file = folder / "config.json"
    division = {"salesforce": salesforce.login("pumps"), "case": {"mapping": {"Subject": "s"}} | case}
    file.write_text(json.dumps({"tenant": {}, "divisions": {"pumps": division}}))
    file.chmod(0o600)
    return file


def proved(folder: Path, salesforce: Org, **case: Any) -> dict[str, Finding]:
    (division,) = load(configuration(folder, salesforce, **case)).divisions
    return {each.about: each for each in findings(division)}


def test_the_sandbox_is_as_assumed_and_has_nothing_left_over(tmp_path: Path, salesforce: Org) -> None:
    salesforce.contacts(1)
    file = configuration(tmp_path, salesforce, alarm={"key": "k"}, defaults={"Origin": "Web", "Status": "New"})
    done = CliRunner().invoke(org, ["-i", str(file), "--prove"])
    *lines, last = done.output.splitlines()
    assert [line for line in lines if not line.startswith("✔ ")] == []
    assert {trial.about for trial in TRIALS} <= {line[2:].partition(": ")[0] for line in lines}
    assert (done.exit_code, last) == (0, "OK")
    assert [salesforce.records(name) for name in ("Case", "Alarm__c")] == [[], []]


def test_an_org_that_differs_shows_it(tmp_path: Path, salesforce: Org) -> None:
    salesforce.rules(unknown_field_scope="record")
    salesforce.add_field("Case", "Alarm_Key__c", externalId=True, unique=False)
    salesforce.add_field("Alarm__c", "Memory__c", type="textarea", length=100)
    salesforce.add_field("Case", "Origin", type="picklist", picklistValues=["Web"], permissionable=False)
    seen = proved(tmp_path, salesforce, alarm={"key": "k"}, defaults={"Origin": "Web"})
    differs = {
        each.about: each.text.partition("; seen was ")[2]
        for each in seen.values()
        if each.mark is Mark.BAD and each.text.startswith("differs: assumed was ")
    }
    assert differs.items() >= {
        ("a field that is not there, in one of two records", "the record only"),
        ("two Cases with the same key in one call", "2 made"),
        ("a memory of 6000 characters", "0 characters"),
        ("fields that a permission set may name", "Case.Origin may not"),
    }
    assert [salesforce.records(name) for name in ("Case", "Alarm__c")] == [[], []]


def test_without_alarms_what_they_need_is_not_tried_and_what_is_left_over_is_named(
    tmp_path: Path, salesforce: Org
) -> None:
    assert {trial.about for trial in TRIALS} >= NEED_ALARMS
    lines = proved(tmp_path, salesforce)
    assert {each.about for each in lines.values() if "no section alarm" in each.text} == NEED_ALARMS
    assert lines["a Contact by its address"].text == "not tried: no Contact has an address"
    assert {each.mark for each in lines.values()} == {Mark.GOOD, Mark.ODD}
    calls = len(salesforce.requests("/composite"))
    salesforce.fault(match={"path": "/composite"}, skip=calls - 1, status=500)  # the last is the one that deletes
    left = proved(tmp_path, salesforce)["what was made"]
    ids = {str(each["Id"]) for each in salesforce.cases()}
    assert ids
    assert (left.mark, {id for id in ids if id in left.text}) == (Mark.ODD, ids)

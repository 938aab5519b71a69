"""An org in memory with a few records, for tests of the sandbox without its server."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sfconnector.sandbox.org import Org
from sfconnector.sandbox.refusals import ApiError

NOON = datetime(2026, 11, 24, 12, 0, 0, 123000, UTC)


@dataclass
class Acme:
    """The org of a company with one account, its contact, a device, a queue and two users, one of whom has left."""

    org: Org = field(default_factory=lambda: Org(clock=lambda: NOON))

    def __post_init__(self) -> None:
        users: list[dict[str, Any]] = [
            {"Username": "ada@acme.example", "FirstName": "Ada", "LastName": "Lovelace"},
            {"Username": "bob@acme.example", "FirstName": "Bob", "LastName": "Gone", "IsActive": False},
        ]
        self.ada, self.bob = self.org.seed("User", users)
        account = {"Name": "Acme", "Customer_Number__c": "A-1"}
        self.account = self.org.create("Account", account, self.ada)
        contact = {"FirstName": "Carl", "LastName": "Client", "Email": "carl@client.example", "Phone": "+49 30 1"}
        self.contact = self.org.create(
            "Contact", {**contact, "AccountId": self.account, "Customer_Number__c": "C-1"}, self.ada
        )
        device = {"Name": "Pump 7", "AccountId": self.account, "Serial_Number__c": "SN-7"}
        self.asset = self.org.create("Asset", device, self.ada)
        queue = {"Name": "Field service", "DeveloperName": "Field_service", "Type": "Queue"}
        self.queue, self.group = self.org.seed("Group", [queue, {"Name": "All", "Type": "Regular"}])
        types = [
            {"Name": "Device alarm", "DeveloperName": "Device_alarm", "SobjectType": "Case"},
            {"Name": "Partner", "DeveloperName": "Partner", "SobjectType": "Account"},
        ]
        self.alarm_type, self.partner_type = self.org.seed("RecordType", types)

    def case(self, **fields: Any) -> str:
        return self.org.create("Case", fields, self.ada)

    def read(self, case_id: str) -> dict[str, Any]:
        return self.org.get("Case", case_id)

    def add_text(self, name: str, sobject: str = "Case", **more: Any) -> None:
        self.org.add_field(sobject, {"name": name, "type": "string", "length": 80, **more})

    def cases(self, *records: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Send records as one collection."""
        typed = [{"attributes": {"type": "Case"}, **record} for record in records]
        return self.org.collection(typed, self.ada, **options)


def refusal(call: Any, *args: Any, **options: Any) -> ApiError:
    """Return what the call is refused with."""
    try:
        answer = call(*args, **options)
    except ApiError as error:
        return error
    raise AssertionError(f"was not refused, but answered {answer!r}")

"""What an org sets by itself: defaults, numbers, owner, names; on a Case what follows from Contact and Status."""

import re
from collections.abc import Set

from connectorlib.dataclass import dataclass
from sfconnector.sandbox.objects import Catalog, SObject
from sfconnector.sandbox.store import Record, Store

CLOSED = re.compile(r"closed\b", re.IGNORECASE)
_FROM_CONTACT = {"ContactPhone": "Phone", "ContactMobile": "MobilePhone", "ContactEmail": "Email", "ContactFax": "Fax"}


@dataclass(frozen=True, slots=True)
class Author:
    """The user and the time of a write."""

    user_id: str | None
    now: str


def of_creation(store: Store, sobject: SObject, record: Record, author: Author) -> None:
    """Complete a new record in place."""
    for name, value in sobject.defaults.items():
        record.setdefault(name, value)
    record.setdefault("CreatedDate", author.now)
    if author.user_id:
        record.setdefault("CreatedById", author.user_id)
        if "OwnerId" in sobject.fields:
            record.setdefault("OwnerId", author.user_id)
    if sobject.name == "Case":
        store.case_number += 1
        record.setdefault("CaseNumber", f"{store.case_number:08}")


def of_writing(
    catalog: Catalog, store: Store, record: Record, sobject: SObject, author: Author, given: Set[str]
) -> None:
    """Complete a record after a creation or an update, in place; `given` are the fields in the request."""
    record["LastModifiedDate"] = record["SystemModstamp"] = author.now
    if author.user_id:
        record["LastModifiedById"] = author.user_id
    if "FirstName" in sobject.fields and "LastName" in sobject.fields:
        record["Name"] = " ".join(text for name in ("FirstName", "LastName") if (text := record.get(name)))
    if sobject.name == "Case":
        _complete_case(catalog, store, record, author, given)


def _complete_case(catalog: Catalog, store: Store, record: Record, author: Author, given: Set[str]) -> None:
    contact = store.get(catalog.objects["Contact"], record["ContactId"]) if record.get("ContactId") else None
    if "ContactId" in given and "AccountId" not in given and contact and contact.get("AccountId"):
        record["AccountId"] = contact["AccountId"]
    for name, source in _FROM_CONTACT.items():
        value = contact.get(source) if contact else None
        if value is None:
            record.pop(name, None)
        else:
            record[name] = value
    record["IsClosed"] = CLOSED.match(record.get("Status") or "") is not None
    if not record["IsClosed"]:
        record.pop("ClosedDate", None)
    else:
        record.setdefault("ClosedDate", author.now)

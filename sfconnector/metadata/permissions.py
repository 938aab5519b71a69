"""Which objects and fields of the org the users of a configuration need, for a permission set. Pure.

It knows the configuration and not the org: what a custom look-up refers to, and which custom fields are required, only
the org can tell. Sources: Metadata API guide, PermissionSet; Object Reference.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field

from connectorlib.dataclass import dataclass
from sfconnector.alarms.alarm_calls import names_of
from sfconnector.alarms.alarm_record import FIELDS, KEY
from sfconnector.lookup import Lookup
from sfconnector.mapping import CaseMapper
from sfconnector.settings import AlarmSettings, CaseSettings, Division

CASE = "Case"
READ, CREATE, EDIT, VIEW_ALL = "allowRead", "allowCreate", "allowEdit", "viewAllRecords"

#: Fields of every object that no permission set may name: whoever may read a record, sees them. A deployment that names
#: one is refused ("You cannot deploy to a required field").
_ALWAYS_SEEN = frozenset(
    {
        "id",
        "name",
        "ownerid",
        "recordtypeid",
        "createddate",
        "createdbyid",
        "lastmodifieddate",
        "lastmodifiedbyid",
        "systemmodstamp",
        "isdeleted",
    }
)
#: The same of one object.
_SEEN_OF: Mapping[str, frozenset[str]] = {
    "case": frozenset({"status", "casenumber", "isclosed"}),
    "contact": frozenset({"firstname", "lastname"}),
}
#: Objects that every user may read, and that have no permission of their own; nor have their standard fields.
_OPEN = frozenset(
    {
        "user",
        "group",
        "groupmember",
        "queuesobject",
        "recordtype",
        "businesshours",
        "profile",
        "userrole",
        "organization",
    }
)
#: What standard relationships refer to, where that is not the object of the same name.
_REFERS_TO = {"parent": CASE, "createdby": "User", "lastmodifiedby": "User"}
#: Relationships of several objects.
_SEVERAL = frozenset({"owner", "source", "what", "who"})
#: What has to be readable where an object is (the refusal: "Permission Read Contact depends on permission(s): Read
#: Account").
_DEPENDS = {"contact": "Account"}


@dataclass(slots=True)
class Permissions:
    """Names are as the configuration spells them first; Salesforce does not tell capitals from small letters."""

    #: The permissions on each object.
    objects: dict[str, set[str]] = field(default_factory=dict)
    #: `Object.Field`, and whether it is written.
    fields: dict[str, bool] = field(default_factory=dict)
    #: What only the org knows: sentences.
    unknown: list[str] = field(default_factory=list)

    def may(self, sobject: str, *permissions: str) -> None:
        """Add permissions on an object."""
        if sobject.lower() not in _OPEN:
            self.objects.setdefault(_spelling(self.objects, sobject), set()).update({READ, *permissions})
            if depends := _DEPENDS.get(sobject.lower()):
                self.may(depends)

    def sees(self, sobject: str, name: str, *, writes: bool = False) -> None:
        """Add a field that is read, or written too."""
        custom = name.lower().endswith("__c")
        seen = name.lower() in _ALWAYS_SEEN | _SEEN_OF.get(sobject.lower(), frozenset())
        if seen or (sobject.lower() in _OPEN and not custom):
            return
        full = _spelling(self.fields, f"{sobject}.{name}")
        self.fields[full] = writes or self.fields.get(full, False)

    def follows(self, sobject: str, path: str, place: str, *, writes: bool = False) -> None:
        """Add what a path such as `Account.Name` reads; only its first field is written. `place` says where it is."""
        first, dot, rest = path.partition(".")
        if not dot:
            self.sees(sobject, first, writes=writes)
            return
        custom = first.lower().endswith("__r")
        self.sees(sobject, first[:-1] + "c" if custom else f"{first}Id", writes=writes)
        if custom or first.lower() in _SEVERAL:
            self.unknown.append(f"{place}: the object behind {first}, and its field {rest}")
            return
        related = _REFERS_TO.get(first.lower(), first)
        self.may(related)
        self.follows(related, rest, place)


def permissions_of(divisions: Iterable[Division]) -> Permissions:
    """Return what the users of these divisions need."""
    access = Permissions()
    for division in divisions:
        _case(access, division.name, division.case)
        for lookup in CaseMapper(division.case, division.format, division.limits).lookups:
            _lookup(access, division.name, lookup)
        if division.case.alarm is not None:
            _alarm(access, division.case.alarm)
    return access


def _case(access: Permissions, division: str, case: CaseSettings) -> None:
    access.may(CASE, CREATE)
    for section in ("defaults", "mapping"):
        for name in getattr(case, section):
            access.follows(CASE, name, f"{section}.{name} of {division}", writes=True)
    if case.note_field is not None:
        access.sees(CASE, case.note_field, writes=True)
    if case.external_id is not None:
        access.sees(CASE, case.external_id.field, writes=True)
        if case.external_id.mode == "upsert":
            access.may(CASE, EDIT)


def _lookup(access: Permissions, division: str, lookup: Lookup) -> None:
    search = lookup.search
    access.may(search.sobject)
    ordered = [each.split()[0] for each in search.order.split(",") if each.strip()]
    for path in (*search.where, lookup.field, *ordered):
        access.follows(search.sobject, path, f"{search.place} of {division}")


def _alarm(access: Permissions, alarm: AlarmSettings) -> None:
    """Add what `sfconnector.alarms.alarm_calls` reads and writes."""
    names = names_of(alarm)
    access.may(CASE, EDIT, VIEW_ALL)  # of a Case that is hidden, nobody can tell whether it is open
    access.may(alarm.object, CREATE, EDIT)
    for name in (KEY, *FIELDS):
        access.sees(alarm.object, name, writes=True)
    for name in names.case_fields:
        access.sees(CASE, name)
    written = [names.case_key, names.case_alarm, "ParentId", "Comments"]
    for name in [*written, *([names.severity] if names.severity else [])]:
        access.sees(CASE, name, writes=True)


def _spelling(known: Iterable[str], name: str) -> str:
    return next((each for each in known if each.lower() == name.lower()), name)

"""The meaning of Salesforce errors, as a table by error code. Pure.

A text decides only where one code has several causes. Salesforce answers in the language of its user, so a
text is looked at for what is not translated: field names, ids, and what Apex and the platform's limits say. `errors`
of the configuration goes before all of it.
"""

import re
from collections.abc import Mapping, Sequence

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind
from connectorlib.expressions import shorten

#: Used in `errors` of the configuration: the error counts as success.
DONE = "done"
#: Code of a mapping that does not fit the org.
MISMATCH = "mapping"
#: The org's calls of 24 hours are used up; with another text, too many calls are under way.
NO_CALLS_LEFT = "REQUEST_LIMIT_EXCEEDED"
MAX_TEXT = 1000  # characters of a failure's text

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",  # a trigger's exception; see _TEXTS
            "DUPLICATES_DETECTED",
            "DUPLICATE_EXTERNAL_ID",
            "DUPLICATE_VALUE",
            "ENTITY_IS_DELETED",
            "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "FIELD_FILTER_VALIDATION_EXCEPTION",
            "FIELD_INTEGRITY_EXCEPTION",
            "INACTIVE_OWNER_OR_USER",
            "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
            "INVALID_CROSS_REFERENCE_KEY",
            "INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD",
            "INVALID_EMAIL_ADDRESS",
            "INVALID_FIELD",  # a value without a referenced record; for an unknown field see _TEXTS
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "INVALID_QUERY_FILTER_OPERATOR",  # of a lookup: a value of a type that the field does not accept
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            "JSON_PARSER_ERROR",
            "MALFORMED_ID",
            "NUMBER_OUTSIDE_VALID_RANGE",
            "REQUIRED_FIELD_MISSING",
            "STRING_TOO_LONG",
        ),
        Kind.REJECT,
    ),
    **dict.fromkeys(
        (
            "ALL_OR_NONE_OPERATION_ROLLED_BACK",  # another record's fault
            "APEX_ERROR",
            "ENTITY_IS_LOCKED",  # by an approval, until it is decided
            "CANNOT_EXECUTE_FLOW_TRIGGER",
            "OPERATION_TOO_LARGE",
            "PROCESSING_HALTED",
            "QUERY_TIMEOUT",
            "REQUEST_RUNNING_TOO_LONG",
            "TOO_MANY_APEX_REQUESTS",
            "UNABLE_TO_LOCK_ROW",
            "UNKNOWN_EXCEPTION",
        ),
        Kind.RETRY,
    ),
    **dict.fromkeys(
        (
            "API_CURRENTLY_DISABLED",  # for a while, or for this user; no log-in is refused
            "API_TEMPORARILY_UNAVAILABLE",
            "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
            "LIMIT_EXCEEDED",
            "REQUEST_LIMIT_EXCEEDED",
            "SERVER_UNAVAILABLE",
            "STORAGE_LIMIT_EXCEEDED",
        ),
        Kind.UNAVAILABLE,
    ),
    **dict.fromkeys(
        (
            "API_DISABLED_FOR_ORG",
            "INVALID_AUTH_HEADER",
            "INVALID_OPERATION_WITH_EXPIRED_PASSWORD",
            "INVALID_SESSION_ID",
            "ORG_LOCKED",
            "PASSWORD_LOCKOUT",
        ),
        Kind.REFUSED,
    ),
    **dict.fromkeys(
        (
            "FUNCTIONALITY_NOT_ENABLED",
            "GONE",
            "INSUFFICIENT_ACCESS",
            "INSUFFICIENT_ACCESS_OR_READONLY",
            "INVALID_ASSIGNMENT_RULE",
            "INVALID_FIELD_FOR_INSERT_UPDATE",  # the mapping decides which fields are sent, never the message
            "INVALID_TYPE",
            "MALFORMED_QUERY",
            "NOT_FOUND",
            "UNSUPPORTED_API_VERSION",
        ),
        Kind.CONFIGURATION,
    ),
}
#: Apex texts for limits that a transaction of fewer records may keep; they are not translated.
_GOVERNOR = re.compile(
    r"Too many (SOQL queries|DML (statements|rows)|query rows|SOSL queries|callouts|queueable jobs)|CPU time limit"
    r"|heap size|LimitException|QUERY_TIMEOUT|Too many future calls",
    re.IGNORECASE,
)
#: What a lock says where its own code is missing: in the text of a trigger or a flow, or of another platform's layer.
_LOCKED = re.compile(
    r"UNABLE_TO_LOCK_ROW|unable to obtain exclusive access to this record|Record Currently Unavailable", re.IGNORECASE
)
#: Codes whose text quotes an error inside a trigger or a flow.
_AUTOMATION = frozenset({"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER", "APEX_ERROR"})
#: Codes of other errors whose text may say that a record is locked. Not those that quote a value of the message.
_MAY_BE_LOCKED = _AUTOMATION | {"FIELD_CUSTOM_VALIDATION_EXCEPTION"}  # a trigger that catches an error adds its text
_GOVERNOR_CODES = frozenset({"QUERY_TIMEOUT", "OPERATION_TOO_LARGE"})
#: Never the matter of one record, though each says it for itself, and changing a record needs no more storage.
_WHOLE_ORG = frozenset({"STORAGE_LIMIT_EXCEEDED"})
#: About the value of a field that the error names.
ABOUT_A_VALUE = frozenset(
    {
        "INVALID_EMAIL_ADDRESS",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "MALFORMED_ID",
        "NUMBER_OUTSIDE_VALID_RANGE",
        "STRING_TOO_LONG",
    }
)
#: Contradicts what the org said of its fields: they were changed since.
_CONTRADICTING = frozenset(
    {
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "NUMBER_OUTSIDE_VALID_RANGE",
        "REQUIRED_FIELD_MISSING",
        "STRING_TOO_LONG",
    }
)
_STALE = frozenset(
    {
        "ENTITY_IS_DELETED",
        "INACTIVE_OWNER_OR_USER",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INVALID_CROSS_REFERENCE_KEY",
    }
)
#: The record that is to be changed is not there any more.
GONE = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"})
#: A key or a rule for duplicates refuses what is there already.
DUPLICATES = frozenset({"DUPLICATES_DETECTED", "DUPLICATE_EXTERNAL_ID", "DUPLICATE_VALUE"})
#: Codes of refusals that are not due to the value of the field that they name: a rule shows its error where it likes.
ABOUT_THE_RECORD = DUPLICATES | {"FIELD_CUSTOM_VALIDATION_EXCEPTION", "REQUIRED_FIELD_MISSING"}
#: Salesforce quotes a text that is too long completely; it is long, and belongs to the message.
_LONG_VALUE = re.compile(r"(data value too large): .*( \(max length=\d+\))", re.DOTALL)
_FOREIGN_KEY = re.compile(r"foreign key external id", re.IGNORECASE)
#: A duplicate of a record that the user may not see; neither field nor record is named.
_HIDDEN = re.compile(r"<unknown>.*<unknown>", re.DOTALL)
_INSIDE_REQUEST = re.compile(r"duplicate (external )?id specified", re.IGNORECASE)
#: Where one code has several causes, the text decides.
_TEXTS: tuple[tuple[str, re.Pattern[str], Kind], ...] = (
    # The mapping fills an unknown field or the key field: the same for every message.
    ("INVALID_FIELD", re.compile(r"No such column|should not be specified in the sobject data"), Kind.CONFIGURATION),
    *((code, _LOCKED, Kind.RETRY) for code in sorted(_MAY_BE_LOCKED)),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", _GOVERNOR, Kind.RETRY),
    # Both of two records in one call are refused; each passes alone.
    ("DUPLICATE_VALUE", _INSIDE_REQUEST, Kind.RETRY),
    # The daily limit lasts for a day, the one on concurrent calls until they end.
    ("REQUEST_LIMIT_EXCEEDED", re.compile(r"Concurrent"), Kind.RETRY),
)
#: Families of codes that are not in the table. Whole words, never parts of a name: STRING_TOO_LONG is no lock.
_FAMILY = re.compile(r"TXN_SECURITY_\w+|\w+_(UNAVAILABLE|TIMEOUT)")
#: For unknown codes: by HTTP status.
_STATUSES = {
    401: Kind.REFUSED,
    410: Kind.CONFIGURATION,
    413: Kind.REJECT,
    **dict.fromkeys((420, 429, 502, 503, 504), Kind.UNAVAILABLE),
}
#: Seconds for which Salesforce is left alone after an answer that a minute does not change.
_PATIENCE = {NO_CALLS_LEFT: 300.0, "API_CURRENTLY_DISABLED": 60.0}
#: Which of several errors decides: first those that stop every message, then those of this one.
_GRAVITY = (Kind.REFUSED, Kind.CONFIGURATION, Kind.UNAVAILABLE, Kind.REJECT, Kind.RETRY, Kind.UNKNOWN, None)
_ID = re.compile(r"(?<![0-9A-Za-z])(?=[A-Za-z]*[0-9])[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class SfError:
    """One error of an answer: `errorCode` or `statusCode`, the message (bounded), the fields."""

    code: str
    text: str
    fields: tuple[str, ...] = ()
    #: Ids of the records that a duplicate rule found.
    matches: tuple[str, ...] = ()


def kind_of(error: SfError, status: int = 200, overrides: Mapping[str, str] | None = None) -> Kind | None:
    """Given an error and the HTTP status it came with, return what to do; None: `overrides` counts it as success.

    An unknown code is UNKNOWN, for which a message is not blamed at once.
    """
    if overrides and (word := overrides.get(error.code)):
        return None if word == DONE else Kind(word)
    for code, pattern, kind in _TEXTS:
        if code == error.code and pattern.search(error.text):
            return kind
    if known := KINDS.get(error.code):
        return known
    if status in _STATUSES:
        return _STATUSES[status]
    family = _FAMILY.fullmatch(error.code) or _LOCKED.search(error.text)
    return Kind.RETRY if family else Kind.UNKNOWN


def gravest(
    errors: Sequence[SfError], status: int = 200, overrides: Mapping[str, str] | None = None
) -> tuple[SfError, Kind | None]:
    """Given the errors of one record or one call (at least one), return the one that decides and the kind."""
    found = [(error, kind_of(error, status, overrides)) for error in errors]
    return min(found, key=lambda each: _GRAVITY.index(each[1]))


def is_governor(error: SfError) -> bool:
    """Return whether a limit of one transaction was hit, so that fewer records in a call may pass."""
    inside = error.code in _AUTOMATION and _GOVERNOR.search(error.text) is not None
    return inside or error.code in _GOVERNOR_CODES


def is_stale_reference(error: SfError) -> bool:
    """Return whether the record refers to one that is gone or inaccessible: a looked-up id may be outdated."""
    return error.code in _STALE


def duplicate_of(error: SfError, key_field: str) -> str | None:
    """Return the id of the record that has this key already, "" if the text does not name it.

    None: the error is something else, such as another unique field, or one key twice in a single call.
    """
    if error.code != "DUPLICATE_VALUE" or _INSIDE_REQUEST.search(error.text):
        return None
    named = re.search(rf"(?<!\w){re.escape(key_field)}(?!\w)", error.text, re.IGNORECASE)
    if not named and key_field.lower() not in {name.lower() for name in error.fields}:
        return None
    ids = _ID.findall(error.text)
    return ids[-1] if ids else ""


def is_hidden_duplicate(error: SfError) -> bool:
    """Return whether a unique value is taken by a record that the user may not see, so that neither is named."""
    return error.code == "DUPLICATE_VALUE" and _HIDDEN.search(error.text) is not None


def is_of_whole_org(error: SfError) -> bool:
    """Return whether the error is never one record's, even if other records pass."""
    return error.code in _WHOLE_ORG


def contradicts_description(error: SfError) -> bool:
    """Return whether the org's description of its fields let this pass, so that it may be outdated."""
    return error.code in _CONTRADICTING


def is_about_owner(error: SfError) -> bool:
    """Return whether the owner cannot own the record: an inactive user, or an unknown id."""
    named = "ownerid" in {name.lower() for name in error.fields}
    return error.code == "INACTIVE_OWNER_OR_USER" or (named and is_stale_reference(error))


def failure(error: SfError, kind: Kind, place: str, detail: str = "") -> Failure:
    """Return the error as a failure; the default of `detail` is the fields: `case.Subject`."""
    fields = ", ".join(f"{place}.{name}" for name in error.fields)
    text = _LONG_VALUE.sub(r"\1: …\2", error.text)
    if error.matches:
        text = f"{text.rstrip()} (found: {', '.join(error.matches)})"
    wait = _PATIENCE.get(error.code, 0.0) if kind is Kind.UNAVAILABLE else 0.0
    detail = detail or shorten(fields)
    return Failure(kind, error.code, shorten(text, MAX_TEXT), place, detail, retry_after=wait, by_target=True)

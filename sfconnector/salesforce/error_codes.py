"""What a Salesforce error means, as a table by error code. Pure.

A text decides only where one code stands for several causes. Salesforce answers in the language of its user, so a
text is looked at for what is not translated: field names, ids, and what Apex and the platform's limits say. `errors`
of the configuration goes before all of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectorlib.errors import Failure, Kind
from connectorlib.expressions import shorten

#: In `errors` of the configuration: the error counts as success.
DONE = "done"
#: Our own code, for a mapping that does not fit the org.
MISMATCH = "mapping"
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
            "INVALID_FIELD",  # a value that refers to nothing; for a field that is not there see _TEXTS
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "INVALID_QUERY_FILTER_OPERATOR",  # of a lookup: a value that its field cannot be compared with
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
            "ALL_OR_NONE_OPERATION_ROLLED_BACK",  # a sibling's fault
            "APEX_ERROR",
            "CANNOT_EXECUTE_FLOW_TRIGGER",
            "OPERATION_TOO_LARGE",
            "PROCESSING_HALTED",
            "QUERY_TIMEOUT",
            "UNABLE_TO_LOCK_ROW",
            "UNKNOWN_EXCEPTION",
        ),
        Kind.RETRY,
    ),
    **dict.fromkeys(
        (
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
            "API_CURRENTLY_DISABLED",
            "API_DISABLED_FOR_ORG",
            "INVALID_AUTH_HEADER",
            "INVALID_OPERATION_WITH_EXPIRED_PASSWORD",
            "INVALID_SESSION_ID",
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
            "INVALID_FIELD_FOR_INSERT_UPDATE",  # which fields are sent is the mapping's doing, never a message's
            "INVALID_TYPE",
            "MALFORMED_QUERY",
            "NOT_FOUND",
            "UNSUPPORTED_API_VERSION",
        ),
        Kind.CONFIGURATION,
    ),
}
#: What Apex says of a limit that a transaction of fewer records may keep; none of it is translated.
_GOVERNOR = re.compile(
    r"Too many (SOQL queries|DML (statements|rows)|query rows|SOSL queries|callouts|queueable jobs)|CPU time limit"
    r"|heap size|LimitException|QUERY_TIMEOUT|Too many future calls",
    re.IGNORECASE,
)
#: The codes whose text quotes what happened inside a trigger or a flow.
_AUTOMATION = frozenset({"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER", "APEX_ERROR"})
_GOVERNOR_CODES = frozenset({"QUERY_TIMEOUT", "OPERATION_TOO_LARGE"})
_STALE = frozenset(
    {
        "ENTITY_IS_DELETED",
        "INACTIVE_OWNER_OR_USER",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INVALID_CROSS_REFERENCE_KEY",
    }
)
#: A text that is too long is quoted whole; it is the message's own, and long.
_LONG_VALUE = re.compile(r"(data value too large): .*( \(max length=\d+\))", re.DOTALL)
_FOREIGN_KEY = re.compile(r"foreign key external id", re.IGNORECASE)
_INSIDE_REQUEST = re.compile(r"duplicate external id specified", re.IGNORECASE)
#: The text decides where one code stands for several causes.
_TEXTS: tuple[tuple[str, re.Pattern[str], Kind], ...] = (
    # The mapping fills a field that is not there, or the key field: so it would be for every message.
    ("INVALID_FIELD", re.compile(r"No such column|should not be specified in the sobject data"), Kind.CONFIGURATION),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", re.compile(r"UNABLE_TO_LOCK_ROW"), Kind.RETRY),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", _GOVERNOR, Kind.RETRY),
    # Of two records in one call both are turned away; each passes alone.
    ("DUPLICATE_VALUE", _INSIDE_REQUEST, Kind.RETRY),
    # The daily limit ends a day later, the one on calls at the same time with the calls.
    ("REQUEST_LIMIT_EXCEEDED", re.compile(r"Concurrent"), Kind.RETRY),
)
#: Codes that Salesforce makes up for a family.
_PREFIXES = (("TXN_SECURITY_", Kind.RETRY),)
#: For a code that the table lacks: what the HTTP status says.
_STATUSES = {
    401: Kind.REFUSED,
    410: Kind.CONFIGURATION,
    413: Kind.REJECT,
    **dict.fromkeys((420, 429, 502, 503, 504), Kind.UNAVAILABLE),
}
#: Of several errors the one that decides: what stops every message first, then what stops this one.
_GRAVITY = (Kind.REFUSED, Kind.CONFIGURATION, Kind.UNAVAILABLE, Kind.REJECT, Kind.RETRY, Kind.UNKNOWN, None)
_ID = re.compile(r"(?<![0-9A-Za-z])(?=[A-Za-z]*[0-9])[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class SfError:
    """One error of an answer: `errorCode` or `statusCode`, the message as it came (bounded), the fields named."""

    code: str
    text: str
    fields: tuple[str, ...] = ()


def kind_of(error: SfError, status: int = 200, overrides: Mapping[str, str] | None = None) -> Kind | None:
    """Given an error and the HTTP status it came with, return what to do; None: `overrides` says that it is success.

    A code that nobody knows is UNKNOWN, which blames no message without looking twice.
    """
    if overrides and (word := overrides.get(error.code)):
        return None if word == DONE else Kind(word)
    for code, pattern, kind in _TEXTS:
        if code == error.code and pattern.search(error.text):
            return kind
    if known := KINDS.get(error.code):
        return known
    prefixed = next((kind for prefix, kind in _PREFIXES if error.code.startswith(prefix)), None)
    return prefixed or _STATUSES.get(status, Kind.UNKNOWN)


def gravest(
    errors: Sequence[SfError], status: int = 200, overrides: Mapping[str, str] | None = None
) -> tuple[SfError, Kind | None]:
    """Given the errors of one record or one call (at least one), return the one that decides, and its kind."""
    found = [(error, kind_of(error, status, overrides)) for error in errors]
    return min(found, key=lambda each: _GRAVITY.index(each[1]))


def is_governor(error: SfError) -> bool:
    """Return whether a limit on one transaction was hit, so that fewer records in a call may pass."""
    inside = error.code in _AUTOMATION and _GOVERNOR.search(error.text) is not None
    return inside or error.code in _GOVERNOR_CODES


def is_stale_reference(error: SfError) -> bool:
    """Return whether the record refers to one that is gone or out of reach: a looked-up id may be outdated."""
    return error.code in _STALE


def duplicate_of(error: SfError, key_field: str) -> str | None:
    """Return the id of the record that holds this key already, "" where the text names none.

    None: the error is something else, such as another unique field, or one key twice in a single call.
    """
    if error.code != "DUPLICATE_VALUE" or _INSIDE_REQUEST.search(error.text):
        return None
    named = re.search(rf"(?<!\w){re.escape(key_field)}(?!\w)", error.text, re.IGNORECASE)
    if not named and key_field.lower() not in {name.lower() for name in error.fields}:
        return None
    ids = _ID.findall(error.text)
    return ids[-1] if ids else ""


def is_about_owner(error: SfError) -> bool:
    """Return whether the owner of a record cannot own it: a user who is inactive, or nobody."""
    named = "ownerid" in {name.lower() for name in error.fields}
    return error.code == "INACTIVE_OWNER_OR_USER" or (named and is_stale_reference(error))


def failure(error: SfError, kind: Kind, place: str, detail: str = "") -> Failure:
    """Return the error as a failure; unless `detail` says more, its detail names the fields: `case.Subject`."""
    fields = ", ".join(f"{place}.{name}" for name in error.fields)
    text = _LONG_VALUE.sub(r"\1: …\2", error.text)
    return Failure(kind, error.code, shorten(text, MAX_TEXT), place, detail or shorten(fields))

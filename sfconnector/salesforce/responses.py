"""Salesforce's answers as values. Pure: takes bytes and decoded JSON, raises nothing."""

import html
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.expressions import shorten
from connectorlib.formats.json_codec import parse_json
from connectorlib.service.redaction import secrets
from sfconnector.salesforce.error_codes import SfError
from sfconnector.salesforce.usage import Usage
from sfconnector.soql import RECORD_ID

MAX_MESSAGE = 4000  # characters of one error's text; a trigger's stack trace may be long
MAX_ERRORS = 20  # of one record or one call
MAX_FOREIGN = 200  # characters of an answer that is not Salesforce's

#: Seconds that an answer may ask to be left alone for; a page that names a date far away is not believed.
LONGEST_WAIT = 3600.0

#: The part to keep of a text that quotes a long value.
_MAXIMUM = re.compile(r" \(max length=\d+\)\Z")
#: More digits than any org has calls are no number of Salesforce's.
_USAGE = re.compile(r"(?<!-)\bapi-usage=(\d{1,15})/(\d{1,15})(?!\d)")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one record. It was written if there are no errors."""

    id: str | None
    created: bool | None  # None: not in the answer
    errors: tuple[SfError, ...] = ()


def usage_of(header: str | None, at: float) -> Usage | None:
    """Given `Sforce-Limit-Info` (`api-usage=18/5000; per-app-api-usage=…`), return the org's usage."""
    found = _USAGE.search(header or "")
    return Usage(int(found[1]), int(found[2]), at) if found else None


def wait_of(headers: Mapping[str, str], now: float) -> float:
    """Given the headers of an answer and the time (seconds since 1970), return for how many seconds it asks to be left
    alone: `Retry-After`, as seconds or as a date (RFC 9110, 10.2.3); 0.0 if it does not ask."""
    given = headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdigit():
        return min(LONGEST_WAIT, float(given[:6]))
    until = moment_of(given)
    if until is None:
        return 0.0
    # By the clock that wrote the date, if it says what time it is.
    return min(LONGEST_WAIT, max(0.0, until - (moment_of(headers.get("Date", "")) or now)))


def moment_of(date: str) -> float | None:
    """Given a date of HTTP, return it in seconds since 1970; None if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def decode(body: bytes) -> Any:
    """Return the JSON of a body, None if it is not JSON."""
    try:
        return parse_json(body)
    except (ValueError, RecursionError):
        return None


def errors_of(value: Any) -> tuple[SfError, ...]:
    """Given the JSON of an answer, return the errors, of which there may be one or a list.

    Empty for HTML, an empty body or other JSON: then it was not Salesforce's API that answered.
    """
    items = value if isinstance(value, list) else [value]
    found = (_error_of(item) for item in items[:MAX_ERRORS])
    return tuple(error for error in found if error is not None)


def _error_of(item: Any) -> SfError | None:
    if not isinstance(item, Mapping):
        return None
    # errorCode in an answer, statusCode in a result of a collection.
    code, text = item.get("errorCode") or item.get("statusCode"), item.get("message")
    if not isinstance(code, str) or not code:
        return None
    text = text if isinstance(text, str) else ""
    fields = item.get("fields")
    names = fields[:MAX_ERRORS] if isinstance(fields, list) else ()
    named = tuple(secrets.redact(str(name)[:MAX_FOREIGN]) for name in names)
    return SfError(secrets.redact(code[:MAX_FOREIGN]), secrets.redact(_bounded(text)), named, _matches(item))


def _matches(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the records that a duplicate rule found (`duplicateResult`, REST API guide)."""
    found: list[str] = []
    for result in _listed(item.get("duplicateResult"), "matchResults"):
        for match in _listed(result, "matchRecords"):
            record = match.get("record") if isinstance(match, Mapping) else None
            identifier = record.get("Id") if isinstance(record, Mapping) else None
            if isinstance(identifier, str) and RECORD_ID.fullmatch(identifier):
                found.append(identifier)
    return tuple(dict.fromkeys(found))[:MAX_ERRORS]


def _listed(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def _bounded(text: str) -> str:
    if len(text) <= MAX_MESSAGE:
        return text
    maximum = _MAXIMUM.search(text, len(text) - 40)
    return text[:MAX_MESSAGE] + (maximum[0] if maximum else "")


def results_of(value: Any, count: int) -> list[Result] | None:
    """Given the answer to a collection of `count` records, return the result of each, in order.

    None: it does not have one result for each record, so nothing is known.
    """
    if not isinstance(value, list) or len(value) != count:
        return None
    results = [_result_of(item) for item in value]
    return [result for result in results if result is not None] if None not in results else None


def _result_of(item: Any) -> Result | None:
    if not isinstance(item, Mapping) or not isinstance(item.get("success"), bool):
        return None
    identifier, created = item.get("id"), item.get("created")
    known = identifier if isinstance(identifier, str) else None
    flag = created if isinstance(created, bool) else None
    if item["success"]:
        return Result(known, flag)
    errors = item.get("errors")
    unexplained = (SfError("UNEXPLAINED", "Salesforce did not write the record and gave no reason"),)
    return Result(known, flag, errors_of(errors if isinstance(errors, list) else []) or unexplained)


def answers_of(value: Any, count: int) -> list[tuple[int, Any]] | None:
    """Given the answer to a composite request of `count` calls, return status and JSON of each, in order.

    None: it does not have one for each call, so nothing is known.
    """
    listed = value.get("compositeResponse") if isinstance(value, Mapping) else None
    if not isinstance(listed, list) or len(listed) != count:
        return None
    answers = [(each.get("httpStatusCode"), each.get("body")) for each in listed if isinstance(each, Mapping)]
    known = [(status, body) for status, body in answers if isinstance(status, int)]
    return known if len(known) == count else None


def records_of(value: Any) -> tuple[list[dict[str, Any]], str] | None:
    """Given the answer to a query, return the records and the locator of the next page, "" if there is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("records"), list):
        return None
    records = [record for record in value["records"] if isinstance(record, dict)]
    following = value.get("nextRecordsUrl")
    more = value.get("done") is False and isinstance(following, str)
    return records, str(following).rpartition("/")[2] if more else ""


def total_of(value: Any) -> int | None:
    """Given the answer to a query, return how many records it has found."""
    total = value.get("totalSize") if isinstance(value, Mapping) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else None


def daily_of(value: Any, at: float) -> Usage | None:
    """Given the answer of `limits`, return the usage of API calls."""
    daily = value.get("DailyApiRequests") if isinstance(value, Mapping) else None
    if not isinstance(daily, Mapping):
        return None
    maximum, remaining = daily.get("Max"), daily.get("Remaining")
    if not isinstance(maximum, int) or not isinstance(remaining, int):
        return None
    return Usage(maximum - remaining, maximum, at)


def readable(body: bytes) -> str:
    """Return the readable text of an answer that is not JSON of Salesforce: the title of a page, or the text."""
    text = body[:20_000].decode("utf-8", "replace")
    title = _TITLE.search(text)
    plain = html.unescape(_UNSEEN.sub(" ", title[1] if title else text))
    return shorten(secrets.redact(" ".join(plain.split())), MAX_FOREIGN)


def without_answer(status: int, body: bytes) -> str:
    """Return the text of a failure for an answer that does not come from Salesforce's API."""
    words = readable(body)
    if status == 407:
        return f"HTTP 407 from a proxy, which requires its own login: {words or 'no details given'}"
    return f"HTTP {status} without an answer of Salesforce's: {words}" if words else f"HTTP {status}, empty answer"


def joined(errors: Sequence[SfError]) -> str:
    """Return several errors as one text."""
    return "; ".join(f"{error.code} {error.text}".rstrip() for error in errors)

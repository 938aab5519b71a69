"""What a field accepts: types of JSON and checks of values, with Salesforce's messages. Pure."""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sfconnector.sandbox import ids
from sfconnector.sandbox.objects import NUMBERS, TEXTS, OrgField
from sfconnector.sandbox.refusals import ApiProblem

_EMAIL = re.compile(r"[^\s@,;:<>()\[\]\\\"]+@[^\s@,;:<>()\[\]\\\".]+(?:\.[^\s@,;:<>()\[\]\\\".]+)+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
#: With an offset: without one the meaning depends on the org, which may refuse it.
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class WrongToken(ValueError):
    """A value whose JSON type the field does not accept."""

    def __init__(self, kind: str, value: object) -> None:
        super().__init__(f"Cannot deserialize instance of {kind} from {token(value)}")


def token(value: object) -> str:
    """Return the JSON token at which a value begins, as Salesforce's parser names it."""
    match value:
        case None:
            return "VALUE_NULL value null"
        case bool():
            return "VALUE_TRUE value true" if value else "VALUE_FALSE value false"
        case str():
            return f"VALUE_STRING value {value}"
        case int():
            return f"VALUE_NUMBER_INT value {value}"
        case float() | Decimal():
            return f"VALUE_NUMBER_FLOAT value {value}"
        case list():
            return "START_ARRAY value ["
    return "START_OBJECT value {"


def stamp(moment: datetime) -> str:
    """Return a time as the REST API writes it: in UTC, with milliseconds."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}+0000"


def _read_text(kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise WrongToken(kind, value)
    return value.strip() or None


def _read_boolean(kind: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise WrongToken(kind, value)
    return value


def _read_number(kind: str, value: Any) -> Any:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            raise WrongToken(kind, value)
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise WrongToken(kind, value)
    try:
        number = float(value)
    except OverflowError:
        raise WrongToken(kind, value) from None
    if not math.isfinite(number) or (kind == "int" and not number.is_integer()):
        raise WrongToken(kind, value)
    return int(number) if kind == "int" else number


def _read_date(kind: str, value: Any) -> Any:
    if not isinstance(value, str) or not _DATE.match(value):
        raise WrongToken(kind, value)
    try:
        return date.fromisoformat(value[:10]).isoformat()
    except ValueError:
        raise WrongToken(kind, value) from None


def _read_datetime(kind: str, value: Any) -> Any:
    if not isinstance(value, str) or not (_DATETIME.fullmatch(value) or _DATE.fullmatch(value)):
        raise WrongToken(kind, value)
    try:
        return stamp(moment(value))
    except (ValueError, OverflowError):
        raise WrongToken(kind, value) from None


def moment(text: str) -> datetime:
    """Parse a date or a date and time; a date is midnight UTC. Raise ValueError."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "boolean": _read_boolean,
    "date": _read_date,
    "datetime": _read_datetime,
    **dict.fromkeys(NUMBERS, _read_number),
}


def read(field: OrgField, value: Any) -> Any:
    """Given the value of a body, return it as the org stores it: text is stripped, empty text is null.
    Raise WrongToken for a JSON type that the field does not accept."""
    if value is None:
        return None
    kind = "string" if field.type in TEXTS else field.type
    reader = _READERS.get(kind)
    if reader is not None:
        return None if value == "" else reader(kind, value)
    return _read_text("string" if kind in ("id", "reference") else kind, value)


def check(field: OrgField, value: Any) -> ApiProblem | None:
    """Return what is wrong with a value that `read` returned, None if nothing is. Does not look at other records."""
    if field.type == "boolean":
        return None if isinstance(value, bool) else _wrong_type(field)  # null
    if value is None:
        return None
    if field.type in ("id", "reference"):
        return None if ids.full(value) else wrong_id(field, value)
    if field.type in NUMBERS:
        return _out_of_range(field, value)
    if field.type not in TEXTS:
        return None
    if field.length and len(value) > field.length:
        text = f"{field.label}: data value too large: {value} (max length={field.length})"
        return ApiProblem("STRING_TOO_LONG", text, (field.name,))
    if field.type == "email" and not _EMAIL.fullmatch(value):
        return ApiProblem("INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {value}", (field.name,))
    if field.restricted:
        return _bad_choice(field, value)
    return None


def wrong_id(field: OrgField, value: object) -> ApiProblem:
    return ApiProblem("MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", (field.name,))


def _wrong_type(field: OrgField) -> ApiProblem:
    text = f"{field.label}: value not of required type: "
    return ApiProblem("INVALID_TYPE_ON_FIELD_IN_RECORD", text, (field.name,))


def _out_of_range(field: OrgField, value: float) -> ApiProblem | None:
    whole = field.precision - field.scale if field.precision else 0
    if not whole or abs(value) < 10**whole:
        return None
    text = f"{field.label}: value outside of valid range on numeric field: {value}"
    return ApiProblem("NUMBER_OUTSIDE_VALID_RANGE", text, (field.name,))


def _bad_choice(field: OrgField, value: str) -> ApiProblem | None:
    chosen = value.split(";") if field.type == "multipicklist" else [value]
    known = {each.lower() for each in field.values}
    wrong = [each for each in chosen if each.lower() not in known]
    if not wrong:
        return None
    text = f"{field.label}: bad value for restricted picklist field: {';'.join(wrong)}"
    return ApiProblem("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", text, (field.name,))

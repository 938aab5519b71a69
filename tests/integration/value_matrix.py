"""The matrix of values: every type of column, every value that is easily altered, and who is right about a cell.

A cell is a value that is sent to a column. It is *kept* if the column holds the same value afterwards, as its type
understands it, or *refused*; anything else is a difference. The judge gets what psycopg, PyMySQL or sqlite3 read.
"""

import base64
import ipaddress
import json
import math
import re
import struct
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

#: The numbers at which something changes, as whole numbers; they are also sent with `.0` and as text.
EDGES = (
    *(0, 1, -1, 70, 127, 128, -128, -129, 255, 256, 1900, 2026, 2155, 2156, 32767, 32768, -32769, 65535, 65536),
    *(8388608, 16777215, 16777217, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, 2**53, 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**38),
)
FRACTIONS = (
    *("1.5", "-1.5", "0.1", "1.005", "2.50", "1e3", "1E-7", "0.123456789", "12345.678901234567", "99999999.99"),
    *("0.10000000000000001", "12345678901234567890.1", "3.4028235e38", "1e39", "1.7976931348623157e308", "5e-324"),
)
WORDS = (
    *("", " ", "x", "abc", "ABC", "abc ", "abcde", "abcde  ", "abcdef", "Grüße", "🦉", "a,b", "b,a", "a,a", "A", "a "),
    *(
        "NaN",
        "Infinity",
        "-infinity",
        "null",
        "true",
        "t",
        "off",
        "0x10",
        "1_0",
        " 12 ",
        "1,5",
        "9e999",
        "12abc",
        "101",
        "0101",
    ),
    *(
        "{1,2}",
        "{}",
        "[1, 2]",
        '"x"',
        '{"k": 1.50}',
        '{"k": 1, "k": 2}',
        "[1,5)",
        "(1,2)",
        "\\x41",
        "x'41'",
        "<a>b</a>",
    ),
    *("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "10.0.0.1", "10.0.0.0/8", "::1", "2001:DB8::1", "08:00:2b:01:02:03"),
    *("1 day", "1 day 02:03:04.5", "-1 mons", "P1DT2H", "$1.50", "now", "today", "epoch", "current_timestamp"),
)
MOMENTS = (
    *("2026-11-24", "0001-01-01", "9999-12-31", "10000-01-01", "2024-02-29", "2026-02-29", "2026-02-30", "1582-10-10"),
    *("0000-00-00", "2026-00-10", "0044-03-15 BC", "02.01.2026", "24/11/2026", "26-11-24", "2026-1-2", "20261124"),
    *("2026-W48-2", "2026-328", "2026-11-24T03:02:11", "2026-11-24 03:02:11", "2026-11-24T03:02", "20261124T030211"),
    *("2026-11-24T03:02:11.1", "2026-11-24T03:02:11.123456", "2026-11-24T03:02:11.1234567", "2026-11-24T03:02:11.000"),
    *("2026-11-24T03:02:11Z", "2026-11-24T03:02:11.5+05:45", "2026-11-24T03:02:11-0800", "2026-11-24T00:00:00"),
    *("2026-11-24T00:00:00Z", "2026-11-24T23:59:60", "2026-11-24T24:00:00", "2026-03-29T02:30:00"),
    *("2026-03-29T02:30:00+01:00", "2026-10-25T02:30:00+02:00", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
    *("2038-01-19T03:14:07Z", "2038-01-19T03:14:08Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z"),
    *("9999-12-31T23:59:59-14:00", "2026-11-24 03:02:11 Europe/Vienna", "Tue, 24 Nov 2026 03:02:11 GMT"),
    *(
        "03:02:11",
        "03:02",
        "0302",
        "3:2:1",
        "11.22",
        "03:02:11.123456",
        "03:02:11.5",
        "23:59:60",
        "24:00:00",
        "25:00:00",
    ),
    *("-01:00:00", "838:59:59", "839:00:00", "03:02:11Z", "03:02:11+02:00", "03:02:11 PM"),
)


def json_cells() -> list[str]:
    """Return every value that is sent, as JSON."""
    numbers = [str(edge) for edge in EDGES] + [f"{edge}.0" for edge in EDGES] + list(FRACTIONS)
    texts = [*numbers, *WORDS, *MOMENTS]
    return ["null", "true", "false", *numbers, *map(json.dumps, dict.fromkeys(texts)), "[1, 2]", '{"k": 1}']


def text_cells() -> list[str]:
    """Return every value that is sent by a format which knows text only."""
    texts = [*(str(edge) for edge in EDGES), *(f"{edge}.0" for edge in EDGES), *FRACTIONS, *WORDS, *MOMENTS]
    return [text for text in dict.fromkeys(texts) if text]


Same = Callable[[Any, Any], bool]


class Kind(NamedTuple):
    """How a value is compared with what the judge reads."""

    #: Given what was sent, and what stands there.
    same: Same
    #: SQL that the judge reads column `v` with.
    read: str = "v"
    #: Given what a message says, if it says it otherwise than one is sent.
    told: Same | None = None

    def tells(self, value: Any, stored: Any) -> bool:
        return (self.told or self.same)(value, stored)


# --- what is the same value -------------------------------------------------------------------------------------------


def number(sent: Any) -> Decimal | None:
    if isinstance(sent, bool | int | Decimal):
        return Decimal(sent)
    try:
        return Decimal(sent.strip()) if isinstance(sent, str) and re.fullmatch(r"[-+.\deE ]+", sent) else None
    except InvalidOperation:
        return None


def same_number(sent: Any, stored: Any) -> bool:
    if isinstance(sent, str) and not Decimal(str(stored)).is_finite():
        return sent.strip().lower().replace("inity", "") == str(stored).lower().replace("inity", "")
    found = number(sent)
    return found is not None and found == Decimal(str(stored))


def same_float(sent: Any, stored: Any) -> bool:
    """Return whether a double is what was sent, as far as the digits of that go."""
    if isinstance(sent, str) and not math.isfinite(float(stored)):
        return same_number(sent, stored)
    found = number(sent)
    if found is None:
        return False
    digits = max(1, len(found.normalize().as_tuple().digits))
    return Decimal(f"{float(stored):.{digits - 1}e}") == found


def same_single(sent: Any, stored: Any) -> bool:
    """The same for a float of 32 bits, of which the judge reads the double or the shortest text."""
    try:
        (exact,) = struct.unpack("f", struct.pack("f", float(stored)))
    except OverflowError:
        return False
    return same_float(sent, exact)


def same_text(sent: Any, stored: Any) -> bool:
    if isinstance(sent, bool):
        return bool(stored == str(sent).lower())
    return bool((sent if isinstance(sent, str) else str(sent)) == stored)


def same_padded(sent: Any, stored: Any) -> bool:
    text = sent if isinstance(sent, str) else str(sent).lower() if isinstance(sent, bool) else str(sent)
    return bool(text.rstrip(" ") == stored.rstrip(" "))


_TRUTH = {"true": True, "t": True, "yes": True, "on": True, "1": True, "false": False, "f": False, "off": False} | {
    "no": False,
    "0": False,
}


def same_truth(sent: Any, stored: Any) -> bool:
    word = str(sent).strip().lower()
    return word in _TRUTH and _TRUTH[word] is _TRUTH[str(stored).lower()]


def same_small_truth(sent: Any, stored: Any) -> bool:
    """tinyint(1) and the like: a truth, or a number."""
    return same_number(sent, stored) or (str(sent).lower() in ("true", "false") and same_truth(sent, stored))


def same_set(sent: Any, stored: Any) -> bool:
    return isinstance(sent, str) and set(sent.split(",")) == set(stored.split(","))


def same_json(sent: Any, stored: Any) -> bool:
    if not isinstance(sent, str):
        return bool(sent == json.loads(stored, parse_float=Decimal))
    try:
        found = json.loads(sent, parse_float=Decimal, object_pairs_hook=tuple)
    except ValueError:
        return False
    return bool(found == json.loads(stored, parse_float=Decimal, object_pairs_hook=tuple))


def same_uuid(sent: Any, stored: Any) -> bool:
    try:
        return uuid.UUID(sent) == uuid.UUID(stored)
    except (ValueError, AttributeError):
        return False


def same_address(sent: Any, stored: Any) -> bool:
    try:
        return ipaddress.ip_interface(sent) == ipaddress.ip_interface(stored)
    except ValueError:
        return False


def same_address6(sent: Any, stored: Any) -> bool:
    """An address of IPv4 may be stored as the address of IPv6 that stands for it (MariaDB 11.8)."""
    return same_address(sent, stored) or (isinstance(sent, str) and same_address(f"::ffff:{sent}", stored))


def same_bytes(sent: Any, stored: Any) -> bool:
    return isinstance(sent, str) and sent.encode() == bytes(stored)


def told_bytes(value: Any, stored: Any) -> bool:
    """Bytes are told in base64."""
    if not isinstance(stored, bytes | memoryview):
        return same_number(value, stored)
    return base64.b64decode(value, validate=True) == bytes(stored)


def told_bits(value: Any, stored: Any) -> bool:
    return int.from_bytes(base64.b64decode(value, validate=True)) == stored


_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _special(sent: str, stored: str) -> bool:
    """Return whether both are a moment that Python does not have: infinity, or of another age."""
    lower = [text.lower().replace("t", " ").split("+")[0].strip() for text in (sent, stored)]
    words = [re.sub(r" 00:00:00(\.0+)?", "", text) for text in lower]
    return words[0] == words[1] and re.fullmatch(r"-?infini y|\d{4,6}-\d\d-\d\d( bc)?", words[0]) is not None


def same_date(sent: Any, stored: Any) -> bool:
    if not isinstance(sent, str):
        return False
    if _DAY.fullmatch(sent[:10]) and re.fullmatch(r"([T ]00:00(:00(\.0+)?)?)?", sent[10:]):
        return sent[:10] == str(stored)
    return _special(sent, str(stored))


def moment(sent: Any) -> datetime | None:
    if not isinstance(sent, str) or re.search(r"\.\d{7}", sent) or (not _DAY.match(sent) and "infinity" not in sent):
        return None
    try:
        found = datetime.fromisoformat(sent)
    except ValueError:
        return None
    try:
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except OverflowError:
        return None


def same_moment(sent: Any, stored: Any) -> bool:
    found = moment(sent)
    if found is None:
        return isinstance(sent, str) and _special(sent, str(stored))
    return found == moment(str(stored))


_CLOCK = re.compile(r"(-?\d{2,3}:\d\d)(:\d\d)?(\.\d{1,6})?(?:Z|([+-]\d\d)(?::?(\d\d))?)?")


def same_time(sent: Any, stored: Any) -> bool:
    one, other = (_CLOCK.fullmatch(text) if isinstance(text, str) else None for text in (sent, stored))
    if one is None or other is None:
        return False
    parts = [
        (clock, seconds or ":00", Decimal(f"0{fraction or '.0'}"), zone or "+00", minutes or "00")
        for clock, seconds, fraction, zone, minutes in (one.groups(), other.groups())
    ]
    return parts[0] == parts[1]


_SPANS = {
    "03:02": "03:02:00",
    "1 day": "1 day",
    "1 day 02:03:04.5": "1 day 02:03:04.5",
    "-1 mons": "-1 mons",
    "P1DT2H": "1 day 02:00:00",
}


def same_span(sent: Any, stored: Any) -> bool:
    return sent in (stored, "-" + stored) or (isinstance(sent, str) and _SPANS.get(sent) == stored)


def same_array(sent: Any, stored: Any) -> bool:
    """An array is sent as a list of numbers, or as the text that the server has for it, and told as either too."""
    return (f"{{{','.join(map(str, sent))}}}" if isinstance(sent, list) else sent) == str(stored)


def told_json(value: Any, stored: Any) -> bool:
    """JSON is told as JSON where the format has it, else as text."""
    return bool(value == json.loads(stored, parse_float=Decimal)) or same_json(value, stored)


def same_bits(sent: Any, stored: Any) -> bool:
    return isinstance(sent, str) and sent == stored


def same_sqlite(sent: Any, stored: Any) -> bool:
    """A column of SQLite that makes numbers of texts: the number and its kind, or the text itself."""
    if isinstance(stored, str):
        return same_text(sent, stored)
    if isinstance(stored, float) and not isinstance(sent, bool):
        return same_float(sent, stored)
    return same_number(sent, stored)


def same_sqlite_truth(sent: Any, stored: Any) -> bool:
    return same_sqlite(sent, stored) or (str(sent).lower() in ("true", "false") and same_truth(sent, stored))


def same_blob(sent: Any, stored: Any) -> bool:
    return same_bytes(sent, stored) if isinstance(stored, bytes) else same_number(sent, stored)


NUMBER, TEXT = Kind(same_number), Kind(same_text)
POSTGRESQL: Mapping[str, Kind] = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid", "positive"), Kind(same_number, "v::text")),
    **dict.fromkeys(("numeric", "numeric(10,2)", "numeric(38,10)", "numeric(5,0)"), Kind(same_number, "v::text")),
    "money": Kind(same_number, "v::numeric::text"),
    "real": Kind(same_single, "v::text"),
    "double precision": Kind(same_float, "v::text"),
    "boolean": Kind(same_truth, "v::text"),
    **dict.fromkeys(("text", "varchar(5)", "varchar", "name", "short", "xml"), Kind(same_text, "v::text")),
    "char(5)": Kind(same_padded, "v::text"),
    "colour": TEXT,
    **dict.fromkeys(("bit(3)", "bit varying(8)"), Kind(same_bits, "v::text")),
    "bytea": Kind(same_bytes, told=told_bytes),
    **dict.fromkeys(("json", "jsonb"), Kind(same_json, "v::text", told_json)),
    "uuid": Kind(same_uuid, "v::text"),
    **dict.fromkeys(("inet", "cidr"), Kind(same_address, "v::text")),
    "macaddr": Kind(same_text, "v::text"),
    "interval": Kind(same_span, "v::text"),
    **dict.fromkeys(("integer[]", "text[]"), Kind(same_array, "v::text")),
    "date": Kind(same_date, "v::text"),
    **dict.fromkeys(("time", "time(0)", "timetz"), Kind(same_time, "v::text")),
    **dict.fromkeys(("timestamp", "timestamp(0)", "timestamptz", "timestamptz(3)"), Kind(same_moment, "v::text")),
}
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
MARIADB: Mapping[str, Kind] = {
    **dict.fromkeys((*_INTEGERS, *(f"{name} unsigned" for name in _INTEGERS)), NUMBER),
    "boolean": Kind(same_small_truth),
    "year": NUMBER,
    "bit(1)": Kind(same_small_truth, "CAST(v AS UNSIGNED)"),
    "bit(16)": Kind(same_number, "CAST(v AS UNSIGNED)", told_bits),
    **dict.fromkeys(("decimal(10,2)", "decimal(38,10)", "decimal(5,0)", "decimal(10,2) unsigned"), NUMBER),
    "float": Kind(same_single, "CAST(v AS DOUBLE)"),
    "double": Kind(same_float),
    **dict.fromkeys(("varchar(5)", "text", "tinytext", "longtext"), TEXT),
    "char(5)": Kind(same_padded),
    **dict.fromkeys(("varbinary(5)", "blob"), Kind(same_bytes, told=told_bytes)),
    "enum('','abc','a','b','1')": TEXT,
    "set('a','b','c')": Kind(same_set),
    "json": Kind(same_json, told=told_json),
    "uuid": Kind(same_uuid, "CAST(v AS CHAR)"),
    "inet6": Kind(same_address6, "CAST(v AS CHAR)"),
    "date": Kind(same_date, "CAST(v AS CHAR)"),
    **dict.fromkeys(("time", "time(6)"), Kind(same_time, "CAST(v AS CHAR)")),
    **dict.fromkeys(("datetime", "datetime(6)", "timestamp", "timestamp(3)"), Kind(same_moment, "CAST(v AS CHAR)")),
}
SQLITE: Mapping[str, Kind] = {
    **dict.fromkeys(("integer", "bigint", "numeric(10,2)", "decimal", "double", "real"), Kind(same_sqlite)),
    "boolean": Kind(same_sqlite_truth),
    **dict.fromkeys(("text", "varchar(5)"), TEXT),
    "blob": Kind(same_blob, told=told_bytes),
    **dict.fromkeys(("date", "time", "timestamp"), Kind(same_sqlite)),
}

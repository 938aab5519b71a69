"""What a column takes: its class, and where its type would alter a value without a word. Pure."""

import re
from dataclasses import replace
from enum import StrEnum

from connectorlib.dataclass import dataclass
from dbconnector.wall_clock import WallClock


class Column(StrEnum):
    TEXT = "text"
    JSON = "json"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    SINGLE = "single"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    #: A timestamp that knows its instant: it is sent with an offset.
    INSTANT = "instant"
    DATE = "date"
    TIME = "time"
    BINARY = "binary"
    #: A type that is written as text of a form of its own: an address, an interval, bits.
    FORM = "form"
    #: A list of values of one type, or of such lists.
    ARRAY = "array"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What the catalogue says of a column. What a database refuses by itself does not stand here."""

    kind: Column = Column.UNKNOWN
    #: The type as the catalogue names it.
    name: str = ""
    #: Characters of a text (with `octets`, bytes in UTF-8), where what is longer may be cut.
    size: int | None = None
    octets: bool = False
    #: Digits of a number in all.
    digits: int | None = None
    #: Digits after the point of a number, or of the seconds of a time.
    scale: int | None = None
    #: The whole numbers beyond which the database would make another number of one.
    within: range | None = None
    #: The pattern that a text has to match, where the database would guess what another one means.
    form: re.Pattern[str] | None = None
    #: The words that an enumeration knows; with `several`, any number of them, separated by commas.
    members: frozenset[str] = frozenset()
    several: bool = False
    #: What an element of an array is.
    element: "ColumnType | None" = None
    #: Whether it keeps instants though a value of it has no offset: it is in UTC.
    utc: bool = False
    #: Whether a value is stored there; else it is compared.
    stored: bool = True
    #: The clock by which values without an offset are meant, if the configuration names one.
    clock: WallClock | None = None

    def by(self, clock: WallClock | None) -> "ColumnType":
        """Return it for values that are meant by a clock."""
        return self if clock is None else replace(self, clock=clock, element=self.element and self.element.by(clock))

    def compared(self) -> "ColumnType":
        """Return it for a value that is only compared with the column, and may be one that it could not keep."""
        element = self.element and self.element.compared()
        return ColumnType(self.kind, self.name, element=element, utc=self.utc, stored=False)


UNKNOWN = ColumnType()

_TYPES: tuple[tuple[str, Column], ...] = (
    (r".*\[\]$", Column.UNKNOWN),
    (r"tinyint\(1\)|bool", Column.BOOLEAN),
    (r"tinyint|smallint|mediumint|integer|bigint|int\b|int[248]\b|year|oid$", Column.INTEGER),
    (r"numeric|decimal|dec\b|number", Column.DECIMAL),
    (r"real|double|float", Column.FLOAT),
    (r"timestamp.* with (local )?time zone|timestamptz|datetimeoffset", Column.INSTANT),
    (r"(timestamp|datetime)(?!_)", Column.TIMESTAMP),
    (r"date(?![a-z_])", Column.DATE),  # not daterange, and no enumeration of this name
    (r"timetz|time(?![a-z_])", Column.TIME),
    (r"bytea|.*blob|.*binary", Column.BINARY),
    (r"jsonb?$", Column.JSON),
    (r".*char|.*text|name$|enum|bpchar", Column.TEXT),
)
_NUMBERS = re.compile(r"\((-?\d+)(?:, ?(-?\d+))?\)")


def column_class(type_name: str) -> Column:
    """Given a type as the catalogue of a database names it, return the class of the column."""
    name = type_name.strip().lower()
    return next((column for pattern, column in _TYPES if re.match(pattern, name)), Column.UNKNOWN)


def column_type(type_name: str) -> ColumnType:
    """Return the class of a column alone: nothing is known of what this database alters."""
    return ColumnType(column_class(type_name), type_name)


def numbers_of(type_name: str) -> list[int]:
    """Return the numbers in the brackets of a type: `numeric(10,2)` has two."""
    found = _NUMBERS.search(type_name)
    return [int(each) for each in found.groups() if each is not None] if found else []


def plain_name(name: str, *, fold: bool = False) -> str:
    """Return an identifier without its quotes; an unquoted one in lower case if `fold`."""
    name = name.strip()
    for opening, closing in (('"', '"'), ("`", "`"), ("[", "]")):
        if len(name) > 1 and name.startswith(opening) and name.endswith(closing):
            return name[1:-1].replace(closing * 2, closing)
    return name.lower() if fold else name


def name_parts(table: str) -> list[str]:
    """Split a table's name at its dots; return the parts without their quotes, the table last."""
    parts = re.findall(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^.\s]+', table)
    return [plain_name(part) for part in parts] or [table]

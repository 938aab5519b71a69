"""Queries for lookups: keys, SOQL, and the handling of the answers.

A refused query is split until the values that Salesforce refuses are alone, so that one message's value never costs
others the answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from sfconnector import soql

#: Bytes of an address for the values; the remainder is for the rest of the query.
_ROOM = soql.MAX_ADDRESS - 2000
#: Texts of this length always fit, whatever the characters are.
_SHORT = 100

#: Fields that hold an id on every object. Salesforce refuses a query with any other text for them.
_ID_FIELDS = frozenset(
    f"{name}Id".lower()
    for name in ("", "Account", "Asset", "Contact", "Owner", "Parent", "Profile", "RecordType", "UserRole", "Product2")
)
#: Kinds of refusal that a value may have caused; even a malformed query, by an unknown year.
_BLAMED = frozenset({Kind.REJECT, Kind.UNKNOWN, Kind.CONFIGURATION})


class Key(NamedTuple):
    """The values that identify a record."""

    #: One for each field of `where`, as in the query.
    values: tuple[Any, ...]
    #: The same, normalised for comparison.
    normal: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """The common part of lookups that one query answers."""

    sobject: str
    where: tuple[str, ...]
    order: str

    @property
    def place(self) -> str:
        return f"lookup {self.sobject} where {', '.join(self.where)}"

    def key(self, values: Sequence[Any]) -> Key | None:
        """Return the key for these values, None if no record can match."""
        found, normal = [], []
        for field, value in zip(self.where, values, strict=True):
            if isinstance(value, str):
                value = value.strip()  # as Salesforce does before it stores a text
                if not can_have(field, value):
                    return None
            found.append(value)
            normal.append(_normal(field, value))
        key = Key(tuple(found), tuple(normal))
        longest = max(len(value) if isinstance(value, str) else 0 for value in found)
        return key if longest < _SHORT or sum(_lengths(key)) <= _ROOM else None

    def query(self, keys: Sequence[Key], fields: Iterable[str], limit: int = soql.MAX_ROWS) -> str:
        columns = zip(*(key.values for key in keys), strict=True)
        where = {
            field: tuple(dict.fromkeys(soql.literal(value) for value in column))
            for field, column in zip(self.where, columns, strict=True)
        }
        # By name ignoring case: Salesforce refuses a field that is selected twice.
        wanted = {field.lower(): field for field in (*fields, *self.where)}
        return soql.select(self.sobject, tuple(wanted.values()), where, self.order, limit)


def can_have(field: str, text: str) -> bool:
    """Return whether a record may have this text (stripped) in that field."""
    return bool(text) and soql.can_be_held(text) and not (_holds_id(field) and not soql.RECORD_ID.fullmatch(text))


def _holds_id(field: str) -> bool:
    return field.rpartition(".")[2].lower() in _ID_FIELDS


def _normal(field: str, value: Any) -> Any:
    """Return a value of a message or an answer, normalised as Salesforce compares it."""
    if isinstance(value, str):
        return value[:15] if _holds_id(field) else value.lower()
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, datetime):
        return soql.literal(value).replace("Z", "+0000").lower()
    return value.isoformat() if isinstance(value, date) else value


def _lengths(key: Key) -> Iterator[int]:
    """Yield the length of each value in an address, separator included."""
    return (soql.encoded_length(soql.literal(value) + ", ") for value in key.values)


# -- asking


class Queries(Protocol):
    """The client, as far as lookups need it."""

    def query(self, soql: str) -> list[dict[str, Any]]: ...


def chunks(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Split keys into chunks that fit into one address."""
    chunk: list[Key] = []
    room = _ROOM
    for key in keys:
        length = sum(_lengths(key))
        if chunk and length > room:
            yield chunk
            chunk, room = [], _ROOM
        chunk.append(key)
        room -= length
    if chunk:
        yield chunk


#: A value that no record has, valid for text and for ids.
_NOBODY = "000000000000000AAA"


class LookupQuery:
    """A query that is split when Salesforce refuses it or has more rows than fit on a page."""

    def __init__(self, client: Queries, search: Search, fields: Sequence[str]) -> None:
        self._client = client
        self._search = search
        self._fields = fields
        self._proven = False

    def ask(self, keys: Sequence[Key]) -> list[tuple[Key, Any]]:
        """Return the rows of each key, or the Failure that the value causes."""
        try:
            rows = self._client.query(self._search.query(keys, self._fields))
        except Failed as failed:
            if failed.failure.kind not in _BLAMED:
                raise
            self._prove(keys[0])
            return self._halves(keys) if len(keys) > 1 else [(keys[0], self._fault(failed.failure))]
        if len(keys) == 1:
            return [(keys[0], rows)]
        if len(rows) >= soql.MAX_ROWS:  # some rows may be missing
            return self._halves(keys)
        return _matched(self._search, keys, rows)

    def _halves(self, keys: Sequence[Key]) -> list[tuple[Key, Any]]:
        middle = len(keys) // 2
        return self.ask(keys[:middle]) + self.ask(keys[middle:])

    def _fault(self, failure: Failure) -> Failure:
        """Return the failure for a single value, when the same query with another value is accepted."""
        kind = Kind.REJECT if failure.kind is Kind.CONFIGURATION else failure.kind
        return replace(failure, kind=kind, place=self._search.place)

    def _prove(self, key: Key) -> None:
        """Raise Failed (configuration) if the query is refused with a harmless value too: no value is to blame then."""
        if self._proven:
            return
        harmless = Key(tuple(_harmless(value) for value in key.values), ())
        try:
            self._client.query(self._search.query([harmless], self._fields, limit=1))
        except Failed as failed:
            if failed.failure.kind not in _BLAMED:
                raise
            place = self._search.place
            hint = 'Salesforce refuses it whatever the value is (numbers and times need a "type" in "where")'
            failure = replace(failed.failure, kind=Kind.CONFIGURATION, place=place, detail=f"{place}: {hint}")
            raise Failed(failure) from failed
        self._proven = True


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return _NOBODY
    if isinstance(value, bool):
        return False
    if isinstance(value, datetime):
        return datetime(2000, 1, 1)
    return date(2000, 1, 1) if isinstance(value, date) else 0


def value_in(row: Mapping[str, Any], field: str) -> Any:
    """Given a record of an answer and a field, also of a related record, return the value; None if there is none.

    Answers spell names as the org does, not as the configuration does.
    """
    value: Any = row
    for name in field.split("."):
        if not isinstance(value, Mapping):
            return None
        if name in value:
            value = value[name]
        else:
            value = next((each for key, each in value.items() if key.lower() == name.lower()), None)
    return value


def _matched(
    search: Search, keys: Sequence[Key], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[Key, Sequence[Mapping[str, Any]]]]:
    """Return the rows of each key. A query for several fields also finds rows that combine values of different keys."""
    by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        normal = tuple(_normal(field, value_in(row, field)) for field in search.where)
        by_key.setdefault(normal, []).append(row)
    return [(key, by_key.get(key.normal, ())) for key in keys]

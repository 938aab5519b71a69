"""What is searched for in Salesforce and by which fields, as queries, and what is done about their answers.

A refused query is split until the values that Salesforce does not take stand alone, so that one message's value never
costs the others their answer.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from connectorlib.errors import Failed, Failure, Kind
from sfconnector import soql

#: Longest part of an address that holds the values; the rest of the query has the room that is left.
_ROOM = soql.MAX_ADDRESS - 2000
#: Texts up to this fit in any number that a lookup has, whatever characters they are made of.
_SHORT = 100

#: Fields that hold an id on every object that has them. Salesforce refuses a query with anything else for them.
_ID_FIELDS = frozenset(
    f"{name}Id".lower()
    for name in ("", "Account", "Asset", "Contact", "Owner", "Parent", "Profile", "RecordType", "UserRole", "Product2")
)
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?", re.ASCII)
#: Kinds of refusal that one of the values may have caused: even a malformed query, by a year that SOQL does not know.
_BLAMED = frozenset({Kind.REJECT, Kind.UNKNOWN, Kind.CONFIGURATION})


class Key(NamedTuple):
    """What one record is looked up by."""

    #: One for each field of `where`, as they are written in a query.
    values: tuple[Any, ...]
    #: The same as Salesforce compares them.
    normal: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """What lookups have in common that one query can answer."""

    sobject: str
    where: tuple[str, ...]
    order: str

    @property
    def place(self) -> str:
        return f"lookup {self.sobject} where {', '.join(self.where)}"

    def key(self, values: Sequence[Any]) -> Key | None:
        """Return the key for these values, None if no record can have them."""
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
        # By name without case: Salesforce refuses a field that is selected twice.
        wanted = {field.lower(): field for field in (*fields, *self.where)}
        return soql.select(self.sobject, tuple(wanted.values()), where, self.order, limit)


def can_have(field: str, text: str) -> bool:
    """Return whether a record may have this text, without blanks around it, in that field."""
    return bool(text) and soql.can_be_held(text) and not (_holds_id(field) and not _ID.fullmatch(text))


def _holds_id(field: str) -> bool:
    return field.rpartition(".")[2].lower() in _ID_FIELDS


def _normal(field: str, value: Any) -> Any:
    """Return a value, of a message or of an answer, as Salesforce compares it."""
    if isinstance(value, str):
        # Ids come with 15 characters or 18; the last three only say which of the others are capitals.
        return value[:15] if _holds_id(field) else value.lower()
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, datetime):
        return soql.literal(value).replace("Z", "+0000").lower()
    return value.isoformat() if isinstance(value, date) else value


def _lengths(key: Key) -> Iterator[int]:
    """How much of an address the values take, with what stands between them."""
    return (soql.encoded_length(soql.literal(value) + ", ") for value in key.values)


# -- asking


class Queries(Protocol):
    """The part of the client that is needed here."""

    def query(self, soql: str) -> list[dict[str, Any]]: ...


def chunks(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Split keys so that each part fits into one address."""
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


#: A value that no record has, and that fits text and ids alike.
_NOBODY = "000000000000000AAA"


class LookupQuery:
    """One query, and what is done when Salesforce refuses it or has more rows than fit on a page."""

    def __init__(self, client: Queries, search: Search, fields: Sequence[str]) -> None:
        self._client = client
        self._search = search
        self._fields = fields
        self._proven = False

    def ask(self, keys: Sequence[Key]) -> list[tuple[Key, Any]]:
        """Return for each key the rows that fit it, or the Failure that its value causes."""
        try:
            rows = self._client.query(self._search.query(keys, self._fields))
        except Failed as failed:
            if failed.failure.kind not in _BLAMED:
                raise
            self._prove(keys[0])
            return self._halves(keys) if len(keys) > 1 else [(keys[0], self._fault(failed.failure))]
        if len(keys) == 1:
            return [(keys[0], rows)]
        if len(rows) >= soql.MAX_ROWS:  # there may be more, of some of them
            return self._halves(keys)
        return _matched(self._search, keys, rows)

    def _halves(self, keys: Sequence[Key]) -> list[tuple[Key, Any]]:
        middle = len(keys) // 2
        return self.ask(keys[:middle]) + self.ask(keys[middle:])

    def _fault(self, failure: Failure) -> Failure:
        """Return what Salesforce says about a single value, when it takes the same query with another one."""
        kind = Kind.REJECT if failure.kind is Kind.CONFIGURATION else failure.kind
        return replace(failure, kind=kind, place=self._search.place)

    def _prove(self, key: Key) -> None:
        """Raise Failed (configuration) if the query is refused for a harmless value too: then no value is to blame."""
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
    """Given a record of an answer and a field, also of a related record, return its value; None if it has none.

    Answers spell names as the org does, which need not be as the configuration does.
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
    """Give each key the rows that fit it. A query for several fields also finds rows that mix the keys' values."""
    by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        normal = tuple(_normal(field, value_in(row, field)) for field in search.where)
        by_key.setdefault(normal, []).append(row)
    return [(key, by_key.get(key.normal, ())) for key in keys]

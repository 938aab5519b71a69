"""Lookups: `{"lookup": "Contact", "where": {"Email": "contact.email"}}`, answered for a whole batch at once.

Evaluating a mapping shows which answers are not in the cache. One query for each object and set of conditions fetches
them, and only the entries that were waiting for one are evaluated again.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Protocol

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import MISSING, Expression, Extra, Scope, compile_expression, describe_missing, text_of
from connectorlib.values.text import kind_of, quoted
from sfconnector import soql
from sfconnector.lookup_query import Key, LookupQuery, Queries, Search, can_have, chunks, value_in

#: How long "not found" is cached at most: the record is often created a moment later.
MISS_SECONDS = 60.0

_KEYS = frozenset({"where", "field", "order_by", "missing", "ambiguous", "cache_seconds"})
#: With these types a value of `where` is not quoted in the query.
_BARE_TYPES = frozenset({"integer", "decimal", "float", "boolean", "date", "timestamp", "epoch_s", "epoch_ms"})


class NoAnswer(Enum):
    NOT_FOUND = "not found"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "not in the cache"


NOT_FOUND: Final = NoAnswer.NOT_FOUND
AMBIGUOUS: Final = NoAnswer.AMBIGUOUS
UNKNOWN: Final = NoAnswer.UNKNOWN

#: A field's value (which may be null), NOT_FOUND, AMBIGUOUS, UNKNOWN, or the Failure that this value causes.
Answer = Any


class Answers(Protocol):
    """Answers lookups without asking Salesforce."""

    def answer(self, lookup: "Lookup", key: Key) -> Answer: ...


class LookupScope(Scope):
    """The scope of a record whose mapping may look something up."""

    __slots__ = ("ask", "keys")
    #: Answers a lookup; what it does not know counts as not found.
    ask: Callable[["Lookup", Key], Answer]
    #: The key of each lookup that was evaluated, so that `where` is evaluated once; unset where nothing is kept.
    keys: dict["Lookup", Key | None]


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """One lookup of the configuration; as an expression it evaluates to the `field` of the record that it finds."""

    search: Search
    where: tuple[tuple[str, Expression, bool], ...]  # field, expression of its value, whether numbers stay numbers
    field: str
    missing: str  # skip | reject
    ambiguous: str  # skip | reject | first
    cache_seconds: float

    @property
    def place(self) -> str:
        return self.search.place

    def seconds(self, answer: Answer) -> float:
        """Return how long an answer may be cached."""
        if isinstance(answer, Failure):
            return min(self.cache_seconds, MISS_SECONDS) if answer.kind is Kind.REJECT else 0.0
        return min(self.cache_seconds, MISS_SECONDS) if answer is NOT_FOUND else self.cache_seconds

    def key(self, record: Any, scope: Scope) -> Key | None:
        """Return what to look up, None if no record can match. Raise Failed (reject, bad-value)."""
        keys: dict[Lookup, Key | None] | None = getattr(scope, "keys", None)
        if keys is None:
            return self._key(record, scope)
        if self not in keys:
            keys[self] = self._key(record, scope)
        return keys[self]

    def _key(self, record: Any, scope: Scope) -> Key | None:
        values = []
        for field, expression, bare in self.where:
            value = expression.evaluate(record, scope)
            if value is MISSING or value is None:
                return None
            values.append(_searchable(self.place, field, value, bare))
        return self.search.key(values)

    def evaluate(self, record: Any, scope: Scope) -> Any:
        key = self.key(record, scope)
        answer = scope.ask(self, key) if key is not None and isinstance(scope, LookupScope) else NOT_FOUND
        if isinstance(answer, Failure):
            raise Failed(replace(answer, detail=f"{self._described(key)}: {answer.code} {answer.text}"))
        if answer is NOT_FOUND:
            return self._no_value(self.missing, "not-found", key, record, scope)
        if answer is AMBIGUOUS:
            return self._no_value(self.ambiguous, "ambiguous", key, record, scope)
        return answer

    def _no_value(self, policy: str, code: str, key: Key | None, record: Any, scope: Scope) -> Any:
        if policy != "reject":
            return MISSING
        if code == "ambiguous":
            text, why = f"several {self.search.sobject} records fit", "several records fit"
        else:
            text, why = f"no {self.search.sobject} record fits", "not found"
        detail = f"{self._described(key)}: {why}" if key else f"{self.place}: {self._why_no_key(record, scope)}"
        raise reject(code, text, detail=detail, by_target=key is not None)

    def _described(self, key: Key | None) -> str:
        pairs = zip(self.search.where, key.values if key else (), strict=False)
        return f"lookup {self.search.sobject} where " + ", ".join(f"{name} = {quoted(value)}" for name, value in pairs)

    def _why_no_key(self, record: Any, scope: Scope) -> str:
        for field, expression, _ in self.where:
            value = expression.evaluate(record, scope)
            if value is MISSING or value is None:
                return f"{field} <- {describe_missing(expression, record, scope)}"
            if isinstance(value, str) and not value.strip():
                return f"{field} <- {expression.text}: empty"
            if isinstance(value, str) and not can_have(field, value.strip()):
                return f"{field} <- no record can have {quoted(value)}"
        return "the values are too long to ask for"


def _searchable(place: str, field: str, value: Any, bare: bool) -> Any:
    """Return a value of `where` for the query: text, unless its expression has another type."""
    if isinstance(value, str | date):
        return value
    if isinstance(value, list | dict):
        text = f"{kind_of(value)} cannot be looked up"
        raise reject("bad-value", text, detail=f"{place}: {field} <- {text}")
    return value if bare else text_of(value)


# -- from the configuration


def lookup_extra(found: list[Lookup] | None = None) -> dict[str, Extra]:
    """Return the `extra` that adds `lookup` to `compile_expression`; compiled lookups are appended to `found`."""

    def build(spec: Mapping[str, Any]) -> Expression:
        lookup = compile_lookup(spec)
        if found is not None:
            found.append(lookup)
        parts = tuple(part for _, expression, _ in lookup.where for part in expression.parts)
        return Expression(lookup.evaluate, lookup.place, parts)

    return {"lookup": Extra(build, _KEYS)}


def compile_lookup(spec: Mapping[str, Any]) -> Lookup:
    """Given the full form, return the lookup. Raise ValueError for a mistake in it."""
    sobject = soql.object_name(spec["lookup"])
    where = spec.get("where")
    if not isinstance(where, Mapping) or not where:
        raise ValueError('lookup needs "where", such as {"Email": "contact.email"}')
    conditions = tuple(_condition(name, each) for name, each in where.items())
    ambiguous = _word(spec, "ambiguous", ("skip", "reject", "first"))
    # "first" of an unordered answer would change from query to query.
    order = soql.order_by(spec["order_by"]) if "order_by" in spec else "Id" if ambiguous == "first" else ""
    seconds = spec.get("cache_seconds", 300)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | Decimal) or seconds < 0:
        raise ValueError(f"cache_seconds is a number of seconds, not {quoted(seconds)}")
    return Lookup(
        Search(sobject, tuple(name for name, _, _ in conditions), order),
        conditions,
        soql.field_path(spec.get("field", "Id")),
        _word(spec, "missing", ("skip", "reject")),
        ambiguous,
        float(seconds),
    )


def _condition(name: Any, spec: Any) -> tuple[str, Expression, bool]:
    field = soql.field_path(name)
    try:
        expression = compile_expression(spec)
    except ValueError as error:
        raise ValueError(f"where.{field}: {error}") from error
    full = spec if isinstance(spec, Mapping) else {}
    return field, expression, "value" in full or full.get("type") in _BARE_TYPES


def _word(spec: Mapping[str, Any], key: str, words: Sequence[str]) -> str:
    word = spec.get(key, "skip")
    if word not in words:
        raise ValueError(f"{key} is {', '.join(words[:-1])} or {words[-1]}, not {quoted(word)}")
    return str(word)


# -- the cache

Wanted = tuple[Lookup, Key]
_Slot = tuple[Search, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Known:
    at: float  # monotonic
    #: NOT_FOUND, a Failure, or a tuple of the field's different values, at most two.
    found: Any


class Fetched:
    """The answers to what one `fetch` wanted, as they were then."""

    def __init__(self, found: Mapping[_Slot, Any]) -> None:
        self._found = found

    def answer(self, lookup: Lookup, key: Key) -> Answer:
        return _picked(lookup, self._found.get(_slot(lookup, key), UNKNOWN))


class Lookups:
    """Cached answers. Thread-safe: all sinks of a division share them."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, size: int = 10_000) -> None:
        self._clock = clock
        self._size = size
        self._lock = threading.Lock()
        self._known: dict[_Slot, _Known] = {}

    def answer(self, lookup: Lookup, key: Key) -> Answer:
        """Return the cached answer, UNKNOWN if there is none or it is too old."""
        known = self._known.get(_slot(lookup, key))
        return _picked(lookup, known.found) if known and self._is_fresh(lookup, known, self._clock()) else UNKNOWN

    def fetch(self, client: Queries, wanted: Iterable[Wanted]) -> Fetched:
        """Return the answers to all that is wanted, asking for those that are not cached.

        Raise Failed when Salesforce does not answer, or refuses a query whatever its values are (configuration).
        """
        found: dict[_Slot, Any] = {}
        asked: dict[Search, dict[tuple[Any, ...], Key]] = {}
        fields: dict[Search, dict[str, None]] = {}
        now = self._clock()
        with self._lock:
            needed = set()
            for lookup, key in wanted:
                slot = _slot(lookup, key)
                needed.add(slot)
                known = self._known.get(slot)
                if known and self._is_fresh(lookup, known, now):
                    found[slot] = known.found
                else:
                    asked.setdefault(lookup.search, {})[key.normal] = key
                    fields.setdefault(lookup.search, {})[lookup.field] = None
            self._make_room(sum(len(keys) * len(fields[search]) for search, keys in asked.items()), needed)
        for search, keys in asked.items():
            question = LookupQuery(client, search, tuple(fields[search]))
            for chunk in chunks(list(keys.values())):
                found |= self._learn(search, tuple(fields[search]), question.ask(chunk))
        return Fetched(found)

    def _is_fresh(self, lookup: Lookup, known: _Known, now: float) -> bool:
        return now - known.at < lookup.seconds(known.found)

    def _learn(self, search: Search, fields: Sequence[str], answers: Iterable[tuple[Key, Any]]) -> dict[_Slot, Any]:
        now = self._clock()
        learnt = {
            (search, field, key.normal): rows if isinstance(rows, Failure) else _values(rows, field)
            for key, rows in answers
            for field in fields
        }
        with self._lock:
            for slot, found in learnt.items():
                self._known.pop(slot, None)  # the newest answer is the last to be evicted
                self._known[slot] = _Known(now, found)
        return learnt

    def _make_room(self, count: int, needed: set[_Slot]) -> None:
        """Evict the oldest answers, though none that is needed now."""
        excess = len(self._known) + count - self._size
        if excess > 0:
            for slot in [slot for slot in self._known if slot not in needed][:excess]:
                del self._known[slot]

    def forget(self, used: Iterable[Wanted]) -> None:
        """Drop these answers from the cache: they have led to a record that is gone."""
        with self._lock:
            for lookup, key in used:
                self._known.pop(_slot(lookup, key), None)


def _slot(lookup: Lookup, key: Key) -> _Slot:
    return lookup.search, lookup.field, key.normal


def _picked(lookup: Lookup, found: Any) -> Answer:
    if not isinstance(found, tuple):
        return found
    return found[0] if len(found) == 1 or lookup.ambiguous == "first" else AMBIGUOUS


def _values(rows: Sequence[Mapping[str, Any]], field: str) -> Any:
    """Return the first two different values of a field, NOT_FOUND if there are no rows. Several records that agree
    are one answer."""
    distinct: list[Any] = []
    for row in rows:
        value = value_in(row, field)
        if value not in distinct:
            distinct.append(value)
        if len(distinct) == 2:
            break
    return tuple(distinct) if distinct else NOT_FOUND

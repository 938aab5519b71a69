"""Lookups: `{"lookup": "Contact", "where": {"Email": "contact.email"}}`, asked for a whole batch at once.

A Case is mapped in two passes: the first collects what has to be looked up, the second takes the answers. Between
them one query for each object and set of conditions asks for all that is not known yet.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import MISSING, Expression, Extra, Scope, compile_expression, describe_missing, text_of
from connectorlib.values.text import kind_of, quoted
from sfconnector import soql
from sfconnector.lookup_query import Key, Queries, Question, Search, can_have, chunks, value_in

#: That nothing was found is believed no longer than this: the record is often made a moment later.
MISS_SECONDS = 60.0

_KEYS = frozenset({"where", "field", "order_by", "missing", "ambiguous", "cache_seconds"})
#: With these types a value of `where` is a number, a boolean or a time in the query too, not text in quotes.
_BARE_TYPES = frozenset({"integer", "decimal", "float", "boolean", "date", "timestamp", "epoch_s", "epoch_ms"})


class Unfound(Enum):
    NOT_FOUND = "not found"
    AMBIGUOUS = "ambiguous"


NOT_FOUND: Final = Unfound.NOT_FOUND
AMBIGUOUS: Final = Unfound.AMBIGUOUS

#: A field's value (which may be null), NOT_FOUND, AMBIGUOUS, or the Failure that Salesforce answered this value with.
Answer = Any


class LookupScope(Scope):
    """The scope of a record whose mapping may look something up. `ask` is what answers, or notes the question."""

    __slots__ = ("ask",)
    ask: Callable[["Lookup", Key], Answer]


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """One lookup of the configuration; as an expression it gives the `field` of the record that it finds."""

    search: Search
    where: tuple[tuple[str, Expression, bool], ...]  # field, where its value comes from, whether numbers stay numbers
    field: str
    missing: str  # skip | reject
    ambiguous: str  # skip | reject | first
    cache_seconds: float

    @property
    def place(self) -> str:
        return self.search.place

    def seconds(self, answer: Answer) -> float:
        """Return how long an answer may be believed."""
        if isinstance(answer, Failure):
            return min(self.cache_seconds, MISS_SECONDS) if answer.kind is Kind.REJECT else 0.0
        return min(self.cache_seconds, MISS_SECONDS) if answer is NOT_FOUND else self.cache_seconds

    def key(self, record: Any, scope: Scope) -> Key | None:
        """Return what to look up, None if there is nothing to ask for. Raise Failed (reject, bad-value)."""
        values = []
        for field, expression, bare in self.where:
            value = expression.evaluate(record, scope)
            if value is MISSING or value is None:
                return None
            values.append(_asked(self.place, field, value, bare))
        return self.search.key(values)

    def evaluate(self, record: Any, scope: Scope) -> Any:
        key = self.key(record, scope)
        answer = scope.ask(self, key) if key is not None and isinstance(scope, LookupScope) else NOT_FOUND
        if isinstance(answer, Failure):
            raise Failed(replace(answer, detail=f"{self._words(key)}: {answer.code} {answer.text}"))
        if answer is NOT_FOUND:
            return self._nothing(self.missing, "not-found", key, record, scope)
        if answer is AMBIGUOUS:
            return self._nothing(self.ambiguous, "ambiguous", key, record, scope)
        return answer

    def _nothing(self, policy: str, code: str, key: Key | None, record: Any, scope: Scope) -> Any:
        if policy != "reject":
            return MISSING
        if code == "ambiguous":
            text, why = f"several {self.search.sobject} records fit", "several records fit"
        else:
            text, why = f"no {self.search.sobject} record fits", "not found"
        words = f"{self._words(key)}: {why}" if key else f"{self.place}: {self._unasked(record, scope)}"
        raise reject(code, text, detail=words)

    def _words(self, key: Key | None) -> str:
        pairs = zip(self.search.where, key.values if key else (), strict=False)
        return f"lookup {self.search.sobject} where " + ", ".join(f"{name} = {quoted(value)}" for name, value in pairs)

    def _unasked(self, record: Any, scope: Scope) -> str:
        """Return why there was nothing to ask for."""
        for field, expression, _ in self.where:
            value = expression.evaluate(record, scope)
            if value is MISSING or value is None:
                return f"{field} <- {describe_missing(expression, record, scope)}"
            if isinstance(value, str) and not value.strip():
                return f"{field} <- {expression.text}: empty"
            if isinstance(value, str) and not can_have(field, value.strip()):
                return f"{field} <- no record can have {quoted(value)}"
        return "the values are too long to ask for"


def _asked(place: str, field: str, value: Any, bare: bool) -> Any:
    """Return a value of `where` as it is asked for: text, unless its expression has another type."""
    if isinstance(value, str | date):
        return value
    if isinstance(value, list | dict):
        text = f"{kind_of(value)} cannot be looked up"
        raise reject("bad-value", text, detail=f"{place}: {field} <- {text}")
    return value if bare else text_of(value)


# -- from the configuration


def lookup_extra(found: list[Lookup] | None = None) -> dict[str, Extra]:
    """Return what makes `compile_expression` know `lookup`; every one that it compiles is added to `found`."""

    def build(spec: Mapping[str, Any]) -> Expression:
        lookup = compile_lookup(spec)
        if found is not None:
            found.append(lookup)
        parts = tuple(part for _, expression, _ in lookup.where for part in expression.parts)
        return Expression(lookup.evaluate, lookup.place, parts)

    return {"lookup": Extra(build, _KEYS)}


def compile_lookup(spec: Mapping[str, Any]) -> Lookup:
    """Given the full form, return the lookup. Raise ValueError that says what is wrong."""
    sobject = soql.object_name(spec["lookup"])
    where = spec.get("where")
    if not isinstance(where, Mapping) or not where:
        raise ValueError('lookup needs "where", such as {"Email": "contact.email"}')
    conditions = tuple(_condition(name, each) for name, each in where.items())
    ambiguous = _word(spec, "ambiguous", ("skip", "reject", "first"))
    # "first" of an unordered answer would be another one each time.
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


# -- asking


@dataclass(frozen=True, slots=True)
class _Known:
    at: float  # monotonic
    #: NOT_FOUND, a Failure, or a tuple of the field's values, of which two are as many as are needed.
    found: Any


class Lookups:
    """Answers, remembered for as long as each lookup says. Used by one thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, size: int = 10_000) -> None:
        self._clock = clock
        self._size = size
        self._known: dict[tuple[Search, str, tuple[Any, ...]], _Known] = {}

    def fetch(self, client: Queries, wanted: Iterable[tuple[Lookup, Key]]) -> None:
        """Ask for what is not known yet, so that `answer` knows it.

        Raise Failed when Salesforce does not answer, or refuses a query whatever its values are (configuration).
        """
        now = self._clock()
        asked: dict[Search, dict[tuple[Any, ...], Key]] = {}
        fields: dict[Search, dict[str, None]] = {}
        needed = set()
        for lookup, key in wanted:
            needed.add((lookup.search, lookup.field, key.normal))
            if not self._is_fresh(lookup, key, now):
                asked.setdefault(lookup.search, {})[key.normal] = key
                fields.setdefault(lookup.search, {})[lookup.field] = None
        self._make_room(sum(len(keys) * len(fields[search]) for search, keys in asked.items()), needed)
        for search, keys in asked.items():
            question = Question(client, search, tuple(fields[search]))
            for chunk in chunks(list(keys.values())):
                self._learn(search, tuple(fields[search]), question.ask(chunk))

    def _is_fresh(self, lookup: Lookup, key: Key, now: float) -> bool:
        known = self._known.get((lookup.search, lookup.field, key.normal))
        return known is not None and now - known.at < lookup.seconds(known.found)

    def _learn(self, search: Search, fields: Sequence[str], answers: Iterable[tuple[Key, Any]]) -> None:
        now = self._clock()
        for key, rows in answers:
            for field in fields:
                found = rows if isinstance(rows, Failure) else _values(rows, field)
                self._known.pop((search, field, key.normal), None)  # what is learnt last is forgotten last
                self._known[search, field, key.normal] = _Known(now, found)

    def _make_room(self, count: int, needed: set[tuple[Search, str, tuple[Any, ...]]]) -> None:
        """Forget the oldest answers, though none that is about to be asked for."""
        excess = len(self._known) + count - self._size
        if excess > 0:
            for name in [name for name in self._known if name not in needed][:excess]:
                del self._known[name]

    def answer(self, lookup: Lookup, key: Key) -> Answer:
        """Return what the last `fetch` that had it among `wanted` has learnt."""
        found = self._known[lookup.search, lookup.field, key.normal].found
        if not isinstance(found, tuple):
            return found
        return found[0] if len(found) == 1 or lookup.ambiguous == "first" else AMBIGUOUS

    def forget(self, used: Iterable[tuple[Lookup, Key]]) -> None:
        """Forget what these were answered, so that it is asked for again."""
        for lookup, key in used:
            self._known.pop((lookup.search, lookup.field, key.normal), None)


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

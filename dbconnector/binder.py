"""What makes a row of values fit to be bound: each in the form that the database itself parses exactly. Pure.

Drivers alter values without an error, each its own (see dialects/), so the form depends on the dialect and on the class
of the column. A value that has no such form is rejected.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from connectorlib.errors import Failed, reject
from dbconnector.columns import UNKNOWN, ColumnType
from dbconnector.dialects.base import Dialect
from dbconnector.dialects.conversions import Bindings, ColumnConvert, Convert, SizedText, plain_text, refuse

#: Combinations of types remembered for one statement.
PLANS = 1000
#: Set between the texts of a row that are searched together.
_BETWEEN = "\1"
_BLANK_END = f" {_BETWEEN}"

_Converts = tuple[tuple[int, Convert], ...]
_Plan = tuple[Callable[[Sequence[Any]], tuple[str, ...]] | None, _Converts, _Converts]


class RowBinder:
    """Makes rows of values fit to be bound for the parameters of one statement."""

    def __init__(self, dialect: Dialect, columns: Sequence[ColumnType], names: Sequence[str], place: str) -> None:
        self._dialect = dialect
        self._names = names
        self._place = place
        self._tables = [_Table(dialect.bindings(column)) for column in columns]
        self._plans: dict[tuple[type, ...], _Plan] = {}

    def __call__(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return one row, bound. Raise Failed (reject, `bad-value`), `by_target` if a column of another type could take
        the value. The conversions are worked out once for each combination of types."""
        types = tuple(map(type, values))
        plan = self._plans.get(types)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[types] = _plan(self._tables, types)
        texts, sized, converts = plan
        try:
            if texts is not None:
                joined = _BETWEEN.join(texts(values)) + _BETWEEN
                if "\0" in joined:
                    raise ValueError("a NUL character")
                if sized and _BLANK_END in joined:
                    for at, convert in sized:
                        convert(values[at])
            if not converts:
                return tuple(values)
            row = list(values)
            for at, convert in converts:
                row[at] = convert(row[at])
        except (ValueError, OverflowError) as error:
            raise _bad_value(self._dialect, self._tables, self._names, values, self._place, error) from None
        return tuple(row)

    def together(self, columns: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]] | None:
        """Given the values of many rows column by column, return the rows, bound; None if a value cannot be bound."""
        try:
            return list(zip(*map(_converted, self._tables, columns), strict=True))
        except (ValueError, OverflowError):
            return None


def make_binder(dialect: Dialect, columns: Sequence[ColumnType], names: Sequence[str], place: str = "") -> RowBinder:
    """Return what makes rows of values fit to be bound for these columns."""
    return RowBinder(dialect, columns, names, place)


def _converted(table: "_Table", values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of one column, bound. Raise ValueError or OverflowError for one that cannot be."""
    kinds = set(map(type, values))
    if len(kinds) > 1:
        return [value if (convert := table[type(value)]) is None else convert(value) for value in values]
    convert = table[kinds.pop()] if kinds else None
    if convert is None:
        return values
    if _is_searched_together(convert):
        joined = _BETWEEN.join(values) + _BETWEEN
        if "\0" not in joined and (convert is plain_text or _BLANK_END not in joined):
            return values
    return convert.column(values) if isinstance(convert, ColumnConvert) else [*map(convert, values)]


def _is_searched_together(convert: Convert | None) -> bool:
    """Return whether all that can be wrong with a text is found by a search in many of them at once."""
    return convert is plain_text or (isinstance(convert, SizedText) and convert.blanks)


def _plan(tables: Sequence["_Table"], types: Sequence[type]) -> "_Plan":
    """Given the types of a row, return what fetches its plain texts, to be searched in one go, the checks of those that
    end in a blank, and the conversions that remain, with their positions."""
    found = [table[kind] for table, kind in zip(tables, types, strict=True)]
    plain = [_is_searched_together(convert) for convert in found]
    texts = [at for at, each in enumerate(plain) if each]
    sized = tuple((at, convert) for at, convert in enumerate(found) if plain[at] and isinstance(convert, SizedText))
    converts = tuple((at, convert) for at, convert in enumerate(found) if convert is not None and not plain[at])
    # Twice the same position if there is one only: itemgetter then still returns a tuple.
    getter = itemgetter(*texts, *texts[:1]) if texts else None
    return getter, sized, converts


def _bad_value(
    dialect: Dialect,
    tables: Sequence["_Table"],
    names: Sequence[str],
    values: Sequence[Any],
    place: str,
    error: Exception,
) -> Failed:
    """Convert the row once more, value by value, to name the one that failed."""
    for name, table, value in zip(names, tables, values, strict=False):
        if reason := table.refusal(value):
            # Without a place the caller knows better which parameter that is and what it was made from.
            detail = place and f"{place}.values.{name}: {reason}"
            return reject("bad-value", reason, place=place, detail=detail, by_target=_is_free(dialect, value))
    return reject("bad-value", str(error), place=place)


def _is_free(dialect: Dialect, value: Any) -> bool:
    """Return whether a value could be bound if nothing were known of its column, and of what the driver alters."""
    return not _Table(replace(dialect, checks=()).bindings(UNKNOWN)).refusal(value)


class _Table(Bindings):
    """Type to conversion. A subclass is bound as its base; it is looked up once and remembered."""

    def __missing__(self, kind: type) -> Convert | None:
        found = next((self[base] for base in kind.__mro__[1:-1] if base in self), refuse)
        self[kind] = found
        return found

    def refusal(self, value: Any) -> str:
        """Return why a value cannot be bound, "" if it can."""
        try:
            convert = self[type(value)]
            if convert is not None:
                convert(value)
        except (ValueError, OverflowError) as error:
            return str(error)
        return ""

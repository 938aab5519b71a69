"""What makes a row of values fit to be bound: each in the form that the database itself parses exactly. Pure.

Drivers alter values without an error, each its own (see dialects/), so the form depends on the dialect and on the class
of the column. A value that has no such form is rejected.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from connectorlib.errors import Failed, reject
from dbconnector.columns import UNKNOWN, ColumnType
from dbconnector.dialects.base import Dialect
from dbconnector.dialects.conversions import Bindings, Convert, SizedText, plain_text, refuse

#: Combinations of types remembered for one statement.
PLANS = 1000
#: Set between the texts of a row that are searched together.
_BETWEEN = "\1"
_BLANK_END = f" {_BETWEEN}"

_Converts = tuple[tuple[int, Convert], ...]
_Plan = tuple[Callable[[Sequence[Any]], tuple[str, ...]] | None, _Converts, _Converts]


def make_binder(
    dialect: Dialect, columns: Sequence[ColumnType], names: Sequence[str], place: str = ""
) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return the function that makes one row of values fit to be bound; it raises Failed (reject, `bad-value`),
    `by_target` if a column of another type could take the value.

    It runs for every row, so the conversions are worked out once for each combination of types.
    """
    tables = [_Table(dialect.bindings(column)) for column in columns]
    plans: dict[tuple[type, ...], _Plan] = {}

    def bind(values: Sequence[Any]) -> tuple[Any, ...]:
        types = tuple(map(type, values))
        plan = plans.get(types)
        if plan is None:
            if len(plans) >= PLANS:
                plans.clear()
            plan = plans[types] = _plan(tables, types)
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
            raise _bad_value(dialect, tables, names, values, place, error) from None
        return tuple(row)

    return bind


def _plan(tables: Sequence["_Table"], types: Sequence[type]) -> "_Plan":
    """Given the types of a row, return what fetches its plain texts, to be searched in one go, the checks of those that
    end in a blank, and the conversions that remain, with their positions."""
    found = [table[kind] for table, kind in zip(tables, types, strict=True)]
    plain = [convert is plain_text or (isinstance(convert, SizedText) and convert.blanks) for convert in found]
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

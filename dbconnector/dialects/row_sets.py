"""How a statement for the row with one key is run for a set of rows at once (`KeyedChange`). Pure.

The rows of a set have different keys, so none of them touches the row of another. What is left is that a changed row
might matter to another one; what the catalogue says of the table (`Independence`) excludes that, or the statement runs
row by row as before. Rows that repeat a key go into one set after the other, in their order.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from connectorlib.dataclass import dataclass
from dbconnector.bisect import chunks, runs
from dbconnector.sql.keyed_change import KeyedChange

Row = Sequence[Any]
#: Given values of a key, returns others that are equal if the database takes those for equal. Raises ValueError for a
#: value of which that is not known.
KeyOf = Callable[[Any], Hashable]
#: A statement for a set of rows, and its parameters.
SetStatement = tuple[str, Sequence[Any]]
#: Characters of a parameter that has a value of each row: at most 16 MB, MariaDB's own limit unless it is set higher.
LONGEST = 4_000_000
#: The name of the rows in a statement.
SOURCE = "connector_rows"


class Independence(NamedTuple):
    """What the catalogue says of a table, by which its rows could depend on each other. Names are in lower case."""

    #: Whether it is a plain table: no view, no triggers or rules, no inheritance.
    plain: bool = False
    #: Whether a row that is deleted can matter to another one: foreign keys that cascade, or lead to the same table.
    cascades: bool = False
    #: Whether what is unique is not told by columns alone: expressions, parts of the table, exclusion.
    unclear: bool = False
    #: Whether the order of the rows matters, though not to them: there are triggers, or could be.
    ordered: bool = False
    #: The columns of each unique key.
    keys: tuple[frozenset[str], ...] = ()
    #: The columns that the database changes by itself with any other column of the row.
    computed: frozenset[str] = frozenset()
    #: The collation of each column of text, where it matters.
    collations: Mapping[str, str] = MappingProxyType({})

    def allows(self, change: KeyedChange) -> bool:
        """Return whether a change of one row makes no difference to the change of another."""
        if not self.plain or (self.cascades or self.ordered if change.deletes else self.unclear):
            return False
        changed = change.changed | self.computed if change.changed else change.changed
        return not any(changed & key for key in (*self.keys, {column for _, column in change.keys}))

    def has_one_row(self, change: KeyedChange) -> bool:
        """Return whether a key of this change is at most one row's."""
        compared = {column for _, column in change.keys}
        return any(key <= compared for key in self.keys)


def independence(answer: Iterable[Sequence[Any]]) -> Independence:
    """Given the rows of a `rows_query` (what, and columns with a line break between), return what they say."""
    found: dict[str, list[str]] = {}
    for what, columns in answer:
        found.setdefault(str(what), []).append(str(columns or ""))
    keys = tuple(frozenset(columns.lower().split("\n")) for columns in found.get("key", ()))
    collations = {
        column.lower(): what.partition(" ")[2]
        for what, columns in found.items()
        if what.startswith("collation ")
        for column in columns
    }
    flags = {what: what in found for what in ("plain", "cascades", "unclear", "ordered")}
    computed = frozenset(column.lower() for column in found.get("computed", ()))
    return Independence(**flags, keys=keys, computed=computed, collations=collations)


@dataclass(frozen=True, slots=True)
class RowSet:
    """How one statement is run for many rows on one connection."""

    #: Returns the statement for rows of different keys; None if these values could mean something else in a set.
    statement: Callable[[Sequence[Row]], SetStatement | None]
    #: Position of each parameter of the key, and what tells its values apart.
    keys: tuple[tuple[int, KeyOf], ...]
    #: Whether each row changes at most one.
    one_row: bool
    #: The statement for no row at all, which shows whether the server and its rights allow it; None: they do.
    trial: SetStatement | None = None
    #: The most rows of a statement, and whether its text depends on how many there are.
    most: int = 10_000
    sized: bool = False
    #: Whether all rows stay in their order, and not only those of one key.
    ordered: bool = False

    def executions(self, alone: str, rows: Sequence[Row], most: int) -> Iterator[tuple[str, Sequence[Any], int]]:
        """Yield the statements that together are run for all rows, at most so many at once, with their parameters and
        the number of their rows. `alone`: the statement for one row."""
        try:
            layers = self.layers(rows)
        except ValueError:
            yield from ((alone, row, 1) for row in rows)
            return
        for layer in layers:
            for chunk in self._chunks(layer, min(most, self.most)):
                yield from self._together(alone, chunk)

    def _together(self, alone: str, rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Any], int]]:
        found = self.statement(rows) if len(rows) > 1 else None
        if found is None:
            yield from ((alone, row, 1) for row in rows)
        elif any(isinstance(each, str) and len(each) > LONGEST for each in found[1]):
            half = len(rows) // 2
            yield from self._together(alone, rows[:half])
            yield from self._together(alone, rows[half:])
        else:
            yield *found, len(rows)

    def _chunks(self, rows: Sequence[Row], most: int) -> Iterator[Sequence[Row]]:
        if self.sized:
            return chunks(rows, most)
        return (rows[start : start + most] for start in range(0, len(rows), most))

    def layers(self, rows: Sequence[Row]) -> Sequence[Sequence[Row]]:
        """Return sets of rows of different keys that together are all rows, those of one key in their order. Raise
        ValueError if a key could be equal to another one though it looks different."""
        found = [*zip(*([key_of(row[at]) for row in rows] for at, key_of in self.keys), strict=True)]
        if len(set(found)) == len(rows):
            return [rows]
        if self.ordered:
            return [*runs(rows, found)]
        layers: list[list[Row]] = []
        seen: Counter[Hashable] = Counter()
        for row, key in zip(rows, found, strict=True):
            if seen[key] == len(layers):
                layers.append([])
            layers[seen[key]].append(row)
            seen[key] += 1
        return layers


def parameter(at: int) -> str:
    """Return what stands in a statement for a set of rows instead of a parameter."""
    return f"{SOURCE}.p{at}"


# --- what tells the values of a key apart ---------------------------------------------------------------------------


def of_any(key_of: KeyOf) -> KeyOf:
    """Return what tells values apart of which NULL equals none."""
    return lambda value: object() if value is None else key_of(value)


def whole_number(value: Any) -> Hashable:
    """A text that is no number is refused by the database, whatever it is together with."""
    try:
        return int(value)
    except (ValueError, TypeError):
        return str(value)

"""The rows of a query, in batches and in bounded memory: streamed, paged by a unique key, only the first page, or those
of an interval."""

import logging
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time
from itertools import pairwise
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service import logs
from connectorlib.values.text import quoted
from dbconnector.columns import UNKNOWN, Column, ColumnType, plain_name
from dbconnector.dialects.fetch_plan import ResultColumn, to_datetime
from dbconnector.odbc.database import Database
from dbconnector.settings import Select
from dbconnector.sql import compile_statement, holds_nothing, limit_rows, only_reads, page_by_key, page_interval
from dbconnector.wall_clock import WallClock
from dbconnector.watermark import Horizon, Interval, Position, moment_of, number_of

logger = logging.getLogger(__name__)

PLACE = "select.query"
KEY = "select.key"
#: Bytes or characters of the rows of a page that grows.
PAGE_BYTES = 4 * 1024 * 1024
Columns = tuple[str, ...]
Row = tuple[Any, ...]
Batch = tuple[Columns, list[Row]]


class _Query:
    """A query and the values of its parameters. Raise Failed if one of them is not given."""

    def __init__(self, text: str, database: Database, values: Mapping[str, Any]) -> None:
        self._statement = compile_statement(text)
        self._database = database
        self._bind = database.binder(self._statement, place=PLACE)
        missing = [name for name in dict.fromkeys(self._statement.names) if name not in values]
        if missing:
            names = ", ".join(f":{name}" for name in missing)
            text = f"no value for {names}: give it in params, or with --param {missing[0]}=VALUE"
            raise Failed(Failure(Kind.CONFIGURATION, "missing-param", text, PLACE))
        self._values = values

    def columns(self) -> list[ResultColumn]:
        return self._database.result_columns(self._statement.sql, self._parameters(), place=PLACE)

    def kind(self, column: ResultColumn) -> ColumnType:
        return self._database.kind_of(self._statement.sql, column)

    @property
    def has_parameters(self) -> bool:
        return bool(self._statement.names)

    def batches(self, fetch: int, **more: Any) -> Generator[Batch, None, None]:
        yield from self._database.query(self._statement.sql, self._parameters(**more), fetch=fetch, place=PLACE)

    def _parameters(self, **more: Any) -> tuple[Any, ...]:
        values = {**self._values, **more}
        return self._bind([values[name] for name in self._statement.names])


class RowSource:
    """The query of one run, on a connected database. Raise ValueError if it is no SQL, or changes rows."""

    def __init__(self, settings: Select, database: Database, values: Mapping[str, Any]) -> None:
        _demand_reading(settings.query)
        self._settings = settings
        self._database = database
        self._values = values
        self._all = self._query(settings.query)
        #: Rows of the next page, and the query for it.
        self._size = settings.fetch
        self._page = self._query(self._limited())
        #: Whether the rows of a page may be marked one after the other: the query claims none of them.
        self.holds_nothing = holds_nothing(settings.query)
        #: Whether a page is being read; until it is, no other statement may be run.
        self.reading = False

    def page(self) -> Generator[Batch, None, None]:
        """Yield the first rows of the query: at most `fetch`, and of small rows more from page to page, up to
        `fetch_small`, unless the query claims them. A page that has grown comes `fetch` rows at a time as long as they
        are small. With the last of them no cursor is open, and no transaction if the query holds nothing in it.
        """
        columns: Columns = ()
        rest: list[Row] = []
        read = taken = 0
        self.reading = True
        try:
            with closing(self._page.batches(self._settings.fetch)) as batches:
                for columns, rows in batches:
                    read += len(rows)
                    taken += size_of(rows)
                    rest += rows
                    if read >= self._size:
                        break
                    if len(rows) == self._settings.fetch and taken <= PAGE_BYTES:
                        yield columns, rest
                        rest = []
        finally:
            self.reading = False
            if self.holds_nothing:
                self._database.rollback()
        if self.holds_nothing and read >= self._size:
            self._resize(taken)
        if rest:
            yield columns, rest

    def _resize(self, taken: int) -> None:
        """Choose how many rows the page after a full one has, given the size of its rows."""
        size = next_page(self._size, taken, least=self._settings.fetch, most=self._settings.fetch_small)
        if size != self._size:
            self._size = size
            self._page = self._query(self._limited())

    def _limited(self) -> str:
        query = self._settings.query
        return limit_rows(query, self._size) if self._database.dialect.has_limit else query

    def all(self) -> Generator[Batch, None, None]:
        """Return all rows, `fetch` at a time, in bounded memory if the driver can stream them or there is a key."""
        driver = self._database.driver
        if driver.streams_query(parameters=self._all.has_parameters):
            return self._all.batches(self._settings.fetch)
        if self._settings.key:
            return self._by_key(self._settings.key)
        text = "this driver reads the whole result into memory; give select.key to read it page by page"
        logs.event(logger, logging.WARNING, "not streamed", driver=driver.name, text=text)
        return self._all.batches(self._settings.fetch)

    def _query(self, text: str, **more: Any) -> _Query:
        return _Query(text, self._database, {**self._values, **more})

    def _by_key(self, key: Sequence[str]) -> Generator[Batch, None, None]:
        # One more than `fetch`: every page but the first begins with the last row of the page before it.
        size = self._settings.fetch + 1
        paging = page_by_key(self._settings.query, key, rows=size, words=self._database.dialect.paging)
        page = _joined(self._query(paging.first).batches(size))
        following = self._query(paging.following, **dict.fromkeys(paging.parameters))
        last: Row | None = None
        while page is not None:
            columns, rows = page
            keys = _keys(columns, rows, key)
            if last is not None and keys[0] != last:
                raise _key_failure(f"{_named(key)}: the last row of the previous page was not found again: {_INEXACT}")
            _refuse_repeated(key, keys)
            fresh = rows if last is None else rows[1:]
            if fresh:
                yield columns, fresh
            if len(rows) < size:
                return
            last = keys[-1]
            page = _joined(following.batches(size, **self._database.as_stored(paging.parameters, last)))


class IntervalSource:
    """The rows of a followed query with a column in an interval, in the order of that column and the key. Raise
    ValueError if it is no SQL, or changes rows."""

    def __init__(self, settings: Select, database: Database, values: Mapping[str, Any]) -> None:
        assert settings.follow is not None
        self._follow = settings.follow
        _demand_reading(settings.query)
        self._settings = settings
        self._database = database
        self._values = values
        self._order = (self._follow.column, *self._follow.key)
        query = _Query(settings.query, database, values)
        columns = query.columns()
        found = next((each for each in columns if each.name.lower() == plain_name(self._order[0]).lower()), None)
        if found is None:
            raise _key_failure(
                f"{self._order[0]} is no column of the query; they are {', '.join(each.name for each in columns)}",
                "select.follow.column",
            )
        dialect = database.dialect
        #: The digits of a second that the column keeps.
        self.digits = found.second_digits or 0
        numbered = found.second_digits is None and dialect.number_horizon is not None
        self._question = dialect.number_horizon if numbered and dialect.number_horizon else dialect.horizon
        if not numbered or found.type in (date, time):
            _demand_moments(found, texts=bool(self._question.texts))
        #: The clock whose times the column holds; None: it holds instants.
        self._clock = None if found.second_digits is None else _clock_of(database.clock, query.kind(found), found.name)
        self._position = number_of if numbered else moment_of
        self._queries: dict[bool, tuple[_Query, _Query, tuple[str, ...]]] = {}

    def horizon(self) -> Horizon:
        """Ask how far the table is complete, outside a transaction, and leave none open. Raise Failed."""
        horizon = self._question.ask(self._database, self._follow.ignore)
        if self._database.connected:
            self._database.commit()
        self._database.connect()
        return horizon

    def pages(self, interval: Interval) -> Generator[Batch, None, None]:
        """Yield the rows, at most `fetch` at a time, each page outside a transaction."""
        size = self._settings.fetch
        query, following, names = self._queries_for(interval)
        bounds = {f"follow_{name}": self._bound(getattr(interval, name)) for name in ("low", "high")}
        page = _joined(query.batches(size, **bounds))
        while page is not None:
            self._database.rollback()
            columns, rows = page
            keys = self.keys(columns, rows)
            _refuse_repeated(self._order, keys)
            yield columns, rows
            if len(rows) < size:
                return
            page = _joined(following.batches(size, **bounds, **self._database.as_stored(names, keys[-1])))
        self._database.rollback()

    def keys(self, columns: Columns, rows: Sequence[Row]) -> list[Row]:
        """Return the column and the key of each row."""
        return _keys(columns, rows, self._order)

    def position(self, key: Row) -> Position:
        if self._question.texts:
            self._demand_text(key)
        moment = to_datetime(key[0]) if isinstance(key[0], str) else key[0]
        if self._clock is not None and isinstance(moment, datetime) and moment.tzinfo is None:
            return self._clock.latest(moment)
        return self._position(key[0])

    def _demand_text(self, key: Row) -> None:
        """Raise Failed for a value that does not sort like its moment: such a row would be read too late or never."""
        if not (isinstance(key[0], str) and re.fullmatch(self._question.texts, key[0])):
            row = ", ".join(f"{name} {quoted(value)}" for name, value in zip(self._order[1:], key[1:], strict=True))
            text = f"{self._order[0]} is {quoted(key[0])} in the row with {row}, {_EXPECTED} as YYYY-MM-DD HH:MM:SS"
            raise _key_failure(text, "select.follow.column")

    def _queries_for(self, interval: Interval) -> tuple[_Query, _Query, tuple[str, ...]]:
        """Return the query of the first page, of the others, and the parameters of these for the last key."""
        from_start = interval.low is None
        if from_start not in self._queries:
            low, high = (self._question.bound.format(f":follow_{name}") for name in ("low", "high"))
            rows, words = self._settings.fetch, self._database.dialect.paging
            low = "" if from_start else low
            paging = page_interval(self._settings.query, self._order, low=low, high=high, rows=rows, words=words)
            names = ("follow_low", "follow_high", *paging.parameters)
            values = {**self._values, **dict.fromkeys(names)}
            first, following = (_Query(each, self._database, values) for each in (paging.first, paging.following))
            self._queries[from_start] = (first, following, paging.parameters)
        return self._queries[from_start]

    def _bound(self, position: Position | None) -> Any:
        if isinstance(position, datetime) and self._clock is not None:
            return str(self._clock.lowest(position))
        if isinstance(position, datetime):
            return position.replace(tzinfo=UTC) if self._question.zoned else position
        return None if position is None else str(position)


_EXPECTED = "expected a date with the time of day"


def _demand_moments(column: ResultColumn, *, texts: bool) -> None:
    """Raise Failed for a column of a type that holds no moments: its rows would be read too late or never. `texts`: one
    of dates, or of times, may hold any text."""
    if not (column.may_hold_moments or (texts and column.type in (date, time))):
        text = f"{column.name} holds no moments: {_EXPECTED}, a datetime or timestamp"
        raise _key_failure(text, "select.follow.column")


def _clock_of(clock: WallClock | None, kind: ColumnType, name: str) -> WallClock | None:
    """Return the clock whose times a followed column holds; None if it holds instants. Raise Failed if that cannot be
    told."""
    if clock is not None and kind is UNKNOWN:
        text = f"whether {name} has a time zone cannot be told: call it in the query as it is called in the table"
        raise Failed(Failure(Kind.CONFIGURATION, "zone", text, "select.follow.column"))
    return clock if kind.kind is Column.TIMESTAMP and not kind.utc else None


def size_of(rows: Sequence[Row]) -> int:
    """Return how many bytes or characters the texts of rows have."""
    return sum(sum(map(len, column)) for column in map(_texts, zip(*rows, strict=True)))


def _texts(column: Sequence[Any]) -> Sequence[str | bytes]:
    kinds = {*map(type, column)}
    texts = {kind for kind in kinds if issubclass(kind, str | bytes)}
    if texts == kinds:
        return column
    return [value for value in column if isinstance(value, str | bytes)] if texts else ()


def next_page(size: int, taken: int, *, least: int, most: int | None) -> int:
    """Given how many rows a full page has and their size, return how many the next one has: twice as many while those
    of a page are small together, and half as many when they are not. `most` None: as many as before."""
    if most is None:
        return size
    if taken > PAGE_BYTES:
        return max(least, size // 2)
    return min(most, 2 * size) if 2 * taken <= PAGE_BYTES else size


def _demand_reading(query: str) -> None:
    if not only_reads(query):
        raise ValueError("query changes rows: it may only read them, on_sent changes them")


def _joined(batches: Iterable[Batch]) -> Batch | None:
    """Return all batches as one, or None if there are none."""
    found = list(batches)
    return (found[0][0], [row for _, rows in found for row in rows]) if found else None


_INEXACT = "it was deleted meanwhile, or the driver cannot carry the key's value exactly"


def _keys(columns: Columns, rows: Sequence[Row], key: Sequence[str]) -> list[Row]:
    """Return the key of each row. Raise Failed if a column of it is missing, or null in a row."""
    names = [column.lower() for column in columns]
    wanted = [plain_name(name).lower() for name in key]
    if missing := [name for name, plain in zip(key, wanted, strict=True) if plain not in names]:
        raise _key_failure(f"{_named(missing)} is no column of the query; they are {', '.join(columns)}")
    positions = [names.index(name) for name in wanted]
    keys = [tuple(row[at] for at in positions) for row in rows]
    if any(None in each for each in keys):
        raise _key_failure(f"{_named(key)} is null in a row: rows without a key cannot be paged")
    return keys


def _refuse_repeated(key: Sequence[str], keys: Sequence[Row]) -> None:
    if any(one == other for one, other in pairwise(keys)):
        raise _key_failure(f"{_named(key)} is not unique: rows with the same key could be lost between two pages")


def _named(key: Sequence[str]) -> str:
    return ", ".join(key)


def _key_failure(text: str, place: str = KEY) -> Failed:
    return Failed(Failure(Kind.CONFIGURATION, "key", text, place))

"""Reads the rows of a query in batches, whatever its size: streamed, by unique key, or one page of it."""

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service import logs
from dbconnector.odbc.database import Database
from dbconnector.settings import Select
from dbconnector.sql import compile_statement, limit_rows, only_reads, page_by_key

logger = logging.getLogger(__name__)

PLACE = "select.query"
KEY = "select.key"
Columns = tuple[str, ...]
Row = tuple[Any, ...]
Batch = tuple[Columns, list[Row]]


class _Query:
    """One text with its values. Raise Failed if one is not given."""

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

    @property
    def has_parameters(self) -> bool:
        return bool(self._statement.names)

    def batches(self, fetch: int, **more: Any) -> Generator[Batch, None, None]:
        values = {**self._values, **more}
        parameters = self._bind([values[name] for name in self._statement.names])
        yield from self._database.query(self._statement.sql, parameters, fetch=fetch, place=PLACE)


class Reader:
    """The query of one run. Raise ValueError if it cannot be read, or changes rows."""

    def __init__(self, settings: Select, database: Database, values: Mapping[str, Any]) -> None:
        if not only_reads(settings.query):
            raise ValueError("query changes rows: it may only read them, on_sent changes them")
        self._settings = settings
        self._database = database
        self._values = values
        self._all = self._query(settings.query)
        limited = limit_rows(settings.query, settings.fetch) if database.dialect.has_limit else settings.query
        self._page = self._query(limited)

    def page(self) -> Batch | None:
        """Run the query and return its first rows, at most `fetch`, the cursor closed; None if there are none."""
        with closing(self._page.batches(self._settings.fetch)) as batches:
            return next(batches, None)

    def all(self) -> Generator[Batch, None, None]:
        """Give all rows of the query, `fetch` at a time, in bounded memory if the driver or a key allows it."""
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
        # One more than fetch: a later page begins with a row that is known already.
        size = self._settings.fetch + 1
        paging = page_by_key(self._settings.query, key, rows=size, words=self._database.dialect.paging)
        found = _whole(self._query(paging.first).batches(size))
        following = self._query(paging.following, **dict.fromkeys(paging.parameters))
        last: Row | None = None
        while found is not None:
            columns, rows = found
            keys = _keys(columns, rows, key)
            if last is not None and keys[0] != last:
                raise _key_failure(f"{_named(key)}: the last row of the page before did not come again: {_INEXACT}")
            _refuse_repeated(key, keys)
            fresh = rows if last is None else rows[1:]
            if fresh:
                yield columns, fresh
            if len(rows) < size:
                return
            last = keys[-1]
            found = _whole(following.batches(size, **dict(zip(paging.parameters, last, strict=True))))


def _whole(batches: Iterable[Batch]) -> Batch | None:
    found = list(batches)
    return (found[0][0], [row for _, rows in found for row in rows]) if found else None


_INEXACT = "it was deleted meanwhile, or the driver cannot carry the key's value exactly"


def _keys(columns: Columns, rows: Sequence[Row], key: Sequence[str]) -> list[Row]:
    names = [column.lower() for column in columns]
    wanted = [name.strip('"`[]').lower() for name in key]
    if missing := [name for name, plain in zip(key, wanted, strict=True) if plain not in names]:
        raise _key_failure(f"{_named(missing)} is no column of the query; they are {', '.join(columns)}")
    places = [names.index(name) for name in wanted]
    keys = [tuple(row[at] for at in places) for row in rows]
    if any(None in found for found in keys):
        raise _key_failure(f"{_named(key)} is null in a row: rows without a key cannot be paged")
    return keys


def _refuse_repeated(key: Sequence[str], keys: Sequence[Row]) -> None:
    if any(one == other for one, other in pairwise(keys)):
        raise _key_failure(f"{_named(key)} is not unique: rows with the same key could be lost between two pages")


def _named(key: Sequence[str]) -> str:
    return ", ".join(key)


def _key_failure(text: str) -> Failed:
    return Failed(Failure(Kind.CONFIGURATION, "key", text, KEY))

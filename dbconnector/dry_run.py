"""`select --dry-run`: the messages of the first rows, with nothing published, marked or remembered, and no broker.

Rows are read in a transaction that is rolled back. Of a followed table it says how far it has been read and may be
read; the lease is neither taken nor waited for.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.preflight.explanation import Explanation, as_text, indented_json, row_as_json
from dbconnector.cursor_table import STATE, CursorTable
from dbconnector.lease_table import LeaseTable, Standing
from dbconnector.odbc.connection_factory import missing_file
from dbconnector.odbc.database import Database
from dbconnector.row_explanation import RowExplainer
from dbconnector.row_sender import compiled
from dbconnector.row_source import IntervalSource, Row, RowSource
from dbconnector.settings import Cron, DatabaseSettings, DbConfig, Follow, Select
from dbconnector.watermark import Interval, Position, next_interval, version


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do now."""

    #: One for each row, or with `destination.rows` for several.
    rows: Sequence[Explanation]
    #: How many rows these are made of.
    count: int
    #: Of a followed table how far it has been read, and may be read: `follow`; of a shared schedule which time was
    #: handled last: `cron`.
    state: Mapping[str, Mapping[str, str]]

    def as_json(self) -> str:
        return indented_json({**self.state, "rows": [row_as_json(row) for row in self.rows]})

    def as_text(self, limit: int) -> str:
        texts = ["\n".join(f"{name}: {value}" for name, value in facts.items()) for facts in self.state.values()]
        texts += [as_text(row, None, str(number)) for number, row in enumerate(self.rows, 1)]
        if self.count == limit:
            ending = f"{limit} {'row' if limit == 1 else 'rows'} read; --limit reads more"
        else:
            ending = "these are all rows" if self.rows else "no row would be published"
        return "\n\n".join([*texts, f"{ending}. Nothing was published or marked."])


def dry_run(config: DbConfig, params: Mapping[str, Any], limit: int) -> DryRun:
    """Return what the first rows would become, at most `limit`. Raise Failed if the database cannot be read, and for a
    mistake of the configuration."""
    settings = config.database.select
    assert settings is not None  # required
    values = {**settings.params, **params}
    explainer = RowExplainer(config)
    if settings.follow is not None:
        return _followed(config, settings, settings.follow, values, limit, explainer)
    with _opened(config.database) as database:
        # No more rows are read, and locked by a query FOR UPDATE, than are shown.
        limited = replace(settings, fetch=limit)
        with closing(compiled(lambda: RowSource(limited, database, values)).page()) as pages:
            page = next(pages, None)
        database.rollback()
    state = _schedule_state(config, settings.cron) if settings.cron is not None and settings.cron.state else {}
    return DryRun([] if page is None else _explained(explainer, *page), 0 if page is None else len(page[1]), state)


def _schedule_state(config: DbConfig, cron: Cron) -> dict[str, Mapping[str, str]]:
    """Return what is kept of a shared schedule. The lease is neither taken nor waited for."""
    from dbconnector import shared_schedule  # late: few configurations need it

    assert cron.state is not None
    settings, standing = config.database.state, Standing()
    with closing(Database(settings)) as database:
        if not missing_file(database.dialect, database.keywords):
            table = LeaseTable(cron.state.table, config.name, "dry run", database, place=shared_schedule.STATE)
            standing = standing if table.missing() else table.standing()
    return {"cron": shared_schedule.facts(cron, standing, datetime.now(UTC))}


def _opened(settings: DatabaseSettings) -> closing[Database]:
    """Return a connection. Raise Failed; a database that is a file is not made by it. It is not one for reading: that
    might stream outside a transaction."""
    database = Database(settings)
    if missing := missing_file(database.dialect, database.keywords):
        text = f"{missing} does not exist: check database.connection"
        raise Failed(Failure(Kind.CONFIGURATION, "no-file", text, "database"))
    database.connect()
    return closing(database)


def _explained(explainer: RowExplainer, columns: Sequence[str], rows: Sequence[Row]) -> list[Explanation]:
    found = explainer.explain(columns, rows)
    for explanation in found:
        if explanation.rejection is not None and explanation.rejection.failure.kind is Kind.CONFIGURATION:
            raise Failed(explanation.rejection.failure)
    return found


# -- follow


def _followed(
    config: DbConfig, settings: Select, follow: Follow, values: Mapping[str, Any], limit: int, explainer: RowExplainer
) -> DryRun:
    with ExitStack() as stack:
        table = stack.enter_context(_opened(config.database))
        source = compiled(lambda: IntervalSource(replace(settings, fetch=limit), table, values))
        state, watermark, holder = _state(config, follow, table, stack)
        table.connect()
        horizon = source.horizon()
        interval = compiled(lambda: next_interval(follow, watermark, horizon, source.digits))
        position = {
            "watermark": "none yet" if watermark is None else str(watermark),
            "horizon": "unknown" if horizon.position is None else str(horizon.position),
        }
        position |= {"held by": horizon.held_by} if horizon.held_by else {}
        position |= {"lease": f"held by {holder}"} if holder else {}
        found: list[Explanation] = []
        count = 0
        if interval is not None:
            low = "" if interval.low is None else f"{interval.low} <= "
            position["reads"] = f"{low}{follow.column} < {interval.high}"
            for columns, rows in _new(source, state, watermark, interval):
                shown = rows[: limit - count]
                found += _explained(explainer, columns, shown)
                count += len(shown)
                if count >= limit:
                    break
        table.rollback()
    return DryRun(found, count, {"follow": position})


def _state(
    config: DbConfig, follow: Follow, table: Database, stack: ExitStack
) -> tuple[CursorTable | None, Position | None, str]:
    """Return the state, its watermark and who has the lease; no state where its tables are still to be made."""
    own = config.database.state
    if own is config.database:
        database = table
    else:
        database = Database(own)
        if missing_file(database.dialect, database.keywords):
            return None, None, ""
        stack.enter_context(closing(database))
    state = CursorTable(follow.state.table, config.name, "dry run", database, place=STATE)
    if state.missing() is not None:
        return None, None, ""
    standing = state.standing()
    return state, standing.watermark, standing.holder


def _new(
    source: IntervalSource, state: CursorTable | None, watermark: Position | None, interval: Interval
) -> Iterator[tuple[Sequence[str], Sequence[Row]]]:
    """Yield the rows that were not published yet, page by page."""
    with closing(source.pages(interval)) as pages:
        for columns, rows in pages:
            versions = [version(key, source.position(key)) for key in source.keys(columns, rows)]
            known = state.known(versions, watermark) if state is not None else set()
            new = [row for row, each in zip(rows, versions, strict=True) if each.digest not in known]
            if new:
                yield columns, new

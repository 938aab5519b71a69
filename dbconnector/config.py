"""The configuration file of dbconnector: all of its mistakes at once, or frozen settings.

Statements and expressions are compiled here only to find their mistakes; `parameters` compiles those that run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from connectorlib.config import bundle, notify_settings, read_schema, reviewed, sections
from connectorlib.shared_settings import Lanes
from connectorlib.values.durations import parse_duration
from connectorlib.values.types import find_zone
from dbconnector.rules import review
from dbconnector.settings import Connection, Cron, DatabaseSettings, DbConfig, Follow, Idempotency, Select, State, Write
from dbconnector.wall_clock import WallClock

FALLBACK_NAME = "dbconnector"
#: Seconds from one round of `follow` that found nothing to the next, where `every` is not given.
FOLLOW_EVERY_S = 1.0
#: How many times as many small rows a page has that is to be marked.
GROWTH = 8


@cache
def schema() -> dict[str, Any]:
    """Return the whole JSON Schema of db.config, which refers to no other."""
    return bundle(read_schema("dbconnector", "db.config.schema.json"))


def load(path: str | FilePath, *, resolve_secrets: bool | Collection[str] = True, text: str | None = None) -> DbConfig:
    """Given a db.config file, return its settings. Raise ConfigurationError with everything that is wrong in it.

    With `resolve_secrets=False` it is for a command that works offline: variables that are set and defaults are used,
    other references stay as written. It may also name the sections whose references are needed. `text`: what would be
    in the file, in whose folder relative paths begin.
    """
    document, warnings = reviewed(path, schema(), review, resolve_secrets=resolve_secrets, text=text)
    return _settings(str(path), document.data, document.folder, warnings)


def _settings(file: str, data: Mapping[str, Any], folder: FilePath, warnings: tuple[str, ...]) -> DbConfig:
    broker = data["broker"]
    batch = sections.batch_settings(data.get("batch", {}))
    lanes = Lanes(**data.get("lanes", {}))
    given = {"hold_seconds": float(data["hold_seconds"])} if "hold_seconds" in data else {}
    return DbConfig(
        file=file,
        name=_name(data),
        database=_database(data["database"], broker.get("destination", {}).get("rows")),
        broker=sections.broker_settings(broker, folder),
        source=sections.source_settings(broker["source"], batch, lanes) if "source" in broker else None,
        destination=sections.destination_settings(broker["destination"]) if "destination" in broker else None,
        format=data.get("format", {"type": "json"}),
        batch=batch,
        lanes=lanes,
        conditions=sections.conditions(data),
        limits=sections.limits(data.get("limits", {})),
        retry=sections.retry(data.get("retry", {})),
        idempotency=Idempotency(**data["idempotency"]) if "idempotency" in data else None,
        logging=sections.logging_settings(data.get("logging", {}), folder),
        monitoring=sections.monitoring(data.get("monitoring")),
        journal=sections.journal(data.get("journal")),
        notify=notify_settings(data.get("notify"), folder),
        tracing=sections.tracing(data.get("tracing")),
        warnings=warnings,
        **given,
    )


def _name(data: Mapping[str, Any]) -> str:
    """Return the name; without one the source queue, for a reader the destination."""
    broker = data["broker"]
    queue = broker.get("source", {}).get("queue")
    exchange = broker.get("destination", {}).get("exchange")
    return str(data.get("name") or queue or exchange or FALLBACK_NAME)


def _database(section: Mapping[str, Any], rows: int | str | None) -> DatabaseSettings:
    """Return the settings; `rows` is `destination.rows`."""
    on_connect = section.get("on_connect", ())
    return DatabaseSettings(
        connection=_connection(section["connection"]),
        on_connect=(on_connect,) if isinstance(on_connect, str) else tuple(on_connect),
        errors=section.get("errors", {}),
        select=_select(section["select"], rows) if "select" in section else None,
        write=tuple(
            Write(**{**each, "statement": sections.lines_of(each["statement"])}) for each in section.get("write", ())
        ),
        clock=WallClock(find_zone(section["zone"]), _FOLDS[section.get("fold", "first")])
        if "zone" in section
        else None,
    )


_FOLDS = {"first": 0, "second": 1}


def _connection(section: str | Mapping[str, Any]) -> Connection:
    return section if isinstance(section, str) else {key: str(each) for key, each in section.items()}


def _select(section: Mapping[str, Any], rows: int | str | None) -> Select:
    values = dict(section)
    for key in ("query", "on_sent", "on_failed"):
        if key in values:
            values[key] = sections.lines_of(values[key])
    if "every" in values:
        values["every"] = _seconds(values["every"])
    cron = {name: values.pop(name) for name in ("zone", "missed", "state") if name in values}
    if "cron" in values:
        if "state" in cron:
            cron["state"] = _state(cron["state"])
        values["cron"] = Cron(values["cron"], **cron)
    if "key" in values:
        values["key"] = _names(values["key"])
    if "follow" in values:
        values["follow"] = _follow(values["follow"])
        values.setdefault("every", FOLLOW_EVERY_S)
    select = Select(**values)
    page = _page(select, rows)
    return replace(select, fetch=page, fetch_small=None if "fetch" in values or not select.on_sent else GROWTH * page)


def _page(select: Select, rows: int | str | None) -> int:
    """Return how many rows are read at a time: where each page is marked by itself, whole messages."""
    by_page = select.on_sent is not None or select.follow is not None
    return -(-select.fetch // rows) * rows if isinstance(rows, int) and by_page else select.fetch


def _follow(section: Mapping[str, Any]) -> Follow:
    values = {name: section[name] for name in ("column", "clock") if name in section}
    if "overlap" in section:
        values["overlap_s"] = _seconds(section["overlap"])
    if "from" in section:
        values["start"] = str(section["from"])
    state, ignore = _state(section["state"]), tuple(section.get("ignore", ()))
    return Follow(**values, key=_names(section["key"]), state=state, ignore=ignore)


def _state(section: Mapping[str, Any]) -> State:
    return State(section["table"], _connection(section["connection"]) if "connection" in section else None)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _seconds(given: str | float) -> float:
    return parse_duration(given) if isinstance(given, str) else float(given)

"""What the schema of db.config cannot say: statements, the values that they use, and whose results."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectorlib.config import Review, broker_rules, expression_rules, review_notify, source_rules
from connectorlib.config.json_source import Path
from connectorlib.config.sections import lines_of
from connectorlib.shared_settings import Batch, DeadLetterSettings, Limits
from connectorlib.values.durations import parse_duration
from connectorlib.values.text import did_you_mean
from connectorlib.values.types import find_zone
from dbconnector.dialects import Dialect, find_driver
from dbconnector.sql import Statement, compile_statement, ignores_errors, limit_rows, objection
from dbconnector.watermark import position_of_text

_CONNECTION_KEYS = {"driver", "dsn", "filedsn"}
#: The parameter that only on_failed has.
_ERROR = "error"
#: Where `$result` is refused.
NO_RESULT = "$result is not known before a message is written: use a value of the message"
_NOT_BESIDE_FOLLOW = {
    "on_sent": "either on_sent or follow: on_sent marks rows in the table, follow remembers how far it has been read",
    "key": "with follow the key is follow.key",
}


def review(found: Review) -> None:
    """Note everything that is wrong in the document beyond its schema."""
    _review_broker(found)
    review_notify(found)
    expression_rules.review_format(found, ("format",), Limits(**found.section("limits")))
    _review_connection(found)
    _review_zone(found)
    _review_select(found)
    _review_writes(found)
    _review_lanes(found)
    for key in ("accept_when", "ignore_when"):
        expression_rules.review_condition(found, (key,), NO_RESULT)
    expression_rules.review_key(found, ("idempotency", "key"), found.get("broker", "source", "exchange"))


def _review_broker(found: Review) -> None:
    broker = found.section("broker")
    dead_letter = DeadLetterSettings(**found.section("broker", "dead_letter"))
    broker_rules.review_broker(found, ("broker",))
    if "source" in broker:
        batch, limits = Batch(**found.section("batch")), Limits(**found.section("limits"))
        source_rules.review_source(found, ("broker", "source"), dead_letter, batch, limits)
    if "destination" in broker:
        source_rules.review_destination(found, ("broker", "destination"), dead_letter)
        _review_destination_expressions(found, ("broker", "destination"))


def _review_destination_expressions(found: Review, path: Path) -> None:
    section = found.section(*path)
    expressions: dict[Path, Any] = {
        (*path, key): section[key]
        for key in ("message_id", "body", "correlation_id", "priority", "expiration")
        if key in section
    }
    expressions |= {(*path, "headers", name): spec for name, spec in found.section(*path, "headers").items()}
    templates: dict[Path, Any] = {
        (*path, key): section[key] for key in ("routing_key", "content_type") if key in section
    }
    compiled = [(where, expression_rules.review_expression(found, where, spec)) for where, spec in expressions.items()]
    compiled += [(where, expression_rules.review_template(found, where, spec)) for where, spec in templates.items()]
    if "rows" in section:
        _review_rows(found, path, section)
        return
    for where, expression in compiled:
        if expression is not None and any(part.source == "part" for part in expression.parts):
            found.problem(where, "$part is the number of a message of many rows: it needs destination.rows")


def _review_rows(found: Review, path: Path, section: Mapping[str, Any]) -> None:
    where, kind = (*path, "rows"), found.get("format", "type")
    if "body" in section:
        found.problem(where, "either rows, which are written in the format, or body, which is one column of one row")
    if kind == "text":
        found.problem(where, "the format text has no records: use json, ndjson, xml or delimited")
    if kind == "xml" and found.get("format", "record") is None:
        found.missing(("format",), "record", ": with destination.rows it is the name of the element of each row")
    if section["rows"] == "all" and found.get("database", "select", "follow") is not None:
        found.problem(where, "with follow it is a number: rows are published as they come")


# -- the database


def _review_lanes(found: Review) -> None:
    path: Path = ("lanes", "count")
    if found.get("lanes", "key") is not None:
        compiled = expression_rules.review_expression(found, ("lanes", "key"), found.get("lanes", "key"))
        if compiled is not None and compiled.uses_results:
            found.problem(("lanes", "key"), NO_RESULT)
    source_rules.review_shard_key(found, ("lanes", "key"), found.get("lanes", "key"), found.section("broker", "source"))
    count, dialect = found.get(*path), _dialect(found)
    if isinstance(count, int) and count > 1 and dialect.one_writer:
        found.problem(path, f"{dialect.name} has one writer at a time: use 1")


def _review_connection(found: Review) -> None:
    path: Path = ("database", "connection")
    _review_keywords(found, path, found.get(*path))


def _review_zone(found: Review) -> None:
    zone = found.get("database", "zone")
    if isinstance(zone, str):
        found.attempt(("database", "zone"), lambda: find_zone(zone))
    elif "fold" in found.section("database") and found.is_known(("database", "zone")):
        found.problem(("database", "fold"), 'says nothing without "zone"')


def _review_keywords(found: Review, path: Path, connection: Any) -> None:
    if isinstance(connection, str):
        if path not in found.document.pending:
            _review_connection_string(found, path, connection)
    elif isinstance(connection, dict):
        lower = [key.lower() for key in connection]
        for at, key in enumerate(connection):
            if key.lower() in lower[:at]:
                found.problem((*path, key), "given twice; ODBC ignores case")
        if not _CONNECTION_KEYS & set(lower):
            found.missing(path, "Driver", ', such as "PostgreSQL Unicode" (or "DSN"); odbcinst -q -d lists the drivers')


def _review_connection_string(found: Review, path: Path, text: str) -> None:
    from dbconnector.odbc.connection_string import split_connection  # late: keeps the module light

    if "://" in text:
        example = '{"Driver": "SQLite3", "Database": "plant.db"}'
        found.problem(path, f"expected keywords of ODBC, such as {example}, not a URL")
        return
    keywords = found.attempt(path, lambda: split_connection(text))
    if keywords is not None and not _CONNECTION_KEYS & {key.lower() for key in keywords}:
        found.problem(path, "expected Driver=… or DSN=… in it; odbcinst -q -d lists the drivers")


def _review_select(found: Review) -> None:
    path: Path = ("database", "select")
    section = found.section(*path)
    query = _statement(found, (*path, "query"), section.get("query"))
    if query is not None:
        _unused(found, (*path, "params"), section.get("params", {}), query, "the query")
    on_sent = _statement(found, (*path, "on_sent"), section.get("on_sent"))
    _statement(found, (*path, "on_failed"), section.get("on_failed"))
    if on_sent is not None and _ERROR in on_sent.names:
        found.problem((*path, "on_sent"), ":error is known only to on_failed")
    if isinstance(section.get("every"), str):
        found.attempt((*path, "every"), lambda: parse_duration(section["every"]))
    _review_cron(found, path, section)
    if isinstance(section.get("follow"), dict):
        _review_follow(found, path, section)


def _review_cron(found: Review, path: Path, select: Mapping[str, Any]) -> None:
    expression = select.get("cron")
    for name in ("zone", "missed", "state"):
        if name in select and expression is None:
            where = "; that of follow is follow.state" if name == "state" and "follow" in select else ""
            found.missing(path, "cron", f': "{name}" belongs to it{where}')
    if not isinstance(expression, str):
        return
    if isinstance(select.get("state"), dict):
        _review_schedule_state(found, (*path, "state"), select["state"])
    if "every" in select:
        found.problem((*path, "cron"), "either every or cron")
    if "follow" in select:
        found.problem((*path, "cron"), "with follow it is every: rows are published as they come")
    from dbconnector.cron_schedule import check_expression, check_zone  # late: few configurations need it

    zone = select.get("zone", "UTC")
    if found.attempt((*path, "zone"), lambda: check_zone(zone)):
        found.attempt((*path, "cron"), lambda: check_expression(expression, zone))


def _review_schedule_state(found: Review, path: Path, state: Mapping[str, Any]) -> None:
    _review_keywords(found, (*path, "connection"), state.get("connection"))
    if found.get("name") is None:
        found.missing((), "name", ": it tells this schedule from others in the state table")
    dialect = _dialect(found)
    if "connection" not in state and dialect.one_writer:
        text = f": {dialect.name} has one writer at a time, and the lease is renewed while the query runs"
        found.missing(path, "connection", f"{text}; name another file")


def _review_follow(found: Review, path: Path, select: Mapping[str, Any]) -> None:
    here, follow = (*path, "follow"), select["follow"]
    for name, why in _NOT_BESIDE_FOLLOW.items():
        if name in select:
            found.problem((*path, name), why)
    text = lines_of(select["query"]) if isinstance(select.get("query"), str | list) else ""
    if text and found.attempt((*path, "query"), lambda: limit_rows(text, 1)) == text:
        found.problem((*path, "query"), "with follow it is a SELECT without LIMIT: rows beyond that would be missed")
    overlap = follow.get("overlap", 1)
    seconds = (
        found.attempt((*here, "overlap"), lambda: parse_duration(overlap)) if isinstance(overlap, str) else overlap
    )
    if isinstance(seconds, int | float) and seconds <= 0:
        found.problem((*here, "overlap"), "must not be 0: a row becomes visible later than its timestamp says")
    start = follow.get("from")
    if isinstance(start, str) and start not in ("beginning", "now"):
        found.attempt((*here, "from"), lambda: position_of_text(start))
    connection = follow.get("state", {}).get("connection") if isinstance(follow.get("state"), dict) else None
    _review_keywords(found, (*here, "state", "connection"), connection)


def _statement(found: Review, path: Path, sql: Any) -> Statement | None:
    if not isinstance(sql, str | list):
        return None
    text = lines_of(sql)
    statement: Statement | None = found.attempt(path, lambda: compile_statement(text))
    if statement is not None and (reason := objection(text, ddl_commits=_dialect(found).ddl_commits)):
        found.problem(path, reason)
    if statement is not None and ignores_errors(text):
        found.warn(path, "IGNORE silently truncates values that do not fit: use ON DUPLICATE KEY UPDATE")
    return statement


def _dialect(found: Review) -> Dialect:
    """Return the dialect that the connection names by its driver, the unknown one if it names none."""
    connection = found.get("database", "connection")
    keywords = connection if isinstance(connection, dict) else {}
    return find_driver(next((str(value) for key, value in keywords.items() if key.lower() == "driver"), ""))[0]


def _unused(found: Review, path: Path, values: Mapping[str, Any], statement: Statement, what: str) -> None:
    """Note values that the statement does not use: often a misspelt name, for which a field would be taken silently."""
    for name in values:
        if name not in statement.names:
            names = [f":{each}" for each in dict.fromkeys(statement.names)]
            hint = did_you_mean(f":{name}", names).replace("known here", "it has")
            hint = hint or "; it has no parameters, which are written :name"
            found.problem((*path, name), f"{what} has no :{name}{hint}")


# -- writes


def _review_writes(found: Review) -> None:
    writes = found.get("database", "write")
    if not isinstance(writes, list):
        return
    entries = [each if isinstance(each, dict) else {} for each in writes]
    _review_names(found, entries)
    for at, entry in enumerate(entries):
        path: Path = ("database", "write", at)
        statement = _statement(found, (*path, "statement"), entry.get("statement"))
        if statement is not None:
            _unused(found, (*path, "values"), entry.get("values", {}), statement, "the statement")
        for where, used in _used_results(found, path, entry):
            for name in used:
                _review_result(found, where, name, at, entries)


def _review_names(found: Review, entries: Sequence[Mapping[str, Any]]) -> None:
    seen: dict[str, int] = {}
    for at, entry in enumerate(entries):
        name = entry.get("name")
        if name is None:
            continue
        if name in seen:
            found.problem(("database", "write", at, "name"), f"write[{seen[name]}] has this name already")
        seen.setdefault(name, at)


def _used_results(found: Review, path: Path, entry: Mapping[str, Any]) -> Iterator[tuple[Path, frozenset[str]]]:
    """Compile every expression of an entry; yield where `$result` is used, and of which statements."""
    specs: list[tuple[Path, Any]] = [((*path, "values", name), spec) for name, spec in entry.get("values", {}).items()]
    if "for_each" in entry:
        specs.append(((*path, "for_each"), entry["for_each"]))
    for where, spec in specs:
        compiled = expression_rules.review_expression(found, where, spec)
        if compiled is not None:
            yield where, compiled.uses_results
    for where, expression in expression_rules.review_condition(found, (*path, "when")):
        yield where, expression.uses_results


def _review_result(found: Review, path: Path, name: str, at: int, entries: Sequence[Mapping[str, Any]]) -> None:
    names = {entry["name"]: place for place, entry in reversed(list(enumerate(entries))) if "name" in entry}
    refused = any(path[:2] == ("database", "write") and path[-1] == "name" for path in found.document.refused)
    if name not in names and refused:
        return  # perhaps that is the one
    if name not in names:
        hint = did_you_mean(name, names) or '; give the statement a "name"'
        found.problem(path, f"$result.{name}: no statement has this name{hint}")
    elif names[name] >= at:
        which = "this statement itself" if names[name] == at else "a later statement"
        found.problem(path, f"$result.{name} is the result of {which}; only earlier ones have one")
    elif "for_each" in entries[names[name]]:
        found.problem(path, f"$result.{name}: that statement runs for_each element, so it has no one result")

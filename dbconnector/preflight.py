"""What `check` asks the database: whether it answers, takes every statement, and has columns that fit the mapping. Runs
no statement of the configuration; what is inserted into the inbox is rolled back."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.formats import compile_format
from connectorlib.preflight import check_broker, check_notices
from connectorlib.preflight.check_command import CheckOptions, check_command
from connectorlib.preflight.check_topology import Sending
from connectorlib.preflight.findings import Finding, Group, bad, failed, good, odd
from connectorlib.preflight.sample import Sample
from connectorlib.values.text import listed
from dbconnector import config as configuration
from dbconnector import prepare
from dbconnector.columns import plain_name
from dbconnector.cursor_table import STATE, CursorTable, work_of
from dbconnector.dialects.base import UNKNOWN_DRIVER
from dbconnector.dialects.sqlstate import advice
from dbconnector.explain import Offline
from dbconnector.inbox_table import Inbox, Key
from dbconnector.lease_table import LeaseTable, Standing
from dbconnector.odbc import connection_string
from dbconnector.odbc.connection_factory import missing_file
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.row_message import MessageMapping
from dbconnector.row_source import IntervalSource
from dbconnector.settings import Cron, DbConfig, Follow, Idempotency, Select, State, Write
from dbconnector.sql import compile_statement
from dbconnector.watermark import Horizon

ABOUT = "database"
_DO = {
    Kind.UNAVAILABLE: "is it running, are server and port in database.connection correct?",
    Kind.REFUSED: "correct user and password in database.connection",
}
#: A value of each type that an expression may have, to ask whether a column takes it.
_EXAMPLES: Mapping[str, Any] = {
    "integer": 1,
    "decimal": Decimal(1),
    "float": 1.0,
    "boolean": True,
    "date": date(2026, 1, 2),
    "time": time(3, 4, 5),
    "timestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "epoch_s": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "epoch_ms": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "base64": b"\x01",
    "hex": b"\x01",
}


def plan(config: DbConfig, options: CheckOptions) -> Sequence[Group]:
    """Return the groups of questions to broker, database, and the channels of `notify`."""
    destination = config.destination
    sends = (Sending("destination", destination.exchange, destination.exchange_type),) if destination else ()
    needs = check_broker.Needs(
        config.broker,
        f"dbconnector {config.name}",
        (config.source,) if config.source else (),
        sends,
        config.journal,
        config.notify,
        config.file,
    )
    return [
        ("broker", lambda: check_broker.findings(needs, options.management_url)),
        (ABOUT, lambda: findings(config, options.sample)),
        *check_notices.groups(config.notify, config.broker, "dbconnector", config.name, test=options.test_notice),
    ]


def findings(config: DbConfig, sample: Sample | None = None) -> Iterator[Finding]:
    """Yield what is found; raise Failed if the database stops answering."""
    with closing(Database(config.database)) as database:
        if missing := missing_file(database.dialect, database.keywords):
            yield bad(ABOUT, f"{missing} is not there", "create it, or correct database.connection", Kind.CONFIGURATION)
            return
        try:
            database.connect()
        except Failed as error:
            failure = error.failure
            place = failure.place if failure.place.startswith("database.") else "database.connection"
            do = advice(failure.code) or _DO.get(failure.kind, f"correct {place}")
            yield failed(ABOUT, failure, do)
            return
        yield from _connection(config, database)
        for index, write in enumerate(config.database.write):
            yield from _write(database, write, write.place(index))
        yield from _together(config, database)
        if config.database.select is not None:
            yield from _select(config, database, config.database.select)
            if config.database.select.follow is not None:
                yield from _follow(config, database, config.database.select, config.database.select.follow)
            if config.database.select.cron is not None and config.database.select.cron.state is not None:
                yield from _schedule(config, config.database.select.cron, config.database.select.cron.state)
        if config.idempotency is not None:
            yield _inbox(database, config.idempotency, config.name)
        yield from (odd("server", lost) for lost in database.server.lacks)
        if sample is not None:
            yield from _sample(config, database, sample)


def _connection(config: DbConfig, database: Database) -> Iterator[Finding]:
    driver, own = database.driver, config.database.connection
    yield good(ABOUT, database.server.versions)
    given = {key.lower() for key in (connection_string.split_connection(own) if isinstance(own, str) else own)}
    defaults = {k: v for k, v in connection_string.hide_secrets(database.keywords).items() if k.lower() not in given}
    if database.driver is UNKNOWN_DRIVER:
        text = "not a known driver: rows are written one by one, and a bad row costs a rollback of its batch"
        yield odd("driver", text, "use another driver if there is one")
        if database.server.proven:
            yield good("driver", "text, integers and decimals were returned as they were sent")
        else:
            text = "the server accepted no test query, so it is unknown what its driver alters"
            yield odd("driver", text, "compare what is stored with what was sent")
    elif defaults:
        yield good("driver", f"{driver.name}, with {', '.join(f'{k}={v}' for k, v in defaults.items())}")
    else:
        yield good("driver", driver.name)


# -- writes


def _write(database: Database, write: Write, place: str) -> Iterator[Finding]:
    refusal = prepare.refusal(database, write.statement, place)
    if refusal is not None:
        yield _refused(place, refusal, "the statement")
        return
    problems = list(_types(database, write, place))
    if columns := prepare.unfilled(database, write.statement):
        needs = f"{listed(columns)} {'is' if len(columns) == 1 else 'are'} NOT NULL without a default"
        problems.append(odd(place, f"{needs}, and the statement does not fill it", "add it, unless a trigger fills it"))
    names = list(dict.fromkeys(compile_statement(write.statement).names))
    parameters = f"{len(names)} {'parameter' if len(names) == 1 else 'parameters'}"
    yield from problems or [good(place, f"the database takes the statement, {parameters}")]


def _together(config: DbConfig, database: Database) -> Iterator[Finding]:
    """Yield whether the UPDATE or DELETE of many messages is one statement, if the only statement is one."""
    if len(config.database.write) != 1:
        return
    plan = compile_plan(config)
    (write,) = plan.writes
    changes = write.statement.sql.split()[0].upper() in ("UPDATE", "DELETE")
    if not changes or prepare.refusal(database, write.statement.text, write.place) is not None:
        return
    in_sets = plan.bound(database.binder, database.row_set).in_sets
    slow = "each message, which takes longer: docs/how-to/scaling.md says when it need not"
    yield good(write.place, f"runs once for {'all messages of a batch' if in_sets else slow}")


def _refused(place: str, failure: Failure, what: str) -> Finding:
    kind = Kind.REFUSED if failure.code == "42501" else Kind.CONFIGURATION
    do = "grant the user this privilege" if kind is Kind.REFUSED else f"correct {what}, or the table"
    return Finding(failed(place, failure).mark, place, f"{failure.code} {failure.text}", do, kind, failure.code)


def _types(database: Database, write: Write, place: str) -> Iterator[Finding]:
    """Yield the parameters whose column does not take the values of the mapping."""
    statement = compile_statement(write.statement)
    found: set[str] = set()
    for position, name in enumerate(statement.names):
        spec = write.values.get(name)
        for what, value in _values(spec) if isinstance(spec, Mapping) else ():
            why = prepare.refused_value(database, write.statement, position, value)
            if why and name not in found:
                found.add(name)
                target = statement.targets[position]
                column = f" for column {target.column}" if target else ""
                do = f"correct {place}.values.{name}"
                yield bad(f"{place}.values.{name}", f"{what} is nothing{column}: {why}", do, Kind.CONFIGURATION)


def _values(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the constants of an expression, or an example of its type, each with a description."""
    kind = spec.get("type")
    if kind is None:
        for key in ("value", "default"):
            if spec.get(key) is not None and "map" not in spec:
                yield f"{key} {spec[key]!r}", spec[key]
        for each in spec.get("map", {}).values():
            if each is not None:
                yield f"map value {each!r}", each
    elif kind in _EXAMPLES:
        yield f"type {kind}", _EXAMPLES[kind]


# -- select


def _select(config: DbConfig, database: Database, select: Select) -> Iterator[Finding]:
    about = "select.query"
    refusal = prepare.refusal(database, select.query, about)
    if refusal is not None:
        yield _refused(about, refusal, "the query")
        return
    statement = compile_statement(select.query)
    if missing := [name for name in dict.fromkeys(statement.names) if name not in select.params]:
        yield odd(about, f"no value for {listed(f':{name}' for name in missing)} in params", "give it with --param")
    columns: Sequence[str] = ()
    try:
        columns = prepare.columns(database, select.query, [select.params.get(name) for name in statement.names], about)
    except Failed as error:
        if error.failure.kind is Kind.UNAVAILABLE:
            raise
        yield odd(about, f"its columns are known only at run time: {error.failure.text}")
    if columns:
        yield good(about, f"gives {listed(columns)}")
        yield from _destination(config, columns)
    for place, text in (("on_sent", select.on_sent), ("on_failed", select.on_failed)):
        if text is not None:
            yield _mark(database, place, text, columns)
    yield from _key(select, columns)


def _mark(database: Database, place: str, text: str, columns: Sequence[str]) -> Finding:
    about = f"select.{place}"
    refusal = prepare.refusal(database, text, about)
    if refusal is not None:
        return _refused(about, refusal, "the statement")
    lower = {column.lower() for column in columns} | ({"error"} if place == "on_failed" else set())
    unknown = [name for name in compile_statement(text).names if name.lower() not in lower]
    if unknown and columns:
        return _no_column(about, f":{unknown[0]}", columns)
    return good(about, "the database takes the statement")


def _key(select: Select, columns: Sequence[str]) -> Iterator[Finding]:
    lower = {column.lower() for column in columns}
    unknown = [name for name in select.key if plain_name(name).lower() not in lower]
    if unknown and columns:
        yield _no_column("select.key", unknown[0], columns)


def _destination(config: DbConfig, columns: Sequence[str]) -> Iterator[Finding]:
    """Yield the expressions of the destination that ask for a column which the query does not have."""
    if config.destination is None:
        return
    mapping = MessageMapping(config.destination, compile_format(config.format, config.limits))
    for place, name in mapping.unknown_columns(columns):
        yield _no_column(place, name, columns)


def _no_column(about: str, name: str, columns: Sequence[str]) -> Finding:
    text = f"{name} is no column of the query; they are {listed(columns)}"
    return bad(about, text, "correct one of the two", Kind.CONFIGURATION)


def _follow(config: DbConfig, database: Database, select: Select, follow: Follow) -> Iterator[Finding]:
    """Ask how far the table could be read now, and whether the state tables are there."""
    about = "select.follow"
    database.connect()
    try:
        values = {**dict.fromkeys(compile_statement(select.query).names), **select.params}
        yield _horizon(about, IntervalSource(select, database, values).horizon())
    except Failed as error:
        yield failed(about, error.failure, "correct it, or the query")
    finally:
        database.rollback()
    with closing(Database(config.database.state)) as state:
        table = CursorTable(follow.state.table, config.name, about, state, place=STATE, work=work_of(select))
        yield from _state(table, STATE)


def _schedule(config: DbConfig, cron: Cron, state: State) -> Iterator[Finding]:
    """Ask what is kept of a shared schedule."""
    from dbconnector import shared_schedule  # late: few configurations need it

    def facts(standing: Standing) -> str:
        found = shared_schedule.facts(cron, standing, datetime.now(UTC))
        return ", ".join(f"{name} {value}" for name, value in found.items())

    with closing(Database(config.database.state)) as database:
        about = shared_schedule.STATE
        yield from _state(LeaseTable(state.table, config.name, "check", database, place=about), about, facts)


def _state(table: LeaseTable, about: str, facts: Callable[[Standing], str] | None = None) -> Iterator[Finding]:
    """Ask whether the state tables are there, and what the row says if there is a text for it."""
    try:
        missing = table.missing()
        if missing is not None:
            do = "no action needed if the connector may create it at its first start"
            yield odd(about, missing.text, do)
            return
        table.demand_own()
        if facts is not None:
            yield good(about, facts(table.standing()))
    except Failed as error:
        yield failed(about, error.failure, f"correct {about}")


def _horizon(about: str, horizon: Horizon) -> Finding:
    if horizon.position is None:
        return odd(about, f"nothing new can be read now; held by {horizon.held_by}", "end it, or grant the privilege")
    if not horizon.exact:
        text = "this user or server cannot see which transactions are open"
        return odd(about, text, "make overlap longer than any transaction that writes to the table")
    return good(about, f"the table is complete up to {horizon.position}")


# -- the inbox


def _inbox(database: Database, settings: Idempotency, consumer: str) -> Finding:
    """Insert a key twice and roll back, to see that the table exists, may be written and refuses duplicates."""
    about = f"inbox {settings.table}"
    key = Key(uuid.uuid4().hex * 2, "")
    inbox = Inbox(settings, consumer)
    database.connect()
    try:
        first = inbox.insert(database, [key])
        second = _second(inbox, database, key)
    except Failed as error:
        if error.failure.kind is Kind.UNAVAILABLE:
            raise
        finding = _refused(about, error.failure, "idempotency.table")
        do = "create it: dbconnector inbox --create" if finding.kind is Kind.CONFIGURATION else finding.do
        if not database.dialect.unique_keys:
            do = "remove idempotency"
        return Finding(finding.mark, about, finding.text, do, finding.kind, finding.code)
    finally:
        database.rollback()
    if (first, second) != (1, 0):
        text = "accepts a key twice: it has no primary key (consumer, message_key), so duplicates are written twice"
        return bad(about, text, "recreate it: dbconnector inbox prints how", Kind.CONFIGURATION)
    return good(about, "exists, and prevents duplicates")


def _second(inbox: Inbox, database: Database, key: Key) -> int:
    try:
        return inbox.insert(database, [key])
    except Failed as error:
        if error.failure.kind is Kind.REJECT:  # where the driver knows no way to skip doubles
            return 0
        raise


# -- the sample


def _sample(config: DbConfig, database: Database, sample: Sample) -> Iterator[Finding]:
    """Map it by the classes of the columns, which only the database knows."""
    if not config.database.write:
        yield odd(f"sample {sample.name}", "database.write is missing, so nothing can be written")
        return
    database.connect()
    offline = Offline(config, database.binder)
    yield from sample.findings(offline, offline.explain)


check = check_command(
    "dbconnector",
    "db.config",
    systems="broker and database",
    remark="Statements are explained by the database and not run.",
    load=configuration.load,
    plan=plan,
)

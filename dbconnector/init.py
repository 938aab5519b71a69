"""What `dbconnector init` asks, and the configuration that it makes of the answers. Imports only click and the standard
library before that."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from connectorlib.init.addresses import address, broker, identifier
from connectorlib.init.questions import BROKER, NOTHING, WHERE_SECRETS, Answers, Question, fixed, init_command, source

if TYPE_CHECKING:
    from connectorlib.init.files import Sample, Secret, Start

_EXAMPLE = "postgresql://app@127.0.0.1/plant"
#: A value of each type that a column may be said to have.
_SAMPLES: dict[str, Any] = {
    "text": "pump-3",
    "integer": 7,
    "decimal": 4.25,
    "float": 4.25,
    "boolean": True,
    "date": "2026-11-24",
    "time": "03:02:11",
    "timestamp": "2026-11-24T03:02:11Z",
    "base64": "AAEC",
    "json": {"any": "value"},
}


def _writes(answers: Answers) -> bool:
    return answers["mode"] == "subscribe"


QUESTIONS = (
    Question(
        "mode",
        "What it shall do: subscribe writes messages into a table, select sends rows of a table as messages",
        fixed("subscribe"),
        choices=("subscribe", "select"),
    ),
    Question(
        "database",
        f"The database, as {_EXAMPLE}, mariadb://…, sqlserver://…, oracle://…, sqlite:///plant.db or dsn://USER@DSN,"
        " without the password",
        fixed(_EXAMPLE),
        check=lambda text: _connection(text),
    ),
    Question(
        "table",
        "The table",
        lambda answers: "reading" if _writes(answers) else "outbox",
        check=identifier,
    ),
    Question(
        "columns",
        "Its columns, with commas between; NAME:TYPE where a message's text has to become a timestamp, decimal, …",
        lambda answers: "device, at:timestamp, value:decimal" if _writes(answers) else "id, device, value",
        check=lambda text: _columns(text),
    ),
    BROKER,
    Question("queue", "The queue to read", lambda answers: answers["table"].rpartition(".")[2], asked=_writes),
    Question(
        "exchange",
        "The exchange: messages come from it (- for none), or rows go to it",
        lambda answers: "devices" if _writes(answers) else "rows",
    ),
    Question(
        "routing-key",
        "The routing key; of messages with wildcards, of rows a template over the columns",
        lambda answers: "reading.#" if _writes(answers) else f"row.{{{_columns(answers['columns'])[0][0]}}}",
        asked=lambda answers: not _writes(answers) or answers["exchange"] != NOTHING,
    ),
    WHERE_SECRETS,
)


def make(answers: Answers) -> "Start":
    """Return the configuration for the answers, and what goes with it."""
    from connectorlib.init.files import Start  # late, see the module

    secrets = _secrets(answers)
    writes = _writes(answers)
    return Start(
        program="dbconnector",
        option="-c",
        configuration=_configuration(answers, secrets),
        opened=_opened if writes else _loaded,
        secrets=secrets,
        where=answers["secrets"],
        run=("subscribe", "writes every message, for ever")
        if writes
        else ("select", "sends the rows; --every 30s: for ever"),
        unit="dbconnector@NAME" if writes else "dbconnector-select@NAME.timer",
        check_unit="dbconnector-check@NAME",
        sample=_sample(answers) if writes else None,
    )


def _configuration(answers: Answers, secrets: "Sequence[Secret]") -> dict[str, Any]:
    writes = _writes(answers)
    what = "Messages of the queue become rows" if writes else "Rows that were not sent yet become messages"
    password = {secret.variable: secret.reference(answers["secrets"]) for secret in secrets}
    connection, needs_password = _connection(answers["database"])
    database: dict[str, Any] = {
        "// connection": "keywords of the ODBC driver; `check` tells what is added to them",
        "connection": {**connection, "Pwd": password["DB_PASSWORD"]} if needs_password else connection,
    }
    amqp = {**broker(answers["broker"]), "password": password["AMQP_PASSWORD"]}
    found: dict[str, Any] = {
        "// what it does": f"{what}. A key that begins with // is a comment.",
        "// editor": "`dbconnector schema > db.config.schema.json`, and the next line without // completes and checks",
        "//$schema": "db.config.schema.json",
        "database": {**database, **(_write(answers) if writes else _select(answers))},
        "broker": {**amqp, **(_source(answers) if writes else _destination(answers))},
        "format": {"type": "json"},
    }
    if writes:
        found["// once"] = (
            "no message is written twice: the next line without //, and `dbconnector inbox --create -c …`"
        )
        found["//idempotency"] = {"table": "connector_inbox", "key": "$message_id"}
    found["// monitoring"] = "status, health and metrics; a port of its own for each process"
    return {**found, "monitoring": {"host": "127.0.0.1", "port": 9400}}


def _write(answers: Answers) -> dict[str, Any]:
    columns = _columns(answers["columns"])
    names = ", ".join(name for name, _ in columns)
    parameters = ", ".join(f":{name}" for name, _ in columns)
    entry: dict[str, Any] = {"statement": f"INSERT INTO {answers['table']} ({names}) VALUES ({parameters})"}
    typed = {name: {"path": name, "type": kind} for name, kind in columns if kind != "text"}
    if typed:
        entry["values"] = typed
    about = "what each message runs, all or nothing; :name is its field of that name, unless `values` says otherwise"
    return {"// write": about, "write": [entry]}


def _select(answers: Answers) -> dict[str, Any]:
    names = [name for name, _ in _columns(answers["columns"])]
    table, key = answers["table"], names[0]
    return {
        "// select": "on_sent marks each row that the broker has confirmed; it has to take the row out of the query",
        "select": {
            "query": f"SELECT {', '.join(names)} FROM {table} WHERE sent_at IS NULL ORDER BY {key}",
            "on_sent": f"UPDATE {table} SET sent_at = CURRENT_TIMESTAMP WHERE {key} = :{key}",
        },
    }


def _source(answers: Answers) -> dict[str, Any]:
    return {
        "// source": "made and bound at the start where it is missing",
        "source": source(answers),
        "// dead_letter": "where what can never be written goes, with the reason; `deadletter-queue` looks into it",
        "dead_letter": {"exchange": "dead-letter", "queue": "dead-letter"},
    }


def _destination(answers: Answers) -> dict[str, Any]:
    return {"destination": {"exchange": answers["exchange"], "routing_key": answers["routing_key"]}}


def _sample(answers: Answers) -> "Sample":
    from connectorlib.init.files import Sample  # late, see the module

    columns = _columns(answers["columns"])
    body = {name: _SAMPLES[kind] for name, kind in columns}
    first = columns[0][0]
    without = {name: value for name, value in body.items() if name != first}
    return Sample(
        "the sample becomes a row",
        body,
        rejected={f"a message without {first} is rejected": without},
    )


def _secrets(answers: Answers) -> "list[Secret]":
    from connectorlib.init.files import Secret  # late, see the module

    connection, needs_password = _connection(answers["database"])
    its = [Secret("DB_PASSWORD", "db", f"of the database user {connection['Uid']}")] if needs_password else []
    return [*its, Secret("AMQP_PASSWORD", "amqp", f"of the broker's user {broker(answers['broker'])['username']}")]


def _columns(text: str) -> list[tuple[str, str]]:
    """Given `device, at:timestamp`, return names and types. Raise ValueError for what is neither."""
    found = []
    for part in text.split(","):
        name, colon, kind = (each.strip() for each in part.partition(":"))
        if "." in identifier(name):
            raise ValueError(f"{name!r}: a column's name alone, please")
        if colon and kind not in _SAMPLES:
            raise ValueError(f"{name}: {kind!r} is no type; there are {', '.join(_SAMPLES)}")
        found.append((name, kind or "text"))
    if len({name.lower() for name, _ in found}) < len(found):
        raise ValueError("a column is named twice")
    return found


def _connection(text: str) -> tuple[dict[str, str], bool]:
    """Return the ODBC keywords for an address, and whether a password goes with them. Raise ValueError."""
    from dbconnector import dialects  # late, see the module

    its = address(text, _EXAMPLE)
    dialect = dialects.dialect_of_scheme(its.scheme)
    if dialect is not None and dialect.file_keyword:
        if its.host or not its.name:
            raise ValueError(f"expected {its.scheme}:///plant.db, or {its.scheme}:////var/lib/plant.db")
        return {"Driver": dialect.installed_as, **dialect.keywords("", None, its.name)}, False
    if not its.host or not (its.name or its.scheme == "dsn"):
        raise ValueError(f"expected an address such as {_EXAMPLE}")
    if its.scheme == "dsn":
        keywords = {"DSN": its.host}
    elif dialect is not None:
        keywords = {"Driver": dialect.installed_as, **dialect.keywords(its.host, its.port, its.name)}
    else:
        servers_first = sorted(dialects.known(), key=lambda each: each.file_keyword)
        raise ValueError(f"{its.scheme}: there are {', '.join(each.name for each in servers_first)} and dsn")
    return {**keywords, "Uid": its.user or "app"}, True


def _opened(file: str) -> Any:
    from dbconnector.explain import opened  # late, see the module

    return opened(file)


def _loaded(file: str) -> None:
    from dbconnector.config import load  # late, see the module

    load(file, resolve_secrets=False)


init = init_command("dbconnector", "db.config", QUESTIONS, make)

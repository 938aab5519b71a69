"""What `dbconnector init` asks, and how the answers fill its templates."""

from typing import Any

from connectorlib.init.addresses import address, broker, identifier
from connectorlib.init.config_template import fill, read_template
from connectorlib.init.files import ExampleMessage, Secret, Start
from connectorlib.init.questions import BROKER, NOTHING, SECRETS, Answers, Question, init_command
from dbconnector import dialects, explain

_EXAMPLE = "postgresql://app@127.0.0.1/plant"
#: The types that a column can have, each with a value for the sample message.
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
_RUN = {
    "subscribe": ("subscribe", "writes every message until stopped"),
    "select": ("select", "sends the rows; --every 30s repeats it"),
}


def _writes(answers: Answers) -> bool:
    return answers["mode"] == "subscribe"


def _names(answers: Answers) -> list[str]:
    return [name for name, _ in _columns(answers["columns"])]


QUESTIONS = (
    Question(
        "mode",
        "What to do: subscribe writes messages into a table, select sends rows of a table as messages",
        "subscribe",
        choices=("subscribe", "select"),
    ),
    Question(
        "database",
        f"The database, as {_EXAMPLE}, mariadb://…, sqlserver://…, oracle://…, sqlite:///plant.db or dsn://USER@DSN,"
        " without the password",
        _EXAMPLE,
        check=lambda text: _connection(text),
    ),
    Question("table", "The table", lambda answers: "reading" if _writes(answers) else "outbox", check=identifier),
    Question(
        "columns",
        "Columns of the table, separated by commas; NAME:TYPE converts a message's text to a timestamp, decimal, …",
        lambda answers: "device, at:timestamp, value:decimal" if _writes(answers) else "id, device, value",
        check=lambda text: _columns(text),
    ),
    BROKER,
    Question("queue", "The queue to read", lambda answers: answers["table"].rpartition(".")[2], asked=_writes),
    Question(
        "exchange",
        "The exchange that messages come from (- for none), or that rows are published to",
        lambda answers: "devices" if _writes(answers) else "rows",
    ),
    Question(
        "routing-key",
        "The routing key: with wildcards for messages, a template over the columns for rows",
        lambda answers: "reading.#" if _writes(answers) else f"row.{{{_names(answers)[0]}}}",
        asked=lambda answers: not _writes(answers) or answers["exchange"] != NOTHING,
    ),
    SECRETS,
)


def make(answers: Answers) -> Start:
    """Return the configuration for the answers, and what goes with it."""
    writes, secrets = _writes(answers), _secrets(answers)
    references = {secret.variable: secret.reference(answers["secrets"]) for secret in secrets}
    values = {**broker(answers["broker"]), **references, "connection": _connection(answers["database"])}
    if "DB_PASSWORD" in references:
        values["connection"]["Pwd"] = references["DB_PASSWORD"]
    values |= _subscribe_values(answers) if writes else _select_values(answers)
    return Start(
        program="dbconnector",
        option="-c",
        configuration=fill(read_template("dbconnector", f"{answers['mode']}.json"), values),
        opened=explain.opened,
        secrets=secrets,
        secret_source=answers["secrets"],
        run=_RUN[answers["mode"]],
        unit="dbconnector@NAME" if writes else "dbconnector-select@NAME.timer",
        check_unit="dbconnector-check@NAME",
        message=_message(answers) if writes else _row(answers),
    )


def _subscribe_values(answers: Answers) -> dict[str, Any]:
    names = _names(answers)
    columns, parameters = ", ".join(names), ", ".join(f":{name}" for name in names)
    typed = {name: {"path": name, "type": kind} for name, kind in _columns(answers["columns"]) if kind != "text"}
    bound = answers["exchange"] != NOTHING
    return {
        "insert": f"INSERT INTO {answers['table']} ({columns}) VALUES ({parameters})",
        "typed": typed or None,
        "queue": answers["queue"],
        "exchange": answers["exchange"] if bound else None,
        "routing_keys": [answers["routing_key"]] if bound else None,
    }


def _select_values(answers: Answers) -> dict[str, Any]:
    table, names = answers["table"], _names(answers)
    key = names[0]
    return {
        "query": f"SELECT {', '.join(names)} FROM {table} WHERE sent_at IS NULL ORDER BY {key}",
        "on_sent": f"UPDATE {table} SET sent_at = CURRENT_TIMESTAMP WHERE {key} = :{key}",
        "exchange": answers["exchange"],
        "routing_key": answers["routing_key"],
    }


def _message(answers: Answers) -> ExampleMessage:
    body = {name: _SAMPLES[kind] for name, kind in _columns(answers["columns"])}
    first = next(iter(body))
    return ExampleMessage("the sample becomes a row", body, first, f"a message without {first} is rejected")


def _row(answers: Answers) -> ExampleMessage | None:
    """Return a sample row; None if a row without a key would be published all the same."""
    row = {name: _SAMPLES[kind] for name, kind in _columns(answers["columns"])}
    first = next(iter(row))
    if f"{{{first}}}" not in answers["routing_key"]:
        return None
    return ExampleMessage("the sample becomes a message", row, first, f"a row without {first} fails", is_row=True)


def _secrets(answers: Answers) -> list[Secret]:
    user = _connection(answers["database"]).get("Uid")
    database = [Secret("DB_PASSWORD", "db", f"of the database user {user}")] if user else []
    return [*database, Secret("AMQP_PASSWORD", "amqp", f"of the broker's user {broker(answers['broker'])['username']}")]


def _columns(text: str) -> list[tuple[str, str]]:
    """Return the names and types of `device, at:timestamp`. Raise ValueError for what is neither."""
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


def _connection(text: str) -> dict[str, str]:
    """Return the ODBC keywords for an address, with a user where the database has users. Raise ValueError."""
    parts = address(text, _EXAMPLE)
    dialect = dialects.dialect_of_scheme(parts.scheme)
    if dialect is not None and dialect.file_keyword:
        if parts.host or not parts.name:
            raise ValueError(f"expected {parts.scheme}:///plant.db, or {parts.scheme}:////var/lib/plant.db")
        return {"Driver": dialect.installed_as, **dialect.keywords("", None, parts.name)}
    if not parts.host or not (parts.name or parts.scheme == "dsn"):
        raise ValueError(f"expected an address such as {_EXAMPLE}")
    if parts.scheme == "dsn":
        keywords = {"DSN": parts.host}
    elif dialect is not None:
        keywords = {"Driver": dialect.installed_as, **dialect.keywords(parts.host, parts.port, parts.name)}
    else:
        servers_first = sorted(dialects.known(), key=lambda each: each.file_keyword)
        raise ValueError(f"{parts.scheme}: there are {', '.join(each.name for each in servers_first)} and dsn")
    return {**keywords, "Uid": parts.user or "app"}


init = init_command("dbconnector", "db.config", QUESTIONS, make)

"""Options that the commands of `deadletter-queue` share. Imports no more than the table of commands."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from connectorlib.dataclass import dataclass
from connectorlib.service.cli_options import config_option, exit_codes

if TYPE_CHECKING:
    from deadletterqueue.filter import Chosen

Function = Callable[..., Any]

EXIT_CODES = exit_codes(
    " 0  done                      3  nothing to do",
    " 1  failed, or stopped       69  broker unreachable",
    " 2  usage error              77  login or permission refused",
    "                             78  bad configuration, or other arguments",
)
SOURCES = "Broker"


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the broker, as given on the command line; None where nothing was given."""

    file: str | None = None
    url: str | None = None
    host: tuple[str, ...] | None = None
    port: int | None = None
    vhost: str | None = None
    auth: str | None = None
    username: str | None = None
    password_file: str | None = None
    token_url: str | None = None
    token_client_id: str | None = None
    token_client_secret_file: str | None = None
    token_scope: str | None = None
    token_ca: str | None = None
    tls: bool | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: bool | None = None
    management_url: str | None = None

    def over(self, other: "Connection") -> "Connection":
        """Return this, completed with the values of the other one."""
        missing = {
            each.name: getattr(other, each.name) for each in fields(self) if getattr(self, each.name) in (None, ())
        }
        return replace(self, **missing)

    def command(self, *words: str) -> str:
        """Return the whole command for a shell that does something else on the same broker, as the same user. A
        password is not in it."""
        parts = ["deadletter-queue", *words]
        for each in fields(self):
            value = getattr(self, each.name)
            name = "-c" if each.name == "file" else f"--{each.name.replace('_', '-')}"
            if isinstance(value, bool):
                parts.append(name if value else f"--no-{name[2:]}")
            elif isinstance(value, tuple):
                parts += [part for item in value for part in (name, item)]
            elif value is not None:
                parts += [name, _without_password(value) if each.name == "url" else str(value)]
        return shlex.join(parts)


def _without_password(url: str) -> str:
    before, at, host = url.rpartition("@")
    scheme, _, user = before.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{host}" if at else url


_PORT = click.option("--port", type=click.IntRange(1, 65535), help="Port.  [5672, with TLS 5671]")
_CONNECTION = (
    config_option(required=False, about="A connector's configuration file, to read the broker's settings from."),
    click.option(
        "--url", metavar="URL", envvar="AMQP_URL", help="amqp://user@host:port/vhost, or amqps://… (AMQP_URL)."
    ),
    click.option("--host", multiple=True, help="Host, or host:port; several are tried in turn.  [127.0.0.1]"),
    _PORT,
    click.option("--vhost", help="Virtual host.  [/]"),
    click.option(
        "--auth",
        type=click.Choice(["plain", "external"]),
        help="How to log in: with user and password, or with the certificate of --cert.  [plain]",
    ),
    click.option("--username", help="User; with --auth external, for the management API only.  [guest]"),
    click.option(
        "--password-file",
        type=click.Path(dir_okay=False, allow_dash=True),
        help="File with the password, - for standard input. [AMQP_PASSWORD, otherwise a prompt]",
    ),
    click.option(
        "--token-url", metavar="URL", help="Log in with an OAuth 2 token from this server instead of a password."
    ),
    click.option("--token-client-id", metavar="ID", help="Client id at the token server."),
    click.option(
        "--token-client-secret-file",
        type=click.Path(dir_okay=False, allow_dash=True),
        help="File with the client secret, - for standard input. [AMQP_CLIENT_SECRET, otherwise a prompt]",
    ),
    click.option("--token-scope", metavar="SCOPES", help="Scopes to request."),
    click.option(
        "--token-ca", type=click.Path(dir_okay=False), help="Additional CA certificates to trust for the token server."
    ),
    click.option("--tls/--no-tls", default=None, help="Encrypt; on by default for port 5671 and amqps://."),
    click.option("--ca", type=click.Path(dir_okay=False), help="CA certificates to trust.  [the system's]"),
    click.option("--cert", type=click.Path(dir_okay=False), help="Certificate of this client."),
    click.option("--key", type=click.Path(dir_okay=False), help="Private key of this client."),
    click.option("--server-name", help="Name in the broker's certificate, if it is not the host."),
    click.option(
        "--verify/--no-verify", default=None, help="Verify the broker's certificate; switch it off only for tests."
    ),
    click.option(
        "--management-url",
        metavar="URL",
        help="Address of RabbitMQ's management API.  [http://HOST:15672, with TLS https://HOST:15671]",
    ),
)


def connection_options(function: Function) -> Function:
    """Give a command the options of the broker, as `connection`. They may also precede the name of the command."""
    return _with_connection(function, _CONNECTION)


def connection_options_but_port(function: Function) -> Function:
    """Give a command the same options except `--port`, which means something else there."""
    return _with_connection(function, [option for option in _CONNECTION if option is not _PORT])


def _with_connection(function: Function, options: Sequence[Function]) -> Function:
    @wraps(function)
    def wrapped(**values: Any) -> Any:
        ctx = click.get_current_context()
        names = [each.name for each in fields(Connection) if each.name != "port" or _PORT in options]
        own = Connection(**{name: values.pop(name) for name in names})
        outer = ctx.find_object(Connection)
        return function(connection=own.over(outer) if outer else own, **values)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters a command is about, as given on the command line."""

    #: The dead-letter queue to look into; None: `dead-letter`, or that of the configuration file.
    source: str | None
    where: tuple[str, ...]
    queue: str | None
    connector: str | None
    reason: str | None
    since: str | None
    until: str | None
    match: tuple[str, ...]
    #: How many at most; None: all, or what the command thinks right.
    limit: int | None

    @property
    def given(self) -> bool:
        """Whether any filter but `--limit` is given."""
        return any((self.where, self.queue, self.connector, self.reason, self.since, self.until, self.match))

    def chooser(self) -> "Chosen":
        """Return the predicate for letters. Raise click.UsageError if an option is not valid."""
        from deadletterqueue.filter import chooser, parse_instant  # late, see the module

        now = datetime.now(UTC)
        try:
            return chooser(
                where=self.where,
                queue=self.queue,
                connector=self.connector,
                reason=self.reason,
                since=parse_instant(self.since, now) if self.since else None,
                until=parse_instant(self.until, now) if self.until else None,
                match=self.match,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error


_FILTERS = (
    click.option(
        "--from",
        "source",
        metavar="QUEUE",
        help="The dead-letter queue to use.  [dead-letter, or that of the configuration file]",
    ),
    click.option(
        "--where",
        multiple=True,
        metavar="FIELD=PATTERN",
        help="code=22001, text=*duplicate*, fingerprint=…; repeatable.",
    ),
    click.option("--queue", metavar="PATTERN", help="Only those dead-lettered from this queue."),
    click.option("--connector", metavar="PATTERN", help="Only those of this connector."),
    click.option("--reason", metavar="PATTERN", help="reject, retries-exhausted, unknown, bug, expired, rejected, …"),
    click.option("--since", metavar="WHEN", help="Dead-lettered within the last 2h, 7d; or since 2026-03-01T22:00."),
    click.option("--until", metavar="WHEN", help="Dead-lettered longer ago than this, or before this time."),
    click.option(
        "--match", multiple=True, metavar="EXPRESSION=PATTERN", help="By the body: device.id=p-7; repeatable."
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Limit the number of messages."),
)


def filter_options(function: Function) -> Function:
    """Give a command the options that filter dead letters, as `filters`."""

    @wraps(function)
    def wrapped(**values: Any) -> Any:
        return function(filters=Filters(**{each.name: values.pop(each.name) for each in fields(Filters)}), **values)

    for option in reversed(_FILTERS):
        wrapped = option(wrapped)
    return wrapped


_SECONDS = {"s": 1, "m": 60, "h": 3600}
#: One message a minute: at a slower rate, messages would be held for too long.
SLOWEST = 1 / 60


class Rate(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """`50/s`, `30/m`, as messages a second."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(?:/([smh]))?", str(value).replace(" ", ""))
        if found is None:
            self.fail(f"{value!r}: expected messages a second or a minute, such as 50/s or 30/m", param, ctx)
        rate = float(found[1]) / _SECONDS[found[2] or "s"]
        if rate < SLOWEST:
            self.fail(f"{value!r}: the slowest is 1/m", param, ctx)
        return rate


@dataclass(frozen=True, slots=True)
class Sending:
    """How to send back, as given on the command line."""

    to_exchange: str | None
    to_queue: str | None
    rate: float | None
    in_flight: int
    dry_run: bool


_SENDING = (
    click.option(
        "--to-exchange",
        metavar="X",
        help="Send to this exchange with the original routing key instead; `origin`: the original exchange.",
    ),
    click.option("--to-queue", metavar="Q", help="Send to this queue instead of the original one."),
    click.option("--rate", type=Rate(), help="At most this fast: 50/s, 30/m.  [as fast as the broker confirms]"),
    click.option(
        "--in-flight",
        type=click.IntRange(1, 1000),
        default=1,
        show_default=True,
        metavar="N",
        help="Messages in progress at a time. More is faster; if killed, this many may be duplicated. None is lost.",
    ),
    click.option("--dry-run", is_flag=True, help="Only show what would be sent where."),
)


def sending_options(function: Function) -> Function:
    """Give a command the options for sending back, as `sending`."""

    @wraps(function)
    def wrapped(**values: Any) -> Any:
        own = Sending(**{each.name: values.pop(each.name) for each in fields(Sending)})
        if own.to_exchange is not None and own.to_queue is not None:
            raise click.UsageError("--to-exchange and --to-queue exclude each other")
        return function(sending=own, **values)

    for option in reversed(_SENDING):
        wrapped = option(wrapped)
    return wrapped


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
stream_option = click.option(
    "--stream",
    metavar="NAME",
    help="The stream that holds the journal.  [as in the file of -c, otherwise connector-journal]",
)

"""How to reach the broker: from options, or a connector's configuration file."""

import getpass
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from connectorlib.config import Review, bundle, file_modes
from connectorlib.config.broker_rules import review_broker
from connectorlib.config.document import Document, open_document
from connectorlib.config.sections import PLAIN_PORT, TLS_PORT
from connectorlib.config.sections import broker_settings as of_section
from connectorlib.errors import ConfigurationError, Failed, Failure, Kind
from connectorlib.service.redaction import secrets
from connectorlib.shared_settings import BrokerSettings, HttpTls, Journal, Tls, TokenSettings
from connectorlib.values.hosts import parse_host
from deadletterqueue.options import Connection

PASSWORD_VARIABLE = "AMQP_PASSWORD"  # noqa: S105  # the name, not a value
SECRET_VARIABLE = "AMQP_CLIENT_SECRET"  # noqa: S105  # as above
#: Where the configuration of each connector says how to reach the broker.
_SECTIONS: tuple[tuple[str, ...], ...] = (("broker",), ("tenant", "amqp"))
_BROKER: dict[str, Any] = {"$ref": "urn:amqp-connectors:common#/$defs/broker"}
_SCHEMA = bundle(
    {
        "type": "object",
        "properties": {"broker": _BROKER, "tenant": {"type": "object", "properties": {"amqp": _BROKER}}},
    }
)


def broker_settings(given: Connection) -> BrokerSettings:
    """Return how to reach the broker: the configuration file, over it the URL, over it the single options.
    Raise Failed."""
    settings = _from_file(given.file) if given.file else BrokerSettings()
    settings = _with_auth(settings, given)
    if given.url:
        settings = _with_url(settings, given.url)
    settings = _with_options(settings, given)
    settings = _with_token(settings, given)
    if settings.token:
        secrets.add(settings.token.client_secret)
    elif given.username or given.password_file or _no_password(given, settings):
        settings = replace(settings, password=_password(given, settings))
    if settings.auth == "external" and not (settings.tls and settings.tls.cert):
        raise _wrong("--auth external logs in with a certificate: give --cert")
    secrets.add(settings.password)
    return settings


def journal_stream(given: Connection) -> str:
    """Return the name of the journal: that of the configuration file, else the default one. Raise Failed."""
    journal = open_document(given.file, _SCHEMA).data.get("journal") if given.file else None
    name = journal.get("stream") if isinstance(journal, dict) else None
    return name if isinstance(name, str) and name else Journal().stream


def _from_file(file: str) -> BrokerSettings:
    """Read only the section of the broker: who looks at dead letters need not have the database's password."""
    document = open_document(file, _SCHEMA)
    for path in _SECTIONS:
        section: Any = document.data
        for key in path:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            _refuse(document, path)
            return of_section(section, document.folder)
    document.fail()
    text = f"{file}: neither `broker` nor `tenant.amqp` is in it; is it the configuration of a connector?"
    raise _wrong(text)


def _refuse(document: Document, path: tuple[str, ...]) -> None:
    """Raise ConfigurationError for mistakes in the section of the broker; others do not matter."""
    review = Review(document)
    review_broker(review, path)
    try:
        review.finish()
    except ConfigurationError as error:
        name = ".".join(path)
        mine = [each for each in error.problems if each.path in ("", name) or each.path.startswith(f"{name}.")]
        if mine:
            raise ConfigurationError(error.file, mine) from error


def _with_auth(settings: BrokerSettings, given: Connection) -> BrokerSettings:
    """Change the way to log in; the default user is none of the management API's."""
    if given.auth == "external" and settings.username == BrokerSettings().username:
        settings = replace(settings, username="", password="")
    return replace(settings, auth=given.auth or settings.auth)


def _with_url(settings: BrokerSettings, url: str) -> BrokerSettings:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # the message may contain a part of the password
        text = "--url: no address; in a password / @ : [ have to be written as %2F %40 %3A %5B"
        raise _wrong(text) from error
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise _wrong("--url has to look like amqp://user@host:5672/vhost, or amqps://…")
    tls = (settings.tls or Tls()) if parts.scheme == "amqps" else None
    found = replace(settings, hosts=((parts.hostname, port or (TLS_PORT if tls else PLAIN_PORT)),), tls=tls)
    if parts.username:
        found = replace(found, username=unquote(parts.username), token=None)
    if parts.password is not None:
        found = replace(found, password=unquote(parts.password))
    # amqp://host is the default virtual host; amqp://host/ is the one whose name is empty, which nobody has.
    return replace(found, virtual_host=unquote(parts.path[1:])) if len(parts.path) > 1 else found


def _with_options(settings: BrokerSettings, given: Connection) -> BrokerSettings:
    tls = _tls(settings, given)
    hosts = settings.hosts
    if given.host:
        try:
            named = [parse_host(text) for text in given.host]
        except ValueError as error:
            raise _wrong(f"--host: {error}") from error
        port = given.port or (TLS_PORT if tls else PLAIN_PORT)
        hosts = tuple((name, own or port) for name, own in named)
    elif given.port:
        hosts = tuple((name, given.port) for name, _ in hosts)
    elif tls and not settings.tls:
        hosts = tuple((name, TLS_PORT if port == PLAIN_PORT else port) for name, port in hosts)
    return replace(
        settings,
        hosts=hosts,
        tls=tls,
        virtual_host=given.vhost if given.vhost is not None else settings.virtual_host,
        username=given.username or settings.username,
        token=None if given.username else settings.token,
    )


def _with_token(settings: BrokerSettings, given: Connection) -> BrokerSettings:
    """Log in with a token if an option or the file says so."""
    options: dict[str, Any] = {"url": given.token_url, "client_id": given.token_client_id, "scope": given.token_scope}
    options |= {"tls": HttpTls(given.token_ca) if given.token_ca else None}
    wanted = {name: value for name, value in options.items() if value is not None}
    if not wanted and not given.token_client_secret_file:
        return settings
    if given.username or given.auth == "external":
        raise _wrong("--token-url logs in with a token; leave out --username and --auth external")
    token = replace(settings.token or TokenSettings("", "", ""), **wanted)
    if not token.url or not token.client_id:
        raise _wrong("a login with a token needs --token-url and --token-client-id")
    if given.token_client_secret_file or not token.client_secret:
        file = given.token_client_secret_file
        secret = _secret("secret", token.client_id, "--token-client-secret-file", file, SECRET_VARIABLE)
        token = replace(token, client_secret=secret)
    return replace(settings, token=token, username=token.client_id, password="")


def _tls(settings: BrokerSettings, given: Connection) -> Tls | None:
    wanted = {
        name: value
        for name in ("ca", "cert", "key", "server_name", "verify")
        if (value := getattr(given, name)) is not None
    }
    if given.tls is False:
        if wanted:
            raise _wrong(f"--no-tls leaves no use for --{next(iter(wanted)).replace('_', '-')}")
        return None
    on = given.tls or settings.tls is not None or bool(wanted) or given.port == TLS_PORT
    return replace(settings.tls or Tls(), **wanted) if on else None


def _no_password(given: Connection, settings: BrokerSettings) -> bool:
    """Return whether there is a user without a password: `amqp://user@host`."""
    default = BrokerSettings()
    return not given.file and settings.username != default.username and settings.password == default.password


def _password(given: Connection, settings: BrokerSettings) -> str:
    default = settings.password if settings.username == BrokerSettings().username else None
    return _secret("password", settings.username, "--password-file", given.password_file, PASSWORD_VARIABLE, default)


def _secret(what: str, of: str, option: str, file: str | None, variable: str, default: str | None = None) -> str:
    """Return a secret from its file or its variable; without either the default, else ask for it. Raise Failed."""
    if file == "-":
        return sys.stdin.readline().rstrip("\r\n")
    if file:
        return _read_secret(option, file)
    if (found := os.environ.get(variable, default)) is not None:
        return found
    if sys.stdin.isatty() and sys.stderr.isatty():
        return getpass.getpass(f"{what.capitalize()} of {of}: ", sys.stderr)
    raise _wrong(f"no {what} for {of}: give {option}, or set {variable}")


def _read_secret(option: str, file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _wrong(f"{option} {file} cannot be read: {reason}") from error
    if file_modes.is_open(file):
        raise _wrong(f"{option} {file} is not private: {file_modes.advice(file)}")
    return text.removesuffix("\n").removesuffix("\r")


def _wrong(text: str) -> Failed:
    return Failed(Failure(Kind.CONFIGURATION, "configuration", text))

"""`serve`: serves the page until SIGTERM."""

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import click

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service import redaction
from connectorlib.service.cli_options import not_listening
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.http_server import Server
from connectorlib.values.hosts import is_loopback
from connectorlib.values.text import printable
from deadletterqueue.broker_login import journal_stream
from deadletterqueue.connector_check import Check, open_check
from deadletterqueue.options import Connection
from deadletterqueue.session import failure_text, open_session
from deadletterqueue.web.access import SHORTEST_TOKEN, Access
from deadletterqueue.web.app import LARGEST_FORM, Application
from deadletterqueue.web.jobs import Workspace

THREADS = 16


def run_serve(
    connection: Connection,
    source: str | None,
    stream: str | None,
    host: str,
    port: int,
    token_file: str | None,
    names: Sequence[str],
    originals: str,
) -> ExitCode:
    """Serve the page until SIGTERM; the originals of changed messages are kept in the folder `originals`. Raise Failed
    if the broker cannot be reached or the port not bound."""
    token = _token(token_file) if token_file else None
    made = not is_loopback(host) and token is None
    if made:
        token = secrets.token_urlsafe(24)
    if token is not None:
        redaction.secrets.add(token)
    own = () if is_loopback(host) else (socket.gethostname(), socket.getfqdn())
    with open_session(connection, source) as session:
        workspace = Workspace(session, _check(connection), stream or journal_stream(connection), originals=originals)
        application = Application(workspace, Access(token, (*own, *names)), f"deadletter-queue-{port}")
        server = Server(application, host, port, threads=THREADS, largest_body=LARGEST_FORM)
        try:
            url = server.bind()
        except OSError as error:
            raise _wrong(not_listening(host, port, error)) from error
        with server.serving():
            for anywhere in ("//0.0.0.0:", "//[::]:"):  # no address for a browser
                url = url.replace(anywhere, f"//{socket.gethostname()}:")
            click.echo(f"The dead letters of {session.queue} are at {url} (open it in a browser)")
            if made:
                click.echo(f"Access token, until the end of this process: {token}")
            if not is_loopback(host):
                click.echo("Not encrypted: put it behind a proxy with TLS, or use loopback and `ssh -L`.", err=True)
            session.stop.wait()
        workspace.jobs.close()
    return ExitCode.DONE


def _check(connection: Connection) -> Check | None:
    """Return the check of the connector whose configuration was given, for changed messages."""
    if connection.file is None:
        return None
    try:
        return open_check(connection.file)
    except Failed as failed:
        text = f"changed messages are only checked for being readable, not by the configuration: {failure_text(failed)}"
        click.echo(redaction.secrets.redact(printable(text, lines=True)), err=True)
        return None


def _token(file: str) -> str:
    try:
        token = Path(file).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise _wrong(f"--token-file: {error}") from error
    if len(token) < SHORTEST_TOKEN:
        raise _wrong(
            f"--token-file: {file} holds a token of less than {SHORTEST_TOKEN} characters, which can be guessed"
        )
    return token


def _wrong(text: str) -> Failed:
    return Failed(Failure(Kind.CONFIGURATION, "configuration", text))

"""The command `status`, the same in all connectors: asks the running process on its monitoring port. Reads only
`monitoring` of the configuration, and needs no secret."""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from connectorlib.config.document import open_document
from connectorlib.config.secrets import References, Unresolved, typed
from connectorlib.errors import ConfigurationError
from connectorlib.monitoring.status_text import as_text
from connectorlib.service.cli_options import config_option, exit_codes
from connectorlib.service.exit_codes import ExitCode
from connectorlib.shared_settings import Monitoring
from connectorlib.values.text import printable

#: Longer than the answer takes while the broker does not answer the process.
TIMEOUT_S = 10.0
LARGEST = 16 * 1024 * 1024

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - addresses to listen on, not to connect to


class NoAnswer(Exception):
    """No status could be read; the text says why, and what to do."""


def status_command(program: str, file: str, last_success: str = "last write") -> click.Command:
    """Return the command of a program. Examples call its configuration `file`; the status calls the last message that
    arrived in the target `last_success`."""

    @click.command(
        "status",
        epilog=exit_codes(
            " 0  running",
            " 1  something is paused or stuck",
            " 2  usage error",
            "69  no process responds",
            "78  the configuration cannot be read, or has no section monitoring",
        ),
        help=f"""Query the running process on its monitoring port. The last line states the first problem and what to
        do.

        \b
        {program} status -c {file}
        {program} status -c {file} --json

        It reads only `monitoring` of the configuration and needs no secret.
        """,
    )
    @config_option()
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.pass_context
    def command(ctx: click.Context, file: str, as_json: bool) -> None:
        ctx.exit(status(program, file, as_json=as_json, last_success=last_success))

    return command


def status(connector: str, file: str, *, as_json: bool, last_success: str) -> ExitCode:
    """Print the status of the process that runs this configuration. Return 0 if all runs, 1 if something is paused or
    stuck, 69 if no process answers, 78 if the file has no usable section `monitoring`."""
    try:
        settings = monitoring_of(file)
    except ValueError as error:
        click.echo(f"{file}: {error}", err=True)
        return ExitCode.BAD_CONFIGURATION
    try:
        found = ask(settings, connector)
    except NoAnswer as error:
        if as_json:
            click.echo(json.dumps({"exit": int(ExitCode.UNREACHABLE), "conclusion": str(error)}, indent=2))
        else:
            click.echo(str(error), err=True)
        return ExitCode.UNREACHABLE
    as_printed = json.dumps(found, indent=2, ensure_ascii=False) if as_json else as_text(found, last_success)
    click.echo(printable(as_printed, lines=True))
    ours = str(Path(file).absolute())
    if found["file"] != ours:
        click.echo(f"note: this process runs {found['file']}, not {ours}", err=True)
    return ExitCode.FAILED if found["exit"] else ExitCode.DONE


def monitoring_of(file: str) -> Monitoring:
    """Return the section `monitoring` of a configuration. Raise ValueError if it has no port to connect to."""
    try:
        document = open_document(file, {}, resolve_secrets=False)
    except ConfigurationError as error:
        raise ValueError("; ".join(map(str, error.problems))) from error
    section = document.data.get("monitoring")
    if section is None:
        none = 'there is no section "monitoring", so the process has no port to query; add "monitoring": {"port": 9400}'
        raise ValueError("; ".join(map(str, document.problems)) or none)
    if not isinstance(section, dict):
        raise ValueError("monitoring: expected an object")
    defaults = Monitoring()
    host = _resolved(section.get("host", defaults.host), file, "string")
    port = _resolved(section.get("port", defaults.port), file, "integer")
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int):
        raise ValueError("monitoring: expected a host as text, and a port as number")
    if not 0 < port < 65536:
        text = "0 means any free port, which only the log shows; set a fixed port" if port == 0 else "no port"
        raise ValueError(f"monitoring.port: {text}")
    return Monitoring(host, port)


def _resolved(value: Any, file: str, kind: str) -> Any:
    if not isinstance(value, str) or not (value.startswith("${") and value.endswith("}")):
        return value
    try:
        return typed(References(folder=Path(file).absolute().parent).look_up(value[2:-1]), {kind})
    except Unresolved as error:
        raise ValueError(f"monitoring: {error}") from error


def ask(settings: Monitoring, connector: str | None) -> Mapping[str, Any]:
    """Return the status document of a connector, None for any of them. Raise NoAnswer."""
    host = ANY_ADDRESS.get(settings.host, settings.host)
    where = f"{host}:{settings.port}"
    connection = http.client.HTTPConnection(host, settings.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/status", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(LARGEST)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(_no_answer(where, connector or "connector", error)) from error
    finally:
        connection.close()
    try:
        found = json.loads(body)
        answers = found["connector"]
    except (ValueError, LookupError, TypeError):
        text = f"what answers on {where} (HTTP {response.status}) is not a connector: choose another port"
        raise NoAnswer(f"{text} monitoring.port") from None
    if connector and answers != connector:
        text = f"{answers} answers on {where}, not {connector}: give each process its own monitoring.port"
        raise NoAnswer(text)
    return dict(found)


def _no_answer(where: str, connector: str, error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        text = "it is not running, or not with this configuration: start it, or see why it stopped (journalctl -e -u …)"
        return f"no {connector} answers on {where}: {text}"
    if isinstance(error, TimeoutError):
        return f"{connector} does not answer on {where} within {TIMEOUT_S:g} s: it is hung; restart it"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"no {connector} answers on {where}: {reason}"

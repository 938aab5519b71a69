"""`sfconnector sandbox`: options, the state file, and the life of the server. Only click and the standard library are
imported before it runs."""

import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from connectorlib.service.bootstrap import needing, running
from connectorlib.service.cli_options import HELP_OPTIONS, Duration, exit_codes, not_listening
from connectorlib.service.lazy_group import Lazy, LazyGroup

if TYPE_CHECKING:
    from connectorlib.service.exit_codes import ExitCode
    from connectorlib.service.process import Life
    from sfconnector.sandbox.world import Sandbox

logger = logging.getLogger(__name__)

SAVE_EVERY = 1.0  # seconds
COMMANDS = {
    "fail": Lazy("sfconnector.sandbox.fail_command:command", "Make a running sandbox fail, to rehearse an outage.")
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    invoke_without_command=True,
    context_settings=HELP_OPTIONS,
    epilog=exit_codes("0  stopped by SIGTERM or Ctrl-C", "1  a file or the port cannot be used", "2  usage error"),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0: any free one."
)
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="Keep the records in this file (JSON).")
@click.option(
    "--schema",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help='More objects and fields: {"objects": [...]}, or the describe answer of your org (JSON).',
)
@click.option("--latency", type=Duration(), help="How long every call takes, e.g. 150ms.")
@click.option("--empty", is_flag=True, help="Start without users, apps and customers, for tests.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Run a Salesforce on this machine, until SIGTERM.

    \b
    sfconnector sandbox
    sfconnector sandbox --port 8081 --state org.json
    sfconnector sandbox --schema describe-of-my-case.json --latency 150ms
    sfconnector sandbox fail 503 --for 30s    the running one fails for 30 seconds

    It has the parts of the REST API that sfconnector uses, with their refusals, and keeps nothing when it stops unless
    --state is given. Open its address in a browser to see the Cases arrive, and to make calls fail.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_run(**options))
    if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in options):
        raise click.UsageError(f"the options before it belong to the sandbox; {ctx.invoked_subcommand} has its own")


@needing("sandbox", "the sandbox")
def _run(
    host: str, port: int, state: Path | None, schema: Path | None, latency: float | None, *, empty: bool
) -> "ExitCode":
    from sfconnector.sandbox.world import Sandbox  # late, see the module

    with running("sfconnector sandbox") as life:
        try:
            sandbox = Sandbox(_read(schema) if schema else None)
            is_demo = _fill(sandbox, state, empty=empty)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"cannot be used: {error}") from error
        sandbox.world.switches.latency_ms = (latency or 0.0) * 1000
        return _serve(sandbox, life, host, port, state, is_demo)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _fill(sandbox: "Sandbox", state: Path | None, *, empty: bool) -> bool:
    """Load the state file, else the demo data; return whether it was the demo."""
    if state is not None and state.exists():
        sandbox.world.restore(_read(state))
        return False
    if not empty:
        from sfconnector.sandbox import demo_data  # late, see the module

        demo_data.fill(sandbox.world)
    return not empty


def _serve(sandbox: "Sandbox", life: "Life", host: str, port: int, state: Path | None, is_demo: bool) -> "ExitCode":
    from connectorlib.service.exit_codes import ExitCode  # late, see the module
    from connectorlib.service.http_server import Server
    from sfconnector.sandbox.application import Application
    from sfconnector.sandbox.sandbox_server import LARGEST_BODY, THREADS

    application = Application(sandbox)
    server = Server(application, host, port, threads=THREADS, largest_body=LARGEST_BODY)
    try:
        url = server.bind()
    except OSError as error:
        click.echo(not_listening(host, port, error), err=True)
        return ExitCode.FAILED
    _greet(sandbox, url, is_demo)
    saver = threading.Thread(target=_save, args=(sandbox, state), name="state") if state is not None else None
    if saver is not None:
        saver.start()
    with server.serving():
        life.stop.wait()
        sandbox.stopping.set()
    if saver is not None:
        sandbox.dirty.set()
        saver.join()
    return ExitCode.DONE


def _greet(sandbox: "Sandbox", url: str, is_demo: bool) -> None:
    click.echo(f"A local Salesforce is at {url} (Cases: open it in a browser)")
    if is_demo:
        from sfconnector.sandbox import demo_data  # late, see the module

        users = ", ".join(demo_data.USERS.values())
        click.echo(f"Users: {users}, password {demo_data.PASSWORD}, token {demo_data.SECURITY_TOKEN}")
        click.echo(f"A configuration of sfconnector for it:\n{demo_data.configuration(url)}")


def _save(sandbox: "Sandbox", file: Path) -> None:
    """Write the complete state after changes and at the end."""
    while True:
        sandbox.dirty.wait()
        ending = sandbox.stopping.wait(SAVE_EVERY)
        sandbox.dirty.clear()
        new = file.with_name(file.name + ".new")
        try:
            # Readable by the owner only: it holds passwords.
            with open(new, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
                json.dump(sandbox.world.export(), out)
            new.replace(file)
        except OSError as error:
            logger.error("the state was not kept: %s", error)
        if ending:
            return

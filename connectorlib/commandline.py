"""What the commands of both connectors share on the command line. Imports only click and the standard library before
a command runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:
    from connectorlib.process import Life
    from connectorlib.settings import Logging

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
#: They come with the extras `web` and `sandbox`.
WEB_LIBRARIES = ("cheroot", "markupsafe", "werkzeug")


class Logged(Protocol):
    """A loaded configuration that says how to log."""

    @property
    def logging(self) -> "Logging":
        """How, and how much."""


Loaded = TypeVar("Loaded", bound=Logged)
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def config_option(
    *, required: bool = True, about: str = "The configuration file (JSON)."
) -> Callable[[Decorated], Decorated]:
    """Return the decorator for `file`: -c, -i and --config are one option in every command of both connectors."""
    return click.option(
        "-c",
        "-i",
        "--config",
        "file",
        required=required,
        type=click.Path(dir_okay=False),
        help=about,
    )


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """`30s`, `5m`, `1h`, as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from connectorlib.config.durations import parse_duration  # late, see the module

        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Commands(click.Group):
    """A group whose commands stand in the order in which they were written, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Tell how to install the libraries of an extra of ours when one of them is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        if library not in WEB_LIBRARIES:
            raise
        raise click.ClickException(f"{what} needs {library}: pip install 'amqp-connectors[{extra}]'") from error


@contextmanager
def running(program: str) -> "Iterator[Life]":
    """Log to stderr and listen to signals while a command runs."""
    from connectorlib import logs  # late, see the module
    from connectorlib.process import Life
    from connectorlib.settings import Logging

    without_core_dumps()
    logs.configure(Logging(), program)  # until the configuration has said how
    with Life() as life:
        yield life


def without_core_dumps() -> None:
    """Leave no copy of the memory behind when this process crashes: it holds passwords and messages."""
    try:
        import resource
    except ModuleNotFoundError:  # where there are no such limits
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def logging_as_told(load: Callable[[str], Loaded], program: str) -> Callable[[str], Loaded]:
    """Return `load`, with the log set up as the configuration says."""

    def load_and_log(file: str) -> Loaded:
        from connectorlib import logs  # late, see the module

        config = load(file)
        logs.configure(config.logging, program)
        return config

    return load_and_log


def add_status(main: click.Group, program: str) -> None:
    """Give a connector the command that asks the running one how it is doing."""

    @main.command(short_help="Tell how the running one is doing.")
    @config_option()
    @click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
    @click.pass_context
    def status(ctx: click.Context, file: str, as_json: bool) -> None:
        """Ask the running process on its monitoring port, and end with the first thing that is wrong and what to do.

        Reads only `monitoring` of the configuration, and needs no secret. Exits with 0 if all is running, 1 if
        something is paused or stuck, 69 if no process answers.
        """
        from connectorlib.monitoring import asking  # late: needed by this command alone

        ctx.exit(asking.status(program, file, as_json=as_json))

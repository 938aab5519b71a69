"""What the commands of both connectors share on the command line. Imports only click and the standard library before
a command runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:
    from connectorlib.service.process import Life
    from connectorlib.shared_settings import Logging

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
    """A group whose commands stand in the order in which they were written, not by the alphabet. Its exit codes are
    those of each command that has none of its own."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        cmd.epilog = cmd.epilog or self.epilog
        super().add_command(cmd, name)

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
    from connectorlib.service import logs  # late, see the module
    from connectorlib.service.process import Life
    from connectorlib.shared_settings import Logging

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
        from connectorlib.service import logs  # late, see the module

        config = load(file)
        logs.configure(config.logging, program)
        return config

    return load_and_log


class Later(click.Command):
    """A command whose module is imported when the command is typed, so that what else is typed does not pay for it."""

    def __init__(self, name: str, short_help: str, load: Callable[[], click.Command]) -> None:
        super().__init__(name, short_help=short_help)
        self._load = load

    @cached_property
    def real(self) -> click.Command:
        return self._load()

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self.real.make_context(info_name, args, parent, **extra)


def real(command: click.Command) -> click.Command:
    """Return the command itself, with its options, whether or not it has been typed."""
    return command.real if isinstance(command, Later) else command


def exit_codes(*lines: str) -> str:
    """Return the end of a command's help, given `0  done` and so on."""
    return "\b\nExit codes:\n" + "\n".join(f"  {line}" for line in lines)


def add_completion(main: click.Group, program: str) -> None:
    """Give a program the command that makes a shell complete it."""

    @main.command(
        short_help="Print what makes a shell complete commands and options.",
        epilog=exit_codes("0  printed", "2  not a shell that is known"),
        help=f"""Print the script that makes a shell complete the commands, options and files of {program}.

        \b
        source <({program} completion bash)    in ~/.bashrc, for every shell
        {program} completion zsh > ~/.zfunc/_{program}
        {program} completion fish | source

        For zsh the folder has to be in $fpath before compinit runs; for fish the line stands in config.fish.
        """,
    )
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        from click.shell_completion import get_completion_class  # late: needed by this command alone

        kind = get_completion_class(shell)
        assert kind is not None
        variable = f"_{program}_complete".replace("-", "_").upper()  # which click looks for
        click.echo(kind(main, {}, program, variable).source())


def add_init(main: click.Group, load: Callable[[], click.Command]) -> None:
    """Give a connector the command that writes a configuration to start from."""
    main.add_command(Later("init", "Write a configuration to start from, after a few questions.", load))


def add_status(main: click.Group, program: str, file: str) -> None:
    """Give a connector the command that asks the running one how it is doing."""

    @main.command(
        short_help="Tell how the running one is doing.",
        epilog=exit_codes(
            " 0  all is running",
            " 1  something is paused or stuck",
            " 2  wrong usage",
            "69  no process answers",
            "78  the configuration cannot be read, or has no section monitoring",
        ),
        help=f"""Ask the running process on its monitoring port, and end with the first thing that is wrong and what to
        do.

        \b
        {program} status -c {file}
        {program} status -c {file} --json

        Reads only `monitoring` of the configuration, and needs no secret.
        """,
    )
    @config_option()
    @click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
    @click.pass_context
    def status(ctx: click.Context, file: str, as_json: bool) -> None:
        from connectorlib.monitoring import status_command  # late: needed by this command alone

        ctx.exit(status_command.status(program, file, as_json=as_json))

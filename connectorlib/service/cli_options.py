"""Options and help texts that all programs share. Imports only click and the standard library."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from connectorlib.values.durations import parse_duration

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

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
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def exit_codes(*lines: str) -> str:
    """Return the end of a command's help, given `0  done` and so on."""
    return "\b\nExit codes:\n" + "\n".join(f"  {line}" for line in lines)


def not_listening(host: str, port: int, error: OSError) -> str:
    """Return the message of a command with the option --port that cannot listen there."""
    return f"cannot listen on {host}:{port}: {error.strerror or error}; choose another port with --port"

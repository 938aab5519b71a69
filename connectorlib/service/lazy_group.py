"""Command groups whose commands are imported only when they are used. Imports only click, the standard library
and the exit codes."""

import errno
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

import click
import click.formatting

from connectorlib.service.exit_codes import ExitCode, is_unwritable


class Lazy(NamedTuple):
    """Where a command is defined, and what the group's help says about it."""

    #: `module:attribute`: a command, or a function that returns one.
    target: str
    short_help: str
    #: The arguments of the function.
    arguments: tuple[str, ...] = ()
    #: Whether it is a daemon: SIGUSR1 and SIGHUP do not end it, not even while it is imported.
    daemon: bool = False


class LazyCommand(click.Command):
    """The entry of a group for a command that is imported when it runs, or when its help is asked for."""

    def __init__(self, name: str, lazy: Lazy) -> None:
        super().__init__(name, short_help=lazy.short_help)
        self._lazy = lazy

    @cached_property
    def command(self) -> click.Command:
        """The command itself, with its options."""
        module, _, attribute = self._lazy.target.partition(":")
        found = getattr(import_module(module), attribute)
        return found if isinstance(found, click.Command) else found(*self._lazy.arguments)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if self._lazy.daemon:
            from connectorlib.service.early_signals import keep_early_signals  # late: others do without

            keep_early_signals()
        return self.command.make_context(info_name, args, parent, **extra)


def _open_streams() -> None:
    """Let standard streams that were closed at the start (`>&-`) lead nowhere. Otherwise the next file or connection
    would take the number of one, and what a driver prints would be written into that."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode))  # noqa: SIM115 - as long as the process


def help_width() -> int | None:
    """Return how wide click makes a help text, None if it has been told. Left to find it, it imports five modules."""
    if click.formatting.FORCED_WIDTH is not None:
        return None
    try:
        columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(1).columns
    except (ValueError, OSError):  # no terminal
        columns = 0
    return max(min(columns or 80, 80) - 2, 50)


class LazyGroup(click.Group):
    """A group given by a table. Its help lists the commands in the order of the table and imports none of them."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **settings: Any) -> None:
        super().__init__(*args, **settings)
        for name, entry in lazy.items():
            self.add_command(LazyCommand(name, entry))

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return super().make_context(info_name, args, parent, **{"terminal_width": help_width(), **extra})

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run a command. Standard output that cannot be written costs a line and the exit code 1, not a traceback."""
        _open_streams()
        try:
            try:
                return super().main(*args, **settings)
            finally:
                sys.stdout.flush()  # or Python would find it at its very end, and tell it in its own way
        except OSError as error:
            if not is_unwritable(error):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what is left in the buffer
            if error.errno != errno.EPIPE:
                print(f"standard output cannot be written: {error.strerror}", file=sys.stderr)
            sys.exit(ExitCode.FAILED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def load(self, name: str) -> click.Command:
        """Return a command of the table, imported."""
        command = self.commands[name]
        return command.command if isinstance(command, LazyCommand) else command

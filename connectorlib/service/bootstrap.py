"""What every command does before its work: the log, signals, no core dumps, and optional libraries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import click

from connectorlib.service import logs
from connectorlib.service.process import Life
from connectorlib.shared_settings import Logging

#: Comes with the extras `web` and `sandbox`.
WEB_LIBRARY = "werkzeug"


class HasLogging(Protocol):
    """A loaded configuration."""

    @property
    def logging(self) -> Logging:
        """How to log, and how much."""


Loaded = TypeVar("Loaded", bound=HasLogging)


@contextmanager
def running(program: str) -> Iterator[Life]:
    """Log to stderr and handle signals while a command runs."""
    without_core_dumps()
    logs.configure(Logging(), program)  # until the configuration is loaded
    with Life() as life:
        yield life


def loading_logs(load: Callable[[str], Loaded], program: str) -> Callable[[str], Loaded]:
    """Return `load`, which then also configures the log."""

    def load_and_log(file: str) -> Loaded:
        config = load(file)
        logs.configure(config.logging, program)
        return config

    return load_and_log


def without_core_dumps() -> None:
    """Write no copy of the memory to disk when this process crashes: it holds passwords and messages."""
    try:
        import resource
    except ModuleNotFoundError:  # where there are no such limits
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Say how to install the libraries of an extra of ours when one of them is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        if library != WEB_LIBRARY:
            raise
        raise click.ClickException(f"{what} needs {library}: pip install 'amqp-connectors[{extra}]'") from error

"""What the commands of both connectors share on the way from a configuration file to an exit code."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, TypeVar

from connectorlib.errors import Failed
from connectorlib.service.process import ExitCode, exit_code
from connectorlib.shared_settings import BrokerSettings, Monitoring

if TYPE_CHECKING:
    from connectorlib.amqp import Broker
    from connectorlib.monitoring.monitor import Monitor

logger = logging.getLogger(__name__)

STOP_S = 10.0
#: The I/O thread ticks every second; this long without one, it is stuck.
TICK_DEADLINE_S = 30.0

#: Codes of failures that are no code of anybody else: their text says it all, line by line.
_OWN_WORDS = ("configuration", "log-file")


class Configured(Protocol):
    """A loaded configuration."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks wrong in it, though it is not."""


Loaded = TypeVar("Loaded", bound=Configured)


def loaded(file: str, load: Callable[[str], Loaded]) -> Loaded:
    """Load the configuration and tell what in it is odd, though not wrong."""
    config = load(file)
    for warning in config.warnings:
        logger.warning("%s: %s", file, warning, extra={"event": "odd-configuration"})
    return config


def reported(run: Callable[[], ExitCode]) -> ExitCode:
    """Turn a failure into one line and an exit code; a bug as well, for only the log knows what must not be shown."""
    try:
        return run()
    except Failed as failed:
        for line in told(failed).splitlines():
            logger.error("%s", line, extra={"event": "failed"})
        return exit_code(failed.failure)
    except Exception:  # a bug of ours: its traceback may hold a secret
        logger.exception("bug", extra={"event": "bug"})
        return ExitCode.FAILED


def told(failed: Failed) -> str:
    """Return what there is to say about a failure, one line for each mistake in a configuration."""
    return failed.failure.text if failed.failure.code in _OWN_WORDS else str(failed)


@contextmanager
def running_broker(settings: BrokerSettings, name: str, *, consuming: bool = True) -> Iterator["Broker"]:
    """Start the connections to the broker, which come by themselves, and close them at the end of the block."""
    from connectorlib.amqp import Broker  # late: pika is not needed for --help

    broker = Broker(settings, name=name, consuming=consuming)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop(STOP_S)


def answering(settings: Monitoring | None, monitor: "Monitor") -> AbstractContextManager[None]:
    """Answer on the monitoring port, if there is one, until the end of the block."""
    if settings is None:
        return nullcontext()
    from connectorlib.monitoring.monitoring_server import serving  # late: nothing of it is needed without a port

    return serving(settings, monitor)


def ticking(broker: "Broker") -> Callable[[], str | None]:
    """Return the watchdog's check of the I/O thread."""

    def check() -> str | None:
        silent = time.monotonic() - broker.ticked
        return f"the I/O thread has not ticked for {silent:.0f} s" if silent > TICK_DEADLINE_S else None

    return check

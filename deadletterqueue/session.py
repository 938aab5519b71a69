"""One connection to the broker for one command, and how its failures are reported."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from functools import partial
from shlex import quote

import click

from connectorlib.amqp import Broker
from connectorlib.amqp.broker_user import grant_all, refused_advice, user_of
from connectorlib.amqp.field_tables import UNREADABLE
from connectorlib.amqp.management import Management, management_of
from connectorlib.dataclass import dataclass
from connectorlib.errors import ConfigurationError, Failed, Failure
from connectorlib.pipeline.run_sink import running_broker
from connectorlib.service import logs
from connectorlib.service.exit_codes import ExitCode, is_unwritable
from connectorlib.service.log_writer import flush_all
from connectorlib.service.process import Life, exit_code
from connectorlib.shared_settings import BrokerSettings, Logging
from connectorlib.values.text import printable
from deadletterqueue.broker_login import broker_settings
from deadletterqueue.browse import Walk
from deadletterqueue.delivery_limit import DeliveryLimit
from deadletterqueue.letter import Letter, letter
from deadletterqueue.options import Connection

logger = logging.getLogger(__name__)

PROGRAM = "deadletter-queue"
CONNECT_S = 15


@dataclass(frozen=True, slots=True)
class Session:
    """One connection to the broker, for one command."""

    broker: Broker
    settings: BrokerSettings
    management: Management
    #: The dead-letter queue.
    queue: str
    #: Set when the command is to end early.
    stop: threading.Event
    #: How the broker is reached, for hints.
    connection: Connection = field(default_factory=Connection)

    def browse(self, *, limit: int | None = None, removing: bool = False) -> Walk:
        """Return a walk through the queue; see `Walk`."""
        host = self.settings.virtual_host
        policies = partial(self.management.queue, host, self.queue)
        delivery_limit = DeliveryLimit(self.broker, self.queue, virtual_host=host, policies=policies)
        return Walk(
            self.broker,
            self.queue,
            limit=limit,
            removing=removing,
            delivery_limit=delivery_limit,
            stop=self.stop,
            setup=self.connection.command("--queue", self.queue),
        )


def letters(walk: Walk) -> Iterator[Letter]:
    """Return the letters of a walk. One that cannot be read costs a line in the log and `walk.shortfall`."""
    for delivery in walk:
        if delivery.headers.keys() == {UNREADABLE}:  # beside others it is what a connector has kept of a message
            walk.unreadable += 1
            text = "number %d of %s is shown without its headers, which cannot be read: %s"
            logger.warning(text, walk.looked, walk.queue, delivery.headers[UNREADABLE])
        yield letter(delivery)


def outcome(walk: Walk, code: ExitCode) -> ExitCode:
    """Return what a command exits with that has walked to the end: not 0 unless it has seen everything."""
    if not walk.shortfall:
        return code
    flush_all()  # before what is printed
    print(printable(walk.shortfall), file=sys.stderr)
    return ExitCode.FAILED


@contextmanager
def open_session(connection: Connection, queue: str | None = None) -> Iterator[Session]:
    """Connect, and close at the end of the block. Raise Failed, with what to do about it."""
    settings = broker_settings(connection)
    with Life() as life, running_broker(settings, PROGRAM) as broker:
        try:
            _connect(broker, settings, life.stop)
        except Failed as failed:
            raise Failed(explained(failed.failure, settings)) from failed
        api = management_of(settings, connection.management_url)
        yield Session(broker, settings, api, queue or settings.dead_letter.queue, life.stop, connection)


def _connect(broker: Broker, settings: BrokerSettings, stop: threading.Event) -> None:
    """Wait for the connection: longer if no host answers than if all refuse. Raise Failed."""
    for second in range(CONNECT_S):
        try:
            connected = broker.wait_connected(1.0, stop, give_up_on_refused=True)
        except Failed:
            refused = broker.failure is not None and second >= len(settings.hosts) - 1
            if refused or second == CONNECT_S - 1:
                raise
        else:
            if not connected:
                raise KeyboardInterrupt
            return


def explained(failure: Failure, settings: BrokerSettings) -> Failure:
    """Return a failed connection attempt with what to do about it."""
    host, user = settings.virtual_host, user_of(settings)
    if failure.code == "530" and "not found" in failure.text:
        text = f"virtual host {host!r} does not exist on this broker. Create it: rabbitmqctl add_vhost {quote(host)}"
    elif failure.code == "530" and "refused for user" in failure.text:
        text = f"{user} may not use virtual host {host!r}. Allow it: {grant_all(settings)}"
    elif failure.code == "403":
        text = f"{failure.text} (as {user}): {refused_advice(settings)}"
    else:
        return failure
    return replace(failure, text=text, place="", detail="")


def reported(run: Callable[[], ExitCode]) -> ExitCode:
    """Run a command; print a failure on standard error and return the exit code for it."""
    logs.configure(Logging(level="warning"), PROGRAM)
    try:
        return run()
    except Failed as failed:
        flush_all()  # before what is printed
        for line in failure_text(failed).splitlines():
            print(printable(logs.secrets.redact(line)), file=sys.stderr)
        return exit_code(failed.failure)
    except KeyboardInterrupt:
        print("stopped; unprocessed messages are still in the queue", file=sys.stderr)
        return ExitCode.FAILED
    except (click.ClickException, click.Abort):  # click reports them
        raise
    except Exception as error:  # a bug of ours: its traceback may hold a secret, which only the log hides
        if is_unwritable(error):
            raise  # `LazyGroup` says so
        logger.exception("bug", extra={"event": "bug"})
        return ExitCode.FAILED


def failure_text(failed: Failed) -> str:
    """Return the message of a failure."""
    if isinstance(failed, ConfigurationError) or failed.failure.code in ("configuration", "delivery-limit"):
        text = failed.failure.text
        return f"{failed.failure.place}: {text}" if failed.failure.place else text
    return str(failed)

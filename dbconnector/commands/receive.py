"""`receive`, receiveNInsert: writes one message of the source queue, then acknowledges it."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import click

from connectorlib.amqp import Broker, SyncChannel, topology
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.messages import Again, Dead, Delivery, Done, Later, Outcome
from connectorlib.pipeline import blame
from connectorlib.pipeline.admission import admitting
from connectorlib.pipeline.dead_letter_publisher import DeadLetterPublisher
from connectorlib.pipeline.lane import SUSPICIOUS_DELIVERIES, handed_out
from connectorlib.pipeline.run_sink import running_broker
from connectorlib.pipeline.sink import handled
from connectorlib.service import logs
from connectorlib.service.bootstrap import loading_logs, running
from connectorlib.service.cli_options import Duration, config_option
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life, exit_code, reported
from connectorlib.service.reload import loaded
from connectorlib.shared_settings import Source
from dbconnector import config as configuration
from dbconnector.cli import EXIT_CODES
from dbconnector.commands.requirements import CONNECT_S, Load, program, requiring
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.settings import DbConfig
from dbconnector.sink import DatabaseSink

logger = logging.getLogger(__name__)

#: What is logged, by `Done.counted`.
_WORDS = {
    "done": "written",
    "already": "already there",
    "empty": "empty message",
    "accept_when": "ignored",
    "ignore_when": "ignored",
}

CONFIRM_S = 30.0
SETTLE_S = 10.0
LOST = Failure(
    Kind.UNAVAILABLE, "closed", "the channel was lost before the commit; the message will be redelivered", "broker"
)
RESOURCE_LOCKED = "405"  # what basic.get answers on a queue with a single active consumer


@dataclass(frozen=True, slots=True)
class Taken:
    """One delivery and the two ways to settle it."""

    delivery: Delivery
    ack: Callable[[], object]
    requeue: Callable[[], object]
    valid: Callable[[], bool]


@click.command("receive", epilog=EXIT_CODES)
@config_option()
@click.option(
    "--wait",
    type=Duration(),
    default="1s",
    show_default=True,
    help="How long to wait for a message if the queue has a single active consumer.",
)
@click.pass_context
def command(ctx: click.Context, file: str, wait: float) -> None:
    """Write one message of the queue into the database; exit 3 if the queue is empty.

    \b
    dbconnector receive -c db.config
    dbconnector receive -c db.config --wait 5s

    A message that can never be written becomes a dead letter, exit code 1. If the database is unreachable, the message
    is requeued, exit code 69.
    """
    with running("dbconnector") as life:
        ctx.exit(run_receive(file, life, wait_s=wait, load=loading_logs(configuration.load, "dbconnector")))


def run_receive(
    file: str,
    life: Life,
    *,
    wait_s: float = 1.0,
    stopped: ExitCode = ExitCode.DONE,
    load: Load = configuration.load,
) -> ExitCode:
    """Write one message of the source queue. Return `stopped` if a stop comes before there is one."""
    complete = requiring(load, "receive", "broker.source")
    return reported(lambda: _receive(loaded(file, complete), life, wait_s, stopped))


def _receive(config: DbConfig, life: Life, wait_s: float, stopped: ExitCode) -> ExitCode:
    with (
        closing(Database(config.database)) as database,
        running_broker(config.broker, program(config).connection) as broker,
    ):
        if not broker.wait_connected(CONNECT_S, life.stop, give_up_on_refused=True):
            return stopped
        outcome = receive(config, broker, database, life=life, wait_s=wait_s)
    if outcome is None:
        if life.stop.is_set():
            return stopped
        logs.event(logger, logging.INFO, "the queue is empty", queue=config.source and config.source.queue)
        return ExitCode.NOTHING
    life.counts[_counted(outcome)] += 1
    return _exit_code(config, outcome)


def _counted(outcome: Outcome) -> str:
    if isinstance(outcome, Done):
        return outcome.counted
    return "dead" if isinstance(outcome, Dead) else "requeued"


def _exit_code(config: DbConfig, outcome: Outcome) -> ExitCode:
    if isinstance(outcome, Done):
        logs.event(logger, logging.INFO, _WORDS[outcome.counted], name=config.name)
        return ExitCode.DONE
    if isinstance(outcome, Dead):
        return ExitCode.FAILED
    assert not isinstance(outcome, Later), "a single message cannot be postponed"
    logger.error("requeued: %s", outcome.failure, extra={"event": "given-back"})
    return exit_code(outcome.failure)


def receive(config: DbConfig, broker: Broker, database: Database, *, life: Life, wait_s: float = 1.0) -> Outcome | None:
    """Take one message, write it, acknowledge it; return its outcome, or None if the queue is empty or a stop came
    before there was one.

    Dead: it is in the dead-letter queue. Again: it was requeued. Raise Failed, before anything is taken, if the broker
    or the database cannot be reached, or if another consumer has the queue for itself.
    """
    source = config.source
    assert source is not None  # required
    if source.shards:
        text = "broker.source.shards: receive takes messages of one queue; use subscribe"
        raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))
    topology.ensure(broker, config.broker, source, None)
    sink = DatabaseSink(compile_plan(config), database)
    sink.probe()  # an unreachable database must cost no message a delivery
    with _take(broker, source, life, wait_s) as taken:
        if taken is None:
            return None
        outcome = _left_out(config, taken.delivery) or _blame(sink, taken, write_one(config, sink, taken, life.stop))
        if isinstance(outcome, Done):
            taken.ack()
        elif isinstance(outcome, Dead):
            _bury(config, broker, taken, outcome)
        else:
            taken.requeue()
        return outcome


def _left_out(config: DbConfig, delivery: Delivery) -> Outcome | None:
    """Return how a message counts that the configuration leaves out, None if it is to be written."""
    admission = admitting(config.conditions, config.format, config.limits)
    try:
        return None if admission is None else admission(delivery)
    except Failed as failed:
        return Dead(failed.failure)


def write_one(config: DbConfig, sink: DatabaseSink, taken: Taken, stop: threading.Event) -> Outcome:
    """Write the message, and retry as configured; return its outcome."""
    for attempt in range(1, config.retry.attempts + 2):
        try:
            (outcome,) = handled(sink, [taken.delivery], taken.valid)
        except Stale:
            return Again(LOST)
        again = isinstance(outcome, Again) and outcome.failure.kind is Kind.RETRY
        if not again or attempt > config.retry.attempts:
            break
        if stop.wait(config.retry.backoff.delay(attempt - 1, random.random())):  # noqa: S311 - jitter
            break
    return outcome


def _blame(sink: DatabaseSink, taken: Taken, outcome: Outcome) -> Outcome:
    """Apply the blame rule to a single message: an unknown failure is the message's own if it has failed several times
    before, and the database answers."""
    if not isinstance(outcome, Again) or outcome.failure.kind is not Kind.UNKNOWN:
        return outcome
    before = handed_out(taken.delivery)
    if before < SUSPICIOUS_DELIVERIES:
        return outcome
    try:
        sink.probe()
    except Failed as failed:
        return Again(failed.failure)
    return Dead(outcome.failure, blame.reason(outcome.failure), before + 1)


def _bury(config: DbConfig, broker: Broker, taken: Taken, dead: Dead) -> None:
    sender = DeadLetterPublisher(broker.publisher, config.broker.dead_letter, config.name)
    sender.send([(taken.delivery, dead)], lambda deliveries: None)
    if sender.wait(CONFIRM_S):
        taken.ack()
        return
    taken.requeue()
    raise Failed(sender.failure or Failure(Kind.UNAVAILABLE, "timeout", "the dead letter was not confirmed"))


@contextmanager
def _take(broker: Broker, source: Source, life: Life, wait_s: float) -> Iterator[Taken | None]:
    with broker.channel() as channel:
        try:
            delivery = channel.get(source.queue)
        except Failed as failed:
            if failed.failure.code != RESOURCE_LOCKED:
                raise
        else:
            yield _got(channel, delivery)
            return
    with _consumed(broker, source, life, wait_s) as taken:
        yield taken


def _got(channel: SyncChannel, delivery: Delivery | None) -> Taken | None:
    if delivery is None:
        return None
    tag = delivery.tag
    return Taken(
        delivery,
        ack=lambda: channel.ack(tag),
        requeue=lambda: channel.nack(tag, requeue=True),
        valid=lambda: channel.is_open,
    )


@contextmanager
def _consumed(broker: Broker, source: Source, life: Life, wait_s: float) -> Iterator[Taken | None]:
    """Take one message from a queue with a single active consumer, where `basic.get` is refused."""
    logs.event(logger, logging.DEBUG, "consuming one message", queue=source.queue, wait=wait_s)
    consumer = broker.consumer(source.queue, prefetch=1)
    consumer.open(SETTLE_S)
    life.on_stop(consumer.wake)
    try:
        deliveries = consumer.take(1, 0.0, wait_s)
        if not deliveries:
            if not life.stop.is_set():
                _refuse_if_not_empty(broker, source)
            yield None
            return
        delivery = deliveries[0]
        yield Taken(
            delivery,
            ack=lambda: consumer.settle(delivery.generation, [delivery.tag]),
            requeue=lambda: consumer.requeue(SETTLE_S),
            valid=lambda: consumer.is_current(delivery.generation),
        )
    finally:
        consumer.requeue(SETTLE_S)


def _refuse_if_not_empty(broker: Broker, source: Source) -> None:
    with broker.channel() as channel:
        ready, _ = channel.queue_declare(source.queue, passive=True)
    if ready:
        text = f"another consumer is active: {ready} messages wait for it"
        raise Failed(Failure(Kind.REJECT, RESOURCE_LOCKED, text, f"queue {source.queue!r}"))

"""subscribeNInsert: all that comes into the source queue, written in batches, for ever. Puts the parts together."""

import threading
from typing import TYPE_CHECKING

from connectorlib.amqp import Broker, topology
from connectorlib.errors import Failure, Kind
from connectorlib.pipeline.dead_letter_publisher import DeadLetterSender
from connectorlib.pipeline.pause import Pausing, hint
from connectorlib.pipeline.pump import Flow, Pump
from dbconnector.inbox_table import PLACE as INBOX
from dbconnector.odbc.database import Database
from dbconnector.settings import DbConfig
from dbconnector.sink import Writer

if TYPE_CHECKING:
    from connectorlib.monitoring.flow_stats import Watch


def make_pump(
    config: DbConfig,
    broker: Broker,
    database: Database,
    *,
    stop: threading.Event,
    nudge: threading.Event,
    watch: "Watch | None" = None,
) -> Pump:
    """Return the pump from the source queue into the database; its `run` writes what comes until `stop` is set.

    Nothing but a stop ends it: an outage, a refused log-in or a wrong statement pauses it. The caller starts and stops
    the broker, and closes the database.
    """
    source = config.source
    assert source is not None  # runs has checked it
    consumer = broker.consumer(source.queue, source.prefetch)
    pausing = Pausing(
        config.name,
        broker=broker,
        consumer=consumer,
        ensure=topology.Upkeep(broker, config.broker, source).ensure,
        ensure_dead_letters=lambda: topology.ensure_dead_letters(broker, config.broker),
        hold_seconds=config.hold_seconds,
        stop=stop,
        nudge=nudge,
        hints=_hint,
    )
    writer = Writer(config, database)
    sender = DeadLetterSender(broker.publisher, config.broker.dead_letter, config.name)
    flow = Flow(config.name, config.batch, config.retry)
    pump = Pump(flow, consumer, watch.watching(writer) if watch else writer, sender, pausing)
    if watch is not None:
        watch.attach(pump.counts, consumer, pausing)
        sender.on_dead = watch.died
    return pump


def _hint(failure: Failure) -> str:
    """Return what a person can do about a failure, where something better than usual is known."""
    if failure.place == INBOX and failure.kind is Kind.CONFIGURATION:
        return "make the inbox table with `dbconnector inbox --create`; this goes on by itself (SIGUSR1 tries at once)"
    return hint(failure, far_side="database")

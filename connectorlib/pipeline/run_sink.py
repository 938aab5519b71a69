"""From a configuration to its messages in a target: `run_sink` puts together what every sink needs.

That is the connections to the broker, the watchdog, monitoring and tracing; and for each flow a consumer, its pauses,
its dead letters, its figures and a thread.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field
from functools import partial
from typing import Protocol

from connectorlib.amqp import AnyConsumer, Broker, ShardedConsumer, topology
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Delivery
from connectorlib.monitoring.counters import SinkDetail, SinkMetric
from connectorlib.monitoring.flow_stats import ShardFacts
from connectorlib.monitoring.monitor import ConnectionFacts, Monitor
from connectorlib.monitoring.tracing import TraceBatch, tracing
from connectorlib.pipeline.dead_letter_publisher import DeadLetterPublisher
from connectorlib.pipeline.lane import Rules
from connectorlib.pipeline.pause import BrokerWait, PauseNotice, hint
from connectorlib.pipeline.pump import Pump, Router
from connectorlib.pipeline.sink import Sink
from connectorlib.pipeline.worker import Worker
from connectorlib.service.garbage import exempt_present
from connectorlib.service.process import Life, Watchdog, notify
from connectorlib.service.reload import Term
from connectorlib.shared_settings import (
    Batch,
    BrokerSettings,
    Destination,
    Journal,
    Monitoring,
    Notify,
    Retry,
    Source,
    Tracing,
)

STOP_S = 10.0
#: The I/O thread ticks every second; after this long without a tick it is stuck.
TICK_DEADLINE_S = 30.0


class ProcessConfig(Protocol):
    """What a configuration says of the process, whatever its sink."""

    @property
    def file(self) -> str: ...
    @property
    def broker(self) -> BrokerSettings: ...
    @property
    def monitoring(self) -> Monitoring | None: ...
    @property
    def notify(self) -> Notify | None: ...
    @property
    def journal(self) -> Journal | None: ...
    @property
    def tracing(self) -> Tracing | None: ...


@dataclass(frozen=True, slots=True)
class Program:
    """What runs, as the broker, the status and traces call it."""

    name: str
    #: Which of several: the `name` of the configuration.
    instance: str
    #: The name of the connections to the broker.
    connection: str
    #: How the status calls the last message that arrived.
    last_success: str = "last write"


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkFlow:
    """From one queue into one sink, and what the process has to know of the two."""

    name: str
    #: One for each lane.
    sinks: Sequence[Sink]
    source: Source
    batch: Batch
    retry: Retry
    #: How many times as long as `batch.wait_ms` a batch is collected.
    stretch: Callable[[], float] = lambda: 1.0
    hold_seconds: float
    #: What a body may have; None: any number of bytes.
    body_bytes: int | None = None
    #: What the sink is connected to, for the status and the watchdog.
    connections: Sequence[ConnectionFacts] = ()
    metrics: Sequence[SinkMetric] = ()
    #: Returns lines of the sink's own for the status.
    details: Callable[[], Sequence[SinkDetail]] = tuple
    #: What a person can do about a failure.
    hints: Callable[[Failure], str] = hint
    #: How the log calls a flow that is paused.
    label: str = "flow"
    #: Seconds between two probes at last, by kind of failure, where that differs from the usual.
    longest: Mapping[Kind, float] = field(default_factory=dict)
    #: Exchanges that the sink publishes to; made together with the source.
    exchanges: Collection[str] = ()
    #: Called with each message that is dead-lettered.
    on_dead: Callable[[Delivery, Dead], object] = lambda delivery, verdict: None
    #: Called once, where there is one sink and no `route`, with what returns the messages that come next, so many at
    #: most, to the sink's thread.
    on_peek: Callable[[Callable[[int], Sequence[Delivery]]], object] = lambda peek: None
    #: Called by SIGUSR1, from another thread.
    on_nudge: Callable[[], object] = lambda: None
    #: The name of each sink's target, where they have several; each is paused by itself.
    targets: Sequence[str] = ()
    #: Which lanes may have a message. None: whichever is free.
    route: Router | None = None
    #: Whether messages with the same `Delivery.key`, which `route` sets, keep their order through retries.
    ordered: bool = False
    #: Whether a sink settles the messages of a call singly: then a call has only one message of each key.
    one_per_key: bool = False


#: Opens the sinks of a configuration, and closes them at the end.
OpenFlows = Callable[[Broker], AbstractContextManager[Sequence[SinkFlow]]]


def run_sink(config: ProcessConfig, program: Program, open_flows: OpenFlows, term: Term) -> dict[str, Counter[str]]:
    """Bring what arrives in the source queues to the sinks until the term ends; return what each flow has counted."""
    with (
        running_broker(config.broker, program.connection) as broker,
        open_flows(broker) as flows,
        tracing(config.tracing, program.name, program.instance) as trace,
    ):
        connections = [each for flow in flows for each in flow.connections]
        monitor = make_monitor(config, program, broker, connections, term)
        monitor.observers = [each for each in (trace, _journal(config, program, broker)) if each is not None]
        pumps = [make_pump(flow, config.broker, broker, monitor, term) for flow in flows]
        with supervised(config, monitor, term):
            _work(pumps, term)
    return {pump.name: pump.counts for pump in pumps}


@contextmanager
def running_broker(settings: BrokerSettings, name: str, *, consuming: bool = True) -> Iterator[Broker]:
    """Start the connections to the broker, which open by themselves, and close them at the end of the block."""
    broker = Broker(settings, name=name, consuming=consuming)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop(STOP_S)


def make_monitor(
    config: ProcessConfig, program: Program, broker: Broker, connections: Sequence[ConnectionFacts], term: Term
) -> Monitor:
    """Return what is known of the process, for the status, the metrics and the watchdog."""
    monitor = Monitor(program.name, program.instance, config.file, broker, config.broker.dead_letter.queue)
    monitor.up_since = term.started
    monitor.last_success = program.last_success
    monitor.connections += connections
    monitor.checks = {each.name: each.stuck for each in connections} | {"broker": partial(_silent, broker)}
    monitor.retry = term.request_nudge
    term.on_nudge(broker.reconnect_now)
    return monitor


@contextmanager
def supervised(config: ProcessConfig, monitor: Monitor, term: Term) -> Iterator[None]:
    """Watch for hung calls, which end the process with 75; serve the monitoring port; send notices; tell systemd."""
    watchdog = Watchdog()
    watchdog.status = monitor.summary
    for name, check in monitor.checks.items():
        watchdog.register(name, check)
    with watchdog, _serving(config.monitoring, monitor), _notifying(config, monitor, term):
        notify("READY=1")
        exempt_present()
        yield
        if not term.replaced:
            notify("STOPPING=1")


def _serving(settings: Monitoring | None, monitor: Monitor) -> AbstractContextManager[None]:
    if settings is None:
        return nullcontext()
    from connectorlib.monitoring.monitoring_server import serving  # late: not needed without a port

    return serving(settings, monitor)


def _notifying(config: ProcessConfig, monitor: Monitor, term: Term) -> AbstractContextManager[None]:
    if config.notify is None:
        return nullcontext()
    from connectorlib.monitoring.notifier import notifying  # late: few tell anybody

    return notifying(
        config.notify, monitor, config.broker, lambda: "configuration reloaded" if term.replaced else "stopped"
    )


def _journal(config: ProcessConfig, program: Program, broker: Broker) -> TraceBatch | None:
    if config.journal is None:
        return None
    from connectorlib.monitoring.delivery_journal import JournalWriter  # late: few have one

    return JournalWriter(config.journal, program.name, program.instance, broker, config.broker).batch


def _silent(broker: Broker) -> str | None:
    silent = time.monotonic() - broker.ticked
    return f"the I/O thread has not ticked for {silent:.0f} s" if silent > TICK_DEADLINE_S else None


def make_pump(flow: SinkFlow, settings: BrokerSettings, broker: Broker, monitor: Monitor, term: Term) -> Pump:
    """Return the pump of a flow, with its consumer, its lanes, its dead letters and its figures."""
    consumer = _consumer(flow, broker)
    notices = {name: _notice(flow, name, consumer, broker) for name in (flow.name, *flow.targets)}
    stats = monitor.flow(flow.name)
    stats.metrics, stats.details = flow.metrics, flow.details
    sender = DeadLetterPublisher(broker.publisher, settings.dead_letter, flow.name)
    rules = _rules(flow)
    targets = flow.targets or [flow.name] * len(flow.sinks)
    workers = [
        Worker(stats.measured(sink), notices[target], rules) for sink, target in zip(flow.sinks, targets, strict=True)
    ]
    wait = _broker_wait(flow, settings, broker, consumer, notices[flow.name], term)
    pump = Pump(
        flow.name,
        consumer,
        workers,
        sender,
        wait,
        wait_s=lambda: flow.batch.wait_ms / 1000 * flow.stretch(),
        route=flow.route,
        shared=bool(flow.source.shards),
    )
    stats.attach(pump.counts, consumer, *notices.values())
    stats.lanes = lambda: [worker.facts for worker in workers]
    if isinstance(consumer, ShardedConsumer):
        stats.shards = lambda: _facts_of(consumer)

    def dead(delivery: Delivery, verdict: Dead) -> None:
        stats.died(delivery, verdict)
        flow.on_dead(delivery, verdict)

    def nudge() -> None:
        flow.on_nudge()
        wait.nudge.set()
        pump.wake()

    sender.on_dead = dead
    if len(flow.sinks) == 1 and flow.route is None:
        flow.on_peek(consumer.peek)
    term.on_nudge(nudge)
    term.on_stop(pump.wake)
    return pump


def _consumer(flow: SinkFlow, broker: Broker) -> AnyConsumer:
    source = flow.source
    if source.shards:
        return broker.sharded_consumer(source, flow.body_bytes)
    return broker.consumer(source.queue, source.prefetch, source.prefetch_bytes, flow.body_bytes)


def _facts_of(consumer: ShardedConsumer) -> list[ShardFacts]:
    return [ShardFacts(each.queue, each.priority or 0, each.held, latest) for each, latest in consumer.shards]


def _rules(flow: SinkFlow) -> Rules:
    return Rules(
        flow.retry,
        flow.batch.size,
        flow.hold_seconds,
        ordered=flow.ordered,
        one_per_key=flow.one_per_key,
        longest=flow.longest,
    )


def _notice(flow: SinkFlow, name: str, consumer: AnyConsumer, broker: Broker) -> PauseNotice:
    return PauseNotice(name, consumer, broker, label=flow.label, hints=flow.hints)


def _broker_wait(
    flow: SinkFlow, settings: BrokerSettings, broker: Broker, consumer: AnyConsumer, notice: PauseNotice, term: Term
) -> BrokerWait:
    upkeep = topology.Upkeep(broker, settings, flow.source)

    def ensure() -> None:
        upkeep.ensure()
        upkeep.inform(consumer)
        for exchange in flow.exchanges:
            topology.ensure(broker, settings, None, Destination(exchange), look=False)

    return BrokerWait(
        notice,
        broker,
        consumer,
        ensure=ensure,
        ensure_dead_letters=lambda: topology.ensure_dead_letters(broker, settings),
        stop=term.stop,
        nudge=threading.Event(),
        refusing=not term.reloaded,
    )


def _work(pumps: Sequence[Pump], term: Life) -> None:
    """Run each pump in a thread of its own until all have ended. A bug that ends one is raised, and ends them all."""
    with ThreadPoolExecutor(len(pumps), thread_name_prefix="worker") as workers:
        futures: list[Future[None]] = [workers.submit(pump.run) for pump in pumps]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # Ctrl-C comes here, inside a program that has no handler of ours
            term.request_stop()
        for future in futures:
            future.result()

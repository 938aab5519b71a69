"""The daemon: one flow per source queue, each with a thread of its own, until it is told to stop. Puts the parts
together."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from itertools import groupby
from typing import TYPE_CHECKING

from connectorlib.errors import Failure, Kind
from connectorlib.monitoring.tracing import tracing
from connectorlib.pipeline.run_sink import answering, reported, running_broker, ticking
from connectorlib.service import logs
from connectorlib.service.process import ExitCode, Life, Watchdog, exit_code, notify
from connectorlib.service.reload import Reloading, Term
from sfconnector import config as configuration
from sfconnector.salesforce.error_codes import MISMATCH
from sfconnector.salesforce.usage import Budgets
from sfconnector.settings import Division, SfConfig

if TYPE_CHECKING:
    from connectorlib.amqp import Broker
    from connectorlib.monitoring.monitor import Monitor, Side
    from sfconnector.flow import Flow
    from sfconnector.salesforce.client import Client

logger = logging.getLogger(__name__)

Load = Callable[[str], SfConfig]


def run(file: str, life: Life, load: Load = configuration.load) -> ExitCode:
    """Make Cases of what comes into the source queues until the life ends; end at once if no division can begin. A
    SIGHUP reloads the configuration."""
    return reported(lambda: Reloading(file, life, load).run(_run))


def _run(config: SfConfig, life: Term) -> ExitCode:
    from sfconnector.flow import make_flow  # late: HTTP, XML and AMQP libraries are not needed for --help

    roll = Roll(division.name for division in config.divisions)
    budgets = Budgets(config.reserve_percent)
    names = ",".join(division.name for division in config.divisions)
    with (
        _clients(config) as clients,
        running_broker(config.broker, "sfconnector") as broker,
        tracing(config.tracing, "sfconnector", names) as trace,
    ):
        life.on_nudge(broker.reconnect_now)
        monitor = _monitor(config, broker, clients, life)
        monitor.trace = trace
        flows = [
            make_flow(config, its, broker, clients, budgets, stop=life.stop, on_first=roll.tell, monitor=monitor)
            for its in _by_queue(config.divisions)
        ]
        for flow in flows:
            life.on_nudge(flow.nudge)
            life.on_stop(flow.pump.wake)
        if not life.reloaded:
            roll.when_all_are_out = life.request_stop
        logs.event(logger, logging.INFO, "started", version=version("amqp-connectors"), divisions=names)
        with _watchdog(broker, clients, monitor), answering(config.monitoring, monitor):
            notify("READY=1")
            _work(flows, life)
            if not life.replaced:
                notify("STOPPING=1")
    return _ended(flows, roll, life)


def _work(flows: "Sequence[Flow]", life: Term) -> None:
    """Run every flow in a thread of its own until all have ended. A bug that ends one is raised, and ends them all."""
    with ThreadPoolExecutor(len(flows), thread_name_prefix="worker") as workers:
        futures: list[Future[None]] = [workers.submit(flow.pump.run) for flow in flows]
        wait(futures, return_when=FIRST_EXCEPTION)
        life.request_stop()
        for future in futures:
            future.result()


def _ended(flows: "Sequence[Flow]", roll: "Roll", life: Term) -> ExitCode:
    for flow in flows:
        logs.event(logger, logging.INFO, "stopped", flow=flow.name, **flow.pump.counts)
    if life.reloaded or not roll.all_are_out:
        return ExitCode.DONE
    for name, failure in roll.out.items():
        told = failure.text if failure.code == MISMATCH else failure  # which says already where it is
        logger.error("division %s: %s", name, told, extra={"event": "failed"})
    logger.error("no division is left: ending", extra={"event": "failed"})
    refused = next((f for f in roll.out.values() if f.kind is Kind.REFUSED), None)
    return exit_code(refused or next(iter(roll.out.values())))


def _by_queue(divisions: Sequence[Division]) -> list[list[Division]]:
    """Divisions that share a queue share a flow; the order is that of the file."""
    queues = list(dict.fromkeys(division.source.queue for division in divisions))
    ordered = sorted(divisions, key=lambda division: queues.index(division.source.queue))
    return [list(its) for _, its in groupby(ordered, key=lambda division: division.source.queue)]


@contextmanager
def _clients(config: SfConfig) -> "Iterator[dict[str, Client]]":
    """Open nothing yet; close each division's connections at the end."""
    from sfconnector.salesforce.client import Client  # late, see _run
    from sfconnector.salesforce.login import TokenProvider

    with ExitStack() as stack:
        clients = {}
        for division in config.divisions:
            tokens = TokenProvider(division.salesforce, division.name)
            client = Client(division.salesforce, division.name, tokens, division.case.errors)
            clients[division.name] = stack.enter_context(closing(client))
        yield clients


@contextmanager
def _watchdog(broker: "Broker", clients: "dict[str, Client]", monitor: "Monitor") -> Iterator[None]:
    """Watch for a hung call and a hung I/O thread: the process ends with 75 and is started again."""
    watchdog = Watchdog()
    watchdog.status = monitor.summary
    watchdog.register("broker", ticking(broker))
    for name, client in clients.items():
        watchdog.register(f"salesforce of {name}", client.stuck)
    with watchdog:
        yield


def _monitor(config: SfConfig, broker: "Broker", clients: "dict[str, Client]", life: Term) -> "Monitor":
    """Return what is known of the process, for whoever asks."""
    from connectorlib.monitoring.monitor import Monitor  # late: --help does without

    names = ",".join(division.name for division in config.divisions)
    monitor = Monitor("sfconnector", names, config.file, broker, config.broker.dead_letter.queue)
    monitor.up_since = life.started
    monitor.sides += [_side(name, client) for name, client in clients.items()]
    monitor.checks = {f"salesforce of {name}": client.stuck for name, client in clients.items()}
    monitor.checks["broker"] = ticking(broker)
    return monitor


def _side(name: str, client: "Client") -> "Side":
    from connectorlib.monitoring.monitor import Side  # late, see _monitor

    return Side(
        f"salesforce of {name}",
        lambda: None if client.tokens.refused else client.token_since,
        lambda: client.tokens_taken,
        lambda: client.token.instance_url if client.token else "",
        lambda: client.usage,
    )


class Roll:
    """How the first log-in of each division went. Once all have failed for good nothing is left to do."""

    def __init__(self, names: Iterator[str]) -> None:
        self._lock = threading.Lock()
        self._names = list(names)
        self._reasons: dict[str, Failure] = {}
        self.when_all_are_out: Callable[[], object] = lambda: None

    @property
    def all_are_out(self) -> bool:
        return len(self._reasons) == len(self._names)

    @property
    def out(self) -> dict[str, Failure]:
        """The divisions that a person has to put right, with the reason, in the order of the file."""
        return {name: self._reasons[name] for name in self._names if name in self._reasons}

    def tell(self, name: str, failure: Failure | None) -> None:
        """Take note of a first log-in; an outage is no reason to stay out."""
        if failure is None or failure.kind not in (Kind.REFUSED, Kind.CONFIGURATION):
            return
        with self._lock:
            self._reasons[name] = failure
        if self.all_are_out:
            self.when_all_are_out()

"""The daemon: one flow per source queue, until it is stopped."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from connectorlib.amqp import Broker
from connectorlib.errors import Failure, Kind
from connectorlib.pipeline.run_sink import Program, SinkFlow, run_sink
from connectorlib.service import logs
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life, exit_code, reported
from connectorlib.service.reload import Reloading, Term
from connectorlib.version import VERSION
from sfconnector import LAST_SUCCESS
from sfconnector import config as configuration
from sfconnector.division_group import DivisionGroup
from sfconnector.flow import by_queue, make_flow
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.error_codes import MISMATCH
from sfconnector.salesforce.login import TokenProvider
from sfconnector.salesforce.usage import Budgets
from sfconnector.settings import SfConfig

logger = logging.getLogger(__name__)

Load = Callable[[str], SfConfig]


def run(file: str, life: Life, load: Load = configuration.load) -> ExitCode:
    """Make Cases of what comes into the source queues until the life ends, or until no division can start. SIGHUP
    reloads the configuration."""
    return reported(lambda: Reloading(file, life, load).run(_run))


def _run(config: SfConfig, term: Term) -> ExitCode:
    first_log_ins = FirstLogIns(division.name for division in config.divisions)
    if not term.reloaded:
        first_log_ins.when_all_failed = term.request_stop
    program = Program("sfconnector", _names(config), "sfconnector", LAST_SUCCESS)
    counts = run_sink(config, program, lambda broker: _flows(config, broker, term, first_log_ins), term)
    for flow, counted in counts.items():
        logs.event(logger, logging.INFO, "stopped", flow=flow, **counted)
    return ExitCode.DONE if term.reloaded else _exit_code(first_log_ins)


@contextmanager
def _flows(config: SfConfig, broker: Broker, term: Term, first_log_ins: "FirstLogIns") -> Iterator[Sequence[SinkFlow]]:
    """Return the flows; each division's connections are opened when they are needed, and closed at the end."""
    budgets = Budgets(config.reserve_percent)
    with ExitStack() as stack:
        clients = {}
        for division in config.divisions:
            tokens = TokenProvider(division.salesforce, division.name)
            clients[division.name] = [
                stack.enter_context(closing(Client(division.salesforce, division.name, tokens, division.case.errors)))
                for _ in range(division.lanes.count)
            ]
        logs.event(logger, logging.INFO, "started", version=VERSION, divisions=_names(config))
        yield [
            make_flow(
                DivisionGroup(
                    config, divisions, broker.publisher, clients, budgets, stop=term.stop, on_first=first_log_ins.note
                )
            )
            for divisions in by_queue(config.divisions)
        ]


def _names(config: SfConfig) -> str:
    return ",".join(division.name for division in config.divisions)


def _exit_code(first_log_ins: "FirstLogIns") -> ExitCode:
    if not first_log_ins.all_failed:
        return ExitCode.DONE
    failures = first_log_ins.failures
    for name, failure in failures.items():
        text = failure.text if failure.code == MISMATCH else failure  # the text of a mismatch names its place itself
        logger.error("division %s: %s", name, text, extra={"event": "failed"})
    logger.error("no division is left: stopping", extra={"event": "failed"})
    refused = next((failure for failure in failures.values() if failure.kind is Kind.REFUSED), None)
    return exit_code(refused or next(iter(failures.values())))


class FirstLogIns:
    """The results of the first log-in of each division. Once all have failed for good nothing is left to do."""

    def __init__(self, names: Iterator[str]) -> None:
        self._lock = threading.Lock()
        self._names = list(names)
        self._failures: dict[str, Failure] = {}
        self.when_all_failed: Callable[[], object] = lambda: None

    @property
    def all_failed(self) -> bool:
        return len(self._failures) == len(self._names)

    @property
    def failures(self) -> dict[str, Failure]:
        """The divisions that a person has to correct, with the reason, in the order of the file."""
        return {name: self._failures[name] for name in self._names if name in self._failures}

    def note(self, name: str, failure: Failure | None) -> None:
        """Record a first log-in; an outage does not count as failed for good."""
        if failure is None or failure.kind not in (Kind.REFUSED, Kind.CONFIGURATION):
            return
        with self._lock:
            self._failures[name] = failure
        if self.all_failed:
            self.when_all_failed()

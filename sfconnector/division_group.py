"""The divisions that share one source queue, as far as a flow has to do with all of them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from connectorlib.amqp import Publisher
from connectorlib.errors import Failed, Failure
from connectorlib.messages import Dead, Delivery
from connectorlib.monitoring.counters import SinkDetail, SinkMetric
from sfconnector.alarms.alarm_counts import alarm_details, alarm_metrics
from sfconnector.alarms.alarm_sink import AlarmSink
from sfconnector.division import DivisionState
from sfconnector.division_router import LaneRouter
from sfconnector.reply import Replies
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.usage import Budgets
from sfconnector.settings import Division, SfConfig
from sfconnector.sink import CaseSink

#: Called with the name of a division and the result of its first log-in.
OnFirst = Callable[[str, Failure | None], None]


class DivisionGroup:
    """The divisions that share one source queue: their states, and a sink for each of their clients."""

    def __init__(
        self,
        config: SfConfig,
        divisions: Sequence[Division],
        publisher: Publisher,
        clients: Mapping[str, Sequence[Client]],
        budgets: Budgets,
        *,
        stop: threading.Event,
        on_first: OnFirst,
    ) -> None:
        own_queues = frozenset(queue for division in config.divisions for queue in division.source.queues)
        own_queues |= {config.broker.dead_letter.queue}
        self.divisions = divisions
        self.clients = clients
        self._states: list[DivisionState] = []
        self._replies: list[Replies | None] = []
        self.sinks: list[CaseSink | AlarmSink] = []
        self.router = LaneRouter(divisions)
        for division in divisions:
            state = DivisionState(division, budgets, on_first=partial(on_first, division.name))
            to = Replies(reply, publisher, division.name, own_queues) if (reply := division.reply) else None
            make = CaseSink if division.case.alarm is None else AlarmSink
            self.sinks += [make(state, client, stop=stop, replies=to) for client in clients[division.name]]
            self._states.append(state)
            self._replies.append(to)
        self._alarms = [state.alarms for state in self._states if state.settings.case.alarm is not None]

    def metrics(self) -> Sequence[SinkMetric]:
        """Return what is counted of the Cases and the alarms of all divisions."""
        help_text = "Cases made in Salesforce; a message may be several."
        return [SinkMetric("cases_created", help_text, "counter", self._created), *alarm_metrics(self._alarms)]

    def details(self) -> Sequence[SinkDetail]:
        """Return the lines of the status about alarms."""
        return alarm_details(self._alarms)

    def stretch(self) -> float:
        """Return by how much messages are to be collected for longer, since an org has few API calls left."""
        return max(state.stretch(self.clients[state.settings.name][0]) for state in self._states)

    def dead(self, delivery: Delivery, verdict: Dead) -> None:
        """Let the division that a message was for know that it is dead-lettered."""
        with suppress(Failed):
            position = self.router.division(delivery)
            for lane in self.router.lanes[position]:
                self.sinks[lane].forget(delivery)
            if (to := self._replies[position]) is not None:
                to.dead(delivery, verdict)

    def look_ahead(self, upcoming: Callable[[int], Sequence[Delivery]]) -> None:
        """Let the only sink map what comes next while it waits for an answer."""
        if isinstance(sink := self.sinks[0], CaseSink):
            sink.upcoming = upcoming

    def nudge(self) -> None:
        """Let every sink try again at once."""
        for sink in self.sinks:
            sink.nudge()

    def _created(self) -> int:
        return sum(state.created for state in self._states)

"""A lane at work: its state, its sink, and where its pauses are announced."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field

from connectorlib.dataclass import dataclass
from connectorlib.errors import Stale
from connectorlib.messages import LATER, Outcome
from connectorlib.monitoring.flow_stats import LaneFacts
from connectorlib.pipeline import lane_protocol as lanes
from connectorlib.pipeline.lane import Lane, Rules
from connectorlib.pipeline.pause import PauseNotice
from connectorlib.pipeline.sink import Sink, handled, probed


@dataclass(slots=True, eq=False)
class Worker:
    sink: Sink
    notice: PauseNotice
    rules: Rules = field(default_factory=Rules)
    lane: Lane = field(init=False)
    #: Those that work for the same target, itself among them.
    peers: "Sequence[Worker]" = field(init=False, repr=False)
    #: The thread of its sink, where there are several lanes.
    thread: ThreadPoolExecutor | None = None

    def __post_init__(self) -> None:
        self.lane = Lane(self.rules)
        self.peers = [self]

    @property
    def wakes_at(self) -> float | None:
        """When a `Tick` of its lane is due (monotonic); none while a peer asks the target that the lane waits for. Of
        the lanes that a flood has paused one probes at a time, the one that has done so least often: it may cost a
        message."""
        lane, flooded = self.lane, [peer.lane for peer in self.peers if peer.lane.flooded]
        if lane.flooded and lane.paused:
            if any(other.busy or other.seeks_until for other in flooded):
                return None
            turn = min(flooded, key=lambda each: (not each.paused, not each.in_hand, len(each.refused_keys)))
            return lane.wakes_at if lane is turn else None
        is_asked = lane.paused and any(peer.lane.probing for peer in self.peers)
        return None if is_asked else lane.wakes_at

    @property
    def is_led(self) -> bool:
        """Whether another lane of a flood has its answer, and tries a message for all of them."""
        return self.lane.flooded and any(peer.lane.flooded and not peer.lane.paused for peer in self.peers)

    def prolonged(self) -> "Sequence[tuple[Worker, lanes.Prolonged]]":
        """Return the events that put the lanes of its target that a flood has paused on one schedule, the latest; one
        that is being answered is told afterwards."""
        flooded = [(peer, peer.lane.pause) for peer in self.peers if peer.lane.flooded and peer.lane.pause]
        latest = max((pause for _, pause in flooded if pause.next_try), key=lambda pause: pause.attempt, default=None)
        if latest is None:
            return ()
        behind = [peer for peer, pause in flooded if pause.attempt < latest.attempt and not peer.lane.busy]
        return [(peer, lanes.Prolonged(latest)) for peer in behind]

    @property
    def facts(self) -> LaneFacts:
        """What its lane is doing. Any thread may ask."""
        lane = self.lane
        working, suspects = len(lane.working), len(lane.suspects.all)
        behind = {str(key): waiting for key, waiting in lane.blocked.items()}
        waiting = lane.in_hand - working - suspects
        return LaneFacts(self.notice.name, working, waiting, suspects, lane.pause is not None, behind)

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages have passed each place of its target, through whichever lane."""
        total = Counter(self.sink.passed)
        for other in self.peers:
            if other is not self:
                total.update(other.sink.passed)
        return total

    def call(self, action: lanes.Work | lanes.Probe, is_current: Callable[[int], bool]) -> lanes.Event:
        """Call the sink, and return its answer. `is_current`: whether a generation of deliveries is still ours."""
        if isinstance(action, lanes.Probe):
            return lanes.Probed(probed(self.sink.probe), self.passed)
        generation = action.deliveries[0].generation
        outcomes: Sequence[Outcome]
        try:
            outcomes = handled(self.sink, action.deliveries, lambda: is_current(generation), action.isolating)
        except Stale:
            outcomes = [LATER] * len(action.deliveries)
        return lanes.Finished(outcomes, self.passed)

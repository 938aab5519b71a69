"""A lane at work: its state, its sink, and where its pauses are announced."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from connectorlib.errors import Stale
from connectorlib.messages import LATER, Outcome
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
        """When a `Tick` of its lane is due (monotonic); none while a peer asks the target that the lane waits for."""
        is_asked = self.lane.paused and any(peer.lane.probing for peer in self.peers)
        return None if is_asked else self.lane.wakes_at

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

"""What happens to a lane, and what it wants done about it: the events and actions of `lane_step.step`."""

from collections.abc import Mapping, Sequence

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure
from connectorlib.messages import Dead, Delivery, Outcome
from connectorlib.pipeline.blame import Pause

Deliveries = tuple[Delivery, ...]

# Events


@dataclass(frozen=True, slots=True)
class Started:
    """The lane begins: nothing is taken before the target has answered once."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Messages of the queue, in their order, are handed to the lane."""

    deliveries: Deliveries


@dataclass(frozen=True, slots=True)
class Finished:
    """The sink has answered `Work`: one outcome for each message, and what has passed so far (see `Sink.passed`)."""

    outcomes: Sequence[Outcome]
    passed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Probed:
    """The target has answered `Probe`, or `failure` says why it has not."""

    failure: Failure | None
    passed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. `empty`: the queue had nothing more."""

    passed: Mapping[str, int]
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Nudged:
    """Somebody wants a paused lane to try now."""


@dataclass(frozen=True, slots=True)
class Prolonged:
    """A flood has paused this lane, and another lane of the target has probed in vain: its schedule is this one's."""

    pause: Pause


@dataclass(frozen=True, slots=True)
class Dropped:
    """What is in hand belongs to a channel that is gone, or was requeued: it comes again. Ends a `Stopped`.

    `requeued`: by us, so that it counts against the delivery limits of the messages."""

    requeued: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """Begin nothing more; what is under way is still answered and settled. Comes before the end, or a `Dropped`."""


Event = Started | Arrived | Finished | Probed | Tick | Nudged | Prolonged | Dropped | Stopped


# Actions


@dataclass(frozen=True, slots=True)
class Work:
    """Hand these to the sink. `isolating`: they are tried apart from others, so a wait for a lock should be short."""

    deliveries: Deliveries
    isolating: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the target for a sign of life."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Acknowledge these. `counts`: as what they count (`Done.counted`), and how many of them."""

    deliveries: Deliveries
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Bury:
    """Publish a dead letter for each, and acknowledge it once that is confirmed."""

    verdicts: tuple[tuple[Delivery, Dead], ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """The line of a pause is due. `changed`: it begins, or has another cause than before."""

    pause: Pause
    changed: bool


@dataclass(frozen=True, slots=True)
class Resumed:
    """A message has passed: the pause has ended."""

    pause: Pause


@dataclass(frozen=True, slots=True)
class Retried:
    """A batch failed and is tried again together after a wait."""

    failure: Failure
    count: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Isolated:
    """A message failed alone."""

    delivery: Delivery
    failure: Failure


Action = Work | Probe | Settle | Bury | Announce | Resumed | Retried | Isolated

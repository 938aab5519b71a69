"""A lane: one ordered worker behind a queue, as a value. What an event makes of it: `lane_step`.

What a lane has in hand is always in one of four places: `working` (the sink has it), `pieces` (failed, to be tried
again together or in parts), `suspects` (failed alone), `waiting` (not tried yet).
"""

from collections.abc import Hashable, Mapping
from dataclasses import field

from connectorlib.dataclass import dataclass
from connectorlib.errors import Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline.blame import Pause, Suspects
from connectorlib.pipeline.lane_protocol import Deliveries
from connectorlib.shared_settings import Retry

NONE: Deliveries = ()

#: A message that was handed out this often is tried alone: it may be what kills its consumer.
SUSPICIOUS_DELIVERIES = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change while a lane lives."""

    retry: Retry = field(default_factory=Retry)
    #: How many messages one call of the sink may have.
    batch_size: int = 500
    #: Seconds after which nothing that is in hand may be kept back any longer.
    hold_seconds: float = 300.0
    #: Whether messages with the same `Delivery.key` keep their order, also through retries.
    ordered: bool = False
    #: Whether one call may have only one message of each key, because the sink settles the messages of a call singly.
    one_per_key: bool = False
    #: Seconds between two probes at last, where a kind of failure has another limit than usual.
    longest: Mapping[Kind, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """Messages that failed together, or were deferred together, and are tried together."""

    deliveries: Deliveries
    #: Whether they have been tried apart from others already, or together once more: then a failure splits them.
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """The state of one lane."""

    rules: Rules = field(default_factory=Rules)
    waiting: Deliveries = NONE
    working: Deliveries = NONE
    #: When the sink was given that.
    begun: float = 0.0
    pieces: tuple[Piece, ...] = ()
    suspects: Suspects = field(default_factory=Suspects)
    #: How many messages have passed each place so far (`Sink.passed`).
    passed: Mapping[str, int] = field(default_factory=dict)
    #: Nothing of `pieces` is tried before.
    retry_at: float = 0.0
    #: One message at a time, until one passes.
    careful: bool = False
    pause: Pause | None = None
    #: A probe is under way.
    probing: bool = False
    #: The target has not answered yet since the lane began.
    starting: bool = False
    #: How often in a row suspects had to be released for want of proof.
    trips: int = 0
    #: The next message is one that has not been tried: bad ones in front must not hide that others pass.
    fresh: bool = False
    #: Nothing has passed since a flood began, for which the sink asks the target again what it accepts.
    doubting: bool = False
    #: The keys of the messages that were refused in the pause of a flood, the last one last.
    refused_keys: tuple[Hashable, ...] = ()
    #: Until then a probe of a flood waits for a message of another key; 0: no longer.
    seeks_until: float = 0.0
    #: What the sink works on has failed before, and is tried apart from the rest.
    isolating: bool = False
    #: What the sink works on is not ours any more.
    stale: bool = False
    stopped: bool = False

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return bool(self.working) or self.probing

    @property
    def paused(self) -> bool:
        """Whether it waits for an answer of the target; after that, a pause lasts until a message passes."""
        return self.pause is not None and self.pause.next_try is not None

    @property
    def flooded(self) -> bool:
        """Whether a flood has paused it, and nothing has passed since."""
        return self.pause is not None and self.pause.failure.kind is Kind.FLOOD

    @property
    def wants(self) -> int:
        """How many messages it could begin at once; in a flood, among how many it would look for another key."""
        if self.busy or self.stopped:
            return 0
        if self.flooded and not self.paused:
            return self.rules.batch_size
        if self.fresh and not chosen(self, 1):
            return 1
        if self.paused or self.pieces:
            return 0
        return 1 if self.careful else self.rules.batch_size

    @property
    def in_hand(self) -> int:
        pieces = sum(len(piece.deliveries) for piece in self.pieces)
        return len(self.waiting) + len(self.working) + pieces + len(self.suspects.all)

    @property
    def oldest(self) -> float | None:
        """When the oldest message in hand arrived."""
        pieces = [delivery for piece in self.pieces for delivery in piece.deliveries]
        suspected = [suspect.delivery for suspect in self.suspects.all]
        everything = (*self.working, *pieces, *suspected, *self.waiting)
        return min((delivery.received for delivery in everything), default=None)

    @property
    def blocked(self) -> Mapping[Hashable, int]:
        """How many messages wait behind each key that has a suspect."""
        if not (self.rules.ordered and self.suspects.all):
            return {}
        keys = (suspect.delivery.key for suspect in self.suspects.all)
        found: dict[Hashable, int] = dict.fromkeys((key for key in keys if key is not None), 0)
        for delivery in self.waiting:
            if delivery.key in found:
                found[delivery.key] += 1
        return found

    @property
    def wakes_at(self) -> float | None:
        """When a `Tick` is due (monotonic); None: only another event, or proof, can change anything."""
        if self.busy or self.stopped:
            return None
        if self.pause is not None and self.pause.next_try is not None:
            return self.pause.next_try
        times = [self.retry_at] if self.pieces else []
        times += [self.seeks_until] if self.seeks_until else []
        times += [suspect.next_try for suspect in self.suspects.all if suspect.may_pass]
        return min(times, default=None)


def chosen(lane: Lane, limit: int) -> Deliveries:
    """Return the next messages that have not been tried, without those of a key that has to wait."""
    if lane.rules.ordered and (lane.suspects.all or lane.pieces or lane.rules.one_per_key):
        found = _first_of_keys(lane, limit)
    else:
        found = lane.waiting[:limit]
    return found[:1] if any([handed_out(d) >= SUSPICIOUS_DELIVERIES for d in found if d.redelivered]) else found


def of_another_key(lane: Lane) -> Deliveries:
    """Return the message to probe a flood with: of a key that was not refused yet, else of the one whose refusal is
    longest ago. None while one of another key may still come."""
    candidates = _first_of_keys(lane, len(lane.waiting)) if lane.rules.ordered else lane.waiting
    refused = {key: at for at, key in enumerate(lane.refused_keys)}
    found = min(candidates, key=lambda delivery: refused.get(key_of(delivery), -1), default=None)
    if found is None or (lane.seeks_until and key_of(found) in refused):
        return NONE
    return (found,)


def key_of(delivery: Delivery) -> Hashable:
    """Return what tells a message from others: its key, or else its routing key."""
    return delivery.routing_key if delivery.key is None else delivery.key


def _first_of_keys(lane: Lane, limit: int) -> Deliveries:
    taken = {suspect.delivery.key for suspect in lane.suspects.all}
    taken |= {delivery.key for piece in lane.pieces for delivery in piece.deliveries}
    found: list[Delivery] = []
    for delivery in lane.waiting:
        if len(found) == limit:
            break
        if delivery.key is None or delivery.key not in taken:
            found.append(delivery)
            if lane.rules.one_per_key:
                taken.add(delivery.key)
    return tuple(found)


def handed_out(delivery: Delivery) -> int:
    """Return how often the message came back before. Quorum queues count; a classic queue only says that it did. From
    RabbitMQ 4.3 on this count has what came back with a channel that ended, as when its consumer died, and lacks what
    was returned by a nack; `x-acquired-count` has both."""
    uncounted = int(delivery.redelivered and "x-acquired-count" not in delivery.headers)
    count = delivery.headers.get("x-delivery-count", uncounted)
    return count if isinstance(count, int) else 0

"""The lane against a small model, with a hostile target: hypothesis chooses what arrives, what the target answers, and
when time passes. The model knows nothing of the lane's rules; it keeps what must hold whatever happens."""

from collections.abc import Iterable
from itertools import count

from hypothesis import Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from connectorlib.errors import Failure, Kind
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Delivery, Done, Later, Outcome
from connectorlib.pipeline import lane_protocol as lanes
from connectorlib.pipeline.blame import ALL, Pause
from connectorlib.pipeline.lane import Lane, Rules
from connectorlib.pipeline.lane_step import step
from connectorlib.shared_settings import Retry

PLACE = "write[0]"
FAILURES = {kind: Failure(kind, kind.value, "a text", PLACE) for kind in Kind}
OUTCOMES: list[Outcome] = [DONE, ALREADY, LATER, Dead(FAILURES[Kind.REJECT])]
OUTCOMES += [Again(failure) for kind, failure in FAILURES.items() if kind is not Kind.REJECT]
#: A target answers a batch in one way, or each message in its own.
ANSWERS = strategies.one_of(
    strategies.sampled_from(OUTCOMES).map(lambda outcome: [outcome] * 50),
    strategies.lists(strategies.sampled_from(OUTCOMES), min_size=50, max_size=50),
)
RARELY = strategies.integers(0, 9).map(lambda number: number == 9)
SOONER_OR_LATER = strategies.sampled_from([0.0, 0.1, 1.0, 30.0, 400.0])


class LaneMachine(RuleBasedStateMachine):
    @initialize(
        ordered=strategies.booleans(),
        one_per_key=strategies.booleans(),
        attempts=strategies.integers(0, 3),
        breaker=strategies.integers(1, 4),
    )
    def begin(self, ordered: bool, one_per_key: bool, attempts: int, breaker: int) -> None:
        self.lane_rules = Rules(
            Retry(attempts=attempts, first_ms=100, max_s=5.0, breaker=breaker),
            batch_size=12,
            hold_seconds=300.0,
            ordered=ordered,
            one_per_key=one_per_key,
        )
        self.lane = Lane(self.lane_rules)
        self.tags = count(1)
        self.now = 1000.0
        self.in_hand: dict[int, Delivery] = {}
        self.under_way: list[Delivery] = []
        self.probing = False
        self.stopped = False
        self.stale = False
        self.passed = {PLACE: 0, ALL: 0}
        #: Whether a flood had paused it before it was told of the answers.
        self.flooded = False
        #: How many had passed when a message first failed alone.
        self.failed_first: dict[int, int] = {}
        self.answered_just_now = False
        self.take(lanes.Started())

    # What happens

    @precondition(lambda self: not self.stopped)
    @rule(keys=strategies.lists(strategies.sampled_from("abc"), min_size=1, max_size=30))
    def messages_arrive(self, keys: list[str]) -> None:
        arrived = [self.delivery(key) for key in keys]
        self.in_hand.update((delivery.tag, delivery) for delivery in arrived)
        self.take(lanes.Arrived(tuple(arrived)))

    @precondition(lambda self: self.under_way)
    @rule(answers=ANSWERS)
    def the_target_answers_a_call(self, answers: list[Outcome]) -> None:
        self.answer(answers)

    @precondition(lambda self: self.under_way)
    @rule(failure=strategies.sampled_from([FAILURES[Kind.RETRY], FAILURES[Kind.CONFIGURATION], FAILURES[Kind.UNKNOWN]]))
    def the_target_fails_whatever_has_one_of_the_bad_messages(self, failure: Failure) -> None:
        """Every third is bad, and spoils the call that it is in, as in a transaction; then the next calls, too."""
        for _ in range(12):
            if not self.under_way:
                break
            spoilt = any(delivery.tag % 3 == 0 for delivery in self.under_way)
            self.answer([Again(failure) if spoilt else DONE] * len(self.under_way))

    def answer(self, answers: list[Outcome]) -> None:
        worked, self.under_way = self.under_way, []
        outcomes = answers[: len(worked)]
        if all(isinstance(outcome, Later) for outcome in outcomes):
            outcomes[0] = DONE  # a sink never defers all
        self.expected = {id(d): o for d, o in zip(worked, outcomes, strict=True)}
        for delivery, outcome in zip(worked, outcomes, strict=True):
            if isinstance(outcome, Done):
                self.passed[PLACE] += 1
                self.passed[ALL] += 1
            elif isinstance(outcome, Again) and len(worked) == 1:
                self.failed_first.setdefault(delivery.tag, self.passed[PLACE])
        stale, self.stale = self.stale, False
        self.take(lanes.Finished(outcomes, dict(self.passed)), stale=stale)
        self.expected = {}

    @precondition(lambda self: self.probing)
    @rule(failure=strategies.sampled_from([None, None, *FAILURES.values()]))
    def the_target_answers_a_probe(self, failure: Failure | None) -> None:
        self.probing = False
        self.answered_just_now = failure is None
        self.take(lanes.Probed(failure, dict(self.passed)))
        self.answered_just_now = False

    @rule(seconds=SOONER_OR_LATER, empty=strategies.booleans())
    def time_passes(self, seconds: float, empty: bool) -> None:
        self.now += seconds
        self.take(lanes.Tick(dict(self.passed), empty))

    @rule(it=RARELY)
    def somebody_nudges(self, it: bool) -> None:
        if it:
            self.take(lanes.Nudged())

    @rule(seconds=SOONER_OR_LATER, attempt=strategies.integers(1, 9))
    def another_lane_probes_a_flood_in_vain(self, seconds: float, attempt: int) -> None:
        self.take(lanes.Prolonged(Pause(FAILURES[Kind.FLOOD], self.now, attempt, next_try=self.now + seconds)))

    @rule(it=RARELY, requeued=strategies.booleans())
    def the_channel_goes(self, it: bool, requeued: bool) -> None:
        if not it:
            return
        self.in_hand.clear()
        self.failed_first.clear()
        self.stale = bool(self.under_way)
        self.stopped = False
        self.take(lanes.Dropped(requeued))

    @rule(it=RARELY)
    def somebody_stops_it(self, it: bool) -> None:
        if it:
            self.stopped = True
            self.take(lanes.Stopped())

    # What must hold

    @invariant()
    def a_pause_seeks_nothing(self) -> None:
        """While one lane seeks a message to probe a flood with, its peers do not probe."""
        assert not (self.lane.paused and self.lane.seeks_until)

    @invariant()
    def nothing_is_lost_and_nothing_is_there_twice(self) -> None:
        lane = self.lane
        pieces = [delivery for piece in lane.pieces for delivery in piece.deliveries]
        found = [*lane.waiting, *pieces, *(suspect.delivery for suspect in lane.suspects.all)]
        found += [] if lane.stale else lane.working
        assert sorted(delivery.tag for delivery in found) == sorted(self.in_hand)
        assert lane.in_hand == len(found) + (len(lane.working) if lane.stale else 0)

    def teardown(self) -> None:
        """Whatever the state is: with a target that is well everything is done soon."""
        if self.stopped:
            return
        for _ in range(4 * self.lane.in_hand + 40):
            self.answer_all_well()
            if not self.in_hand:
                break
            wakes_at = self.lane.wakes_at
            self.now = self.now if wakes_at is None else max(self.now, wakes_at)
            self.take(lanes.Tick(dict(self.passed), empty=True))
        assert self.lane.in_hand == 0

    def answer_all_well(self) -> None:
        while self.under_way or self.probing:
            if self.probing:
                self.the_target_answers_a_probe(None)
            else:
                self.answer([DONE] * len(self.under_way))

    # How the model follows

    def take(self, event: lanes.Event, *, stale: bool = False) -> None:
        self.flooded = self.lane.flooded
        self.lane, actions = step(self.lane, event, self.now, 0.5)
        for action in actions:
            match action:
                case lanes.Work(deliveries):
                    self.begins(list(deliveries))
                case lanes.Probe():
                    assert not self.under_way
                    assert not self.probing
                    assert not self.stopped
                    self.probing = True
                case lanes.Settle(deliveries) if not stale:
                    assert all(isinstance(self.expected[id(delivery)], Done) for delivery in deliveries)
                    self.leave(deliveries)
                case lanes.Bury(verdicts) if not stale:
                    for delivery, verdict in verdicts:
                        self.may_be_buried(delivery, verdict)
                    self.leave(delivery for delivery, _ in verdicts)

    def begins(self, deliveries: list[Delivery]) -> None:
        assert not self.under_way
        assert not self.probing
        assert not self.stopped
        assert 0 < len(deliveries) <= self.lane_rules.batch_size
        assert not self.lane.careful or len(deliveries) == 1
        if self.lane_rules.ordered:
            self.is_the_turn_of(deliveries)
        self.under_way = deliveries

    def is_the_turn_of(self, deliveries: list[Delivery]) -> None:
        begun = {delivery.tag for delivery in deliveries}
        for delivery in deliveries:
            before = [d.tag for d in self.in_hand.values() if d.key == delivery.key and d.tag < delivery.tag]
            assert set(before) <= begun, "an earlier message of the key is not done yet"
        same = [[d.tag for d in deliveries if d.key == key] for key in {d.key for d in deliveries}]
        assert all(tags == sorted(tags) for tags in same)

    def may_be_buried(self, delivery: Delivery, verdict: Dead) -> None:
        outcome = self.expected.get(id(delivery))
        if isinstance(outcome, Dead):
            return
        if isinstance(outcome, Again) and outcome.failure.kind is Kind.FLOOD:
            assert self.flooded, "what a flood refuses is dead only in its pause"
            assert len(self.expected) == 1, "a probe of a flood costs one message"
            assert self.lane.paused
            return
        proven = self.passed[PLACE] > self.failed_first[delivery.tag]
        nothing_to_compare = verdict.failure.kind is Kind.UNKNOWN and self.answered_just_now
        assert proven or nothing_to_compare

    def leave(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            del self.in_hand[delivery.tag]  # a KeyError: settled twice

    def delivery(self, key: str) -> Delivery:
        made = Delivery(next(self.tags), 1, "q", "", "q", False, None, b"", self.now)  # type: ignore[arg-type]  # unused
        made.key = key
        return made

    expected: dict[int, Outcome] = {}  # noqa: RUF012 - replaced, never changed


LaneMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=30, phases=(Phase.explicit, Phase.generate)
)
TestLane = LaneMachine.TestCase

"""What an event makes of a lane, as one pure function.

`step(lane, event, now, random)` returns the lane after the event and the actions that the pump has to execute. It knows
no clock, socket, thread or logger: `now` is monotonic seconds, `random` is in [0, 1).

The rules:

- One call at a time: no `Work` and no `Probe` before the one under way has been answered.
- A batch that fails as a whole is tried together once more if another attempt may help, then in pieces, then one by
  one. A message that fails alone is a suspect, and the blame rule decides about it (`blame`).
- With `ordered`, later messages of a key wait until the earlier ones are settled, through all retries.
- A lane pauses when its target is unavailable or refuses the log-in, and when suspects are not proven to be the cause.
  It then probes; after an answer it tries one message at a time until one passes.
- A flood (`flood`) pauses a lane too, once its sink has asked the target anew and the next message was refused all the
  same. Each probe then costs one message, of another key each time, and dead-letters it if it is refused alike.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from math import isqrt

from connectorlib.dataclass import replace
from connectorlib.errors import Failure, Kind
from connectorlib.messages import DONE, LATER, Again, Dead, Delivery, Done, Later, Outcome
from connectorlib.pipeline.blame import PAUSING, PROBED_ON_SCHEDULE, Pause, Suspect, reason
from connectorlib.pipeline.lane import NONE, Lane, Piece, chosen, key_of, of_another_key
from connectorlib.pipeline.lane_protocol import (
    Action,
    Announce,
    Arrived,
    Bury,
    Deliveries,
    Dropped,
    Event,
    Finished,
    Isolated,
    Nudged,
    Probe,
    Probed,
    Prolonged,
    Resumed,
    Retried,
    Settle,
    Started,
    Stopped,
    Tick,
    Work,
)

#: Seconds for which a probe of a flood waits for a message of a key that was not refused yet.
SEEK_S = 1.0


def step(lane: Lane, event: Event, now: float, random: float) -> tuple[Lane, list[Action]]:
    """Return the lane after the event, and what the pump has to do, in this order."""
    actions: list[Action] = []
    match event:
        case Started():
            actions.append(Probe())
            lane = replace(lane, probing=True, starting=True)
        case Arrived(deliveries):
            lane = replace(lane, waiting=lane.waiting + deliveries)
        case Finished(outcomes, passed):
            lane = _finished(replace(lane, passed=passed), outcomes, now, random, actions)
        case Probed(failure, passed):
            lane = _probed(replace(lane, passed=passed, probing=False), failure, now, random, actions)
        case Tick(passed):
            lane = replace(_freed(lane, passed, now), passed=passed)
        case Nudged():
            lane = replace(lane, pause=lane.pause and lane.pause.nudged(now))
        case Prolonged(pause):
            lane = _prolonged(lane, pause)
        case Dropped(requeued):
            lane = _dropped(lane, requeued, now)
        case Stopped():
            lane = replace(lane, stopped=True)
    return _advance(lane, event, now, actions), actions


def _advance(lane: Lane, event: Event, now: float, actions: list[Action]) -> Lane:
    """Begin what is next, if nothing is under way."""
    if lane.busy or lane.stopped:
        return lane
    lane = _convict(lane, actions)
    if _is_to_probe(lane, event, now):
        actions.append(Probe())
        return replace(lane, probing=True)
    if lane.paused:
        return lane
    due, suspects = lane.suspects.due(now, lane.passed)
    singles = tuple(Piece((suspect.delivery,), isolated=True) for suspect in due)
    return _begin(replace(lane, suspects=suspects, pieces=singles + lane.pieces), now, actions)


def _convict(lane: Lane, actions: list[Action]) -> Lane:
    convicted, suspects = lane.suspects.convicted()
    _bury(convicted, actions)
    return replace(lane, suspects=suspects) if convicted else lane


def _bury(convicted: Sequence[Suspect], actions: list[Action]) -> None:
    if convicted:
        verdicts = ((s.delivery, Dead(s.failure, reason(s.failure), s.attempts)) for s in convicted)
        actions.append(Bury(tuple(verdicts)))


def _is_to_probe(lane: Lane, event: Event, now: float) -> bool:
    """Whether a pause has waited long enough, or suspects can only be judged by what the target says. A pause hears
    that from the pump, which lets one lane of a target probe at a time."""
    if lane.pause is not None and lane.pause.next_try is not None:
        return isinstance(event, Tick | Nudged) and lane.pause.next_try <= now
    if not lane.suspects.all:
        return False
    held_too_long = any(now - s.delivery.received > lane.rules.hold_seconds for s in lane.suspects.all)
    nothing_else = isinstance(event, Tick) and event.empty and not lane.pieces and not chosen(lane, 1)
    exhausted = nothing_else and lane.suspects.exhausted(lane.passed)
    return held_too_long or exhausted or lane.suspects.tripped(lane.rules.retry, lane.passed)


def _begin(lane: Lane, now: float, actions: list[Action]) -> Lane:
    """Hand the next messages to the sink."""
    limit = 1 if lane.careful else lane.rules.batch_size
    if lane.flooded:
        lane = replace(lane, seeks_until=lane.seeks_until if now < lane.seeks_until else 0.0)
        chunk = of_another_key(lane)
    else:
        chunk = chosen(lane, limit) if lane.fresh or not lane.pieces else NONE
    if not chunk:
        return _begin_piece(lane, limit, now, actions) if lane.pieces else lane
    actions.append(Work(chunk))
    waiting = _without(lane.waiting, chunk)
    return replace(lane, working=chunk, begun=now, isolating=False, waiting=waiting, fresh=False, seeks_until=0.0)


def _begin_piece(lane: Lane, limit: int, now: float, actions: list[Action]) -> Lane:
    if lane.retry_at > now:
        return lane
    first, *others = lane.pieces
    chunk, rest = first.deliveries[:limit], first.deliveries[limit:]
    pieces = (*((replace(first, deliveries=rest),) if rest else ()), *others)
    actions.append(Work(chunk, first.isolated))
    lane = replace(lane, working=chunk, begun=now, isolating=first.isolated, pieces=pieces)
    return replace(lane, fresh=False, seeks_until=0.0)


def _without(waiting: Deliveries, chunk: Deliveries) -> Deliveries:
    if waiting[: len(chunk)] == chunk:  # nearly always
        return waiting[len(chunk) :]
    gone = {delivery.identity for delivery in chunk}
    return tuple(delivery for delivery in waiting if delivery.identity not in gone)


def _finished(lane: Lane, outcomes: Sequence[Outcome], now: float, random: float, actions: list[Action]) -> Lane:
    chunk, stale = lane.working, lane.stale
    lane = replace(lane, working=NONE, stale=False)
    if outcomes.count(DONE) == len(outcomes):  # nearly always
        actions.append(Settle(chunk, {DONE.counted: len(chunk)}))
        return _passed(lane, chunk, actions)
    pairs = list(zip(chunk, outcomes, strict=True))
    done = tuple(delivery for delivery, outcome in pairs if isinstance(outcome, Done))
    dead = tuple((delivery, outcome) for delivery, outcome in pairs if isinstance(outcome, Dead))
    if done:
        actions.append(Settle(done, Counter(outcome.counted for outcome in outcomes if isinstance(outcome, Done))))
        lane = _passed(lane, done, actions)
    if dead:
        actions.append(Bury(dead))
        lane = replace(lane, suspects=lane.suspects.settled([delivery for delivery, _ in dead]))
    if stale:
        return lane
    failure = next((outcome.failure for outcome in outcomes if isinstance(outcome, Again)), None)
    alone = len(chunk) == 1 or (lane.rules.ordered and _is_named(pairs))
    together = Again | Later if failure and lane.rules.ordered and not alone else Again  # in the order of their keys
    failed = tuple(delivery for delivery, outcome in pairs if isinstance(outcome, together))
    deferred = tuple(d for d, outcome in pairs if isinstance(outcome, Later) and not isinstance(outcome, together))
    if deferred:
        lane = replace(lane, pieces=(Piece(deferred), *lane.pieces))
    return lane if failure is None else _failed(lane, failed, failure, alone, now, random, actions)


def _is_named(pairs: Sequence[tuple[Delivery, Outcome]]) -> bool:
    """Whether the sink knows the one message that another attempt may cure, and put off others for its sake; not if
    one of its own key is among those before it, which comes first."""
    again = [(delivery.key, outcome.failure) for delivery, outcome in pairs if isinstance(outcome, Again)]
    if len(again) != 1 or again[0][1].kind is not Kind.RETRY or not any(outcome == LATER for _, outcome in pairs):
        return False
    key = again[0][0]
    left = (outcome for delivery, outcome in pairs if delivery.key == key and isinstance(outcome, Again | Later))
    return isinstance(next(left), Again)


def _passed(lane: Lane, done: Deliveries, actions: list[Action]) -> Lane:
    if lane.pause is not None:
        actions.append(Resumed(lane.pause))
        lane = replace(lane, pieces=_joined(lane.pieces))
    suspects = lane.suspects.passed(done)
    lane = replace(lane, doubting=False, refused_keys=(), seeks_until=0.0)
    return replace(lane, suspects=suspects, careful=False, trips=0, fresh=False, pause=None)


def _joined(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Return the pieces as one: what failed before a pause may pass together after it."""
    together = tuple(delivery for piece in pieces for delivery in piece.deliveries)
    return (Piece(together),) if together else ()


def _failed(
    lane: Lane,
    again: Deliveries,
    failure: Failure,
    alone: bool,
    now: float,
    random: float,
    actions: list[Action],
) -> Lane:
    """Decide what becomes of those that are neither done nor dead."""
    if failure.kind is Kind.FLOOD:
        return _flooded(lane, again, failure, now, random, actions)
    if failure.kind in PAUSING:
        return _pause(replace(lane, pieces=(Piece(again), *lane.pieces)), failure, now, random, actions)
    if alone and lane.pause is not None and failure.kind is Kind.CONFIGURATION:  # one message has shown that it lasts
        kept = replace(lane, pieces=(Piece(again, isolated=True), *lane.pieces), fresh=True)
        return _pause(kept, failure, now, random, actions)
    if alone:
        actions.append(Isolated(again[0], failure))
        return _suspect(lane, again[0], failure, now, random)
    if failure.kind is Kind.RETRY and not lane.isolating:
        actions.append(Retried(failure, len(again), 1))
        retry_at = now + lane.rules.retry.backoff.delay(0, random)
        return replace(lane, pieces=(Piece(again, isolated=True), *lane.pieces), retry_at=retry_at)
    return replace(lane, pieces=(*_split(again), *lane.pieces))


def _flooded(lane: Lane, again: Deliveries, failure: Failure, now: float, random: float, actions: list[Action]) -> Lane:
    """Try one more, for which the sink asks the target anew; then pause. In the pause a message that is refused alike
    is dead, and the next waits longer."""
    if lane.flooded and len(again) == 1:
        actions.append(Bury(((again[0], Dead(replace(failure, kind=Kind.REJECT, same=0))),)))
        key = key_of(again[0])
        refused_keys = (*(each for each in lane.refused_keys if each != key), key)
        suspects = lane.suspects.settled(again)
        return _pause(replace(lane, suspects=suspects, refused_keys=refused_keys), failure, now, random, actions)
    pieces = tuple(delivery for piece in lane.pieces for delivery in piece.deliveries)
    lane = replace(lane, waiting=(*again, *pieces, *lane.waiting), pieces=())
    if lane.doubting:
        return _pause(lane, failure, now, random, actions)
    return replace(lane, doubting=True, careful=True)


def _freed(lane: Lane, passed: Mapping[str, int], now: float) -> Lane:
    """Let a lane that a flood has paused probe now if a message of another lane has passed the place meanwhile."""
    if lane.flooded and lane.paused and lane.pause is not None:
        place = lane.pause.failure.place
        if passed.get(place, 0) > lane.passed.get(place, 0):
            return replace(lane, pause=lane.pause.nudged(now))
    return lane


def _prolonged(lane: Lane, pause: Pause) -> Lane:
    if lane.pause is None or not lane.flooded or lane.busy:
        return lane
    return replace(lane, pause=lane.pause.prolonged(pause), seeks_until=0.0)


def _split(deliveries: Deliveries) -> list[Piece]:
    """Return what failed together in about as many pieces as each has messages; a few, one by one. So one bad message
    of 500 costs 22 calls for the pieces and 22 for its neighbours, and only two of them have to wait for its lock."""
    size = isqrt(len(deliveries)) if len(deliveries) > 8 else 1
    return [Piece(deliveries[at : at + size], isolated=True) for at in range(0, len(deliveries), size)]


def _suspect(lane: Lane, delivery: Delivery, failure: Failure, now: float, random: float) -> Lane:
    cost = now - lane.begun
    suspects = lane.suspects.add(delivery, failure, lane.passed, lane.rules.retry, now, random, cost)
    lane = replace(lane, suspects=suspects)
    return lane if delivery.key is None or not lane.rules.ordered else _hold_back(lane, delivery.key)


def _hold_back(lane: Lane, key: Hashable) -> Lane:
    """Put the messages of a key that failed together with its suspect among those that wait, in front."""
    held = tuple(d for piece in lane.pieces for d in piece.deliveries if d.key == key)
    if not held:
        return lane
    left = (replace(p, deliveries=tuple(d for d in p.deliveries if d.key != key)) for p in lane.pieces)
    return replace(lane, pieces=tuple(piece for piece in left if piece.deliveries), waiting=held + lane.waiting)


def _dropped(lane: Lane, requeued: bool, now: float) -> Lane:
    pause = lane.pause
    if requeued and pause is not None and pause.next_try is not None and pause.failure.kind not in PROBED_ON_SCHEDULE:
        pause = pause.postponed(now + lane.rules.hold_seconds)  # it would fail again, and count each time
    return replace(
        lane,
        waiting=NONE,
        pieces=(),
        suspects=lane.suspects.dropped(),
        retry_at=0.0,
        pause=pause,
        stale=bool(lane.working),
        stopped=False,
    )


def _probed(lane: Lane, failure: Failure | None, now: float, random: float, actions: list[Action]) -> Lane:
    if failure is None and lane.starting and not lane.in_hand:
        if lane.pause is not None:
            actions.append(Resumed(lane.pause))
        return replace(lane, starting=False, pause=None)
    if lane.pause is not None and lane.pause.next_try is not None:
        if failure is None:
            seeks_until = now + SEEK_S if lane.flooded else 0.0
            return replace(lane, pause=lane.pause.answered(), careful=True, seeks_until=seeks_until)
        return _pause(lane, failure, now, random, actions)
    if failure is None:
        sole, suspects = lane.suspects.sole(lane.rules.retry, lane.passed)
        _bury(sole, actions)
        lane = replace(lane, suspects=suspects)
        failure = suspects.all[0].failure if suspects.all else None
    return lane if failure is None else _pause(_release(lane), failure, now, random, actions)


def _release(lane: Lane) -> Lane:
    """Let the suspects off for want of proof; they are tried again after the pause, behind one that is fresh if this
    happens repeatedly."""
    if not lane.suspects.all:
        return lane
    released = tuple(Piece((suspect.delivery,), isolated=True) for suspect in lane.suspects.all)
    return replace(
        lane,
        suspects=lane.suspects.dropped(),
        pieces=released + lane.pieces,
        fresh=lane.trips > 0,
        trips=lane.trips + 1,
    )


def _pause(lane: Lane, failure: Failure, now: float, random: float, actions: list[Action]) -> Lane:
    """Pause, or go on with the pause; announce it when that is due."""
    rules = lane.rules
    before = lane.pause or Pause(failure, now)
    pause = before.caused_by(failure).scheduled(now, random, rules.longest.get(failure.kind))
    if pause.is_to_announce(now):
        actions.append(Announce(pause, changed=lane.pause is None or not lane.pause.is_for(failure)))
        pause = pause.announced(now)
    return replace(lane, pause=pause, careful=True, seeks_until=0.0)

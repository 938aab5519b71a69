"""Which lane of a target acts when a flood has paused several, and on which schedule they wait."""

from dataclasses import replace
from typing import Any

from connectorlib.errors import Failure, Kind
from connectorlib.pipeline import lane_protocol as lanes
from connectorlib.pipeline.blame import Pause
from connectorlib.pipeline.lane import Lane
from connectorlib.pipeline.lane_step import step
from connectorlib.pipeline.worker import Worker

FLOOD = Failure(Kind.FLOOD, "23502", "null in column x", "write[0]", same=100)
NOW = 1000.0


def workers(*states: dict[str, Any]) -> list[Worker]:
    """Return the workers of one target; each state is that of a lane: `attempt`, and what else differs."""
    made: list[Worker] = []
    for state in states:
        attempt = state.pop("attempt", 1)
        next_try = state.pop("next_try", NOW + attempt)
        worker = Worker(None, None)  # type: ignore[arg-type]  # never called here
        worker.lane = replace(Lane(), pause=Pause(FLOOD, NOW, attempt, next_try), **state)
        made.append(worker)
    for worker in made:
        worker.peers = made
    return made


def test_the_lane_that_probed_least_often_has_its_turn_and_the_others_wait() -> None:
    often, rarely, newer = workers({"refused_keys": ("a", "b")}, {"refused_keys": ("c",)}, {"refused_keys": ("d", "e")})
    assert [each.wakes_at for each in (often, rarely, newer)] == [None, NOW + 1, None]


def test_nobody_has_a_turn_while_one_is_being_answered_or_waits_for_another_key() -> None:
    for state in ({"probing": True}, {"seeks_until": NOW + 1, "next_try": None}):
        _, other = workers(state, {})
        assert other.wakes_at is None


def test_all_that_can_be_told_wait_as_long_as_the_one_that_probed_last() -> None:
    latest, idle, busy = workers({"attempt": 5}, {"attempt": 2}, {"attempt": 2, "probing": True})
    told = latest.prolonged()
    assert [peer for peer, _ in told] == [idle], "one that is being answered would not heed it"
    for peer, event in told:
        peer.lane, _ = step(peer.lane, event, NOW, 0.5)
    assert idle.lane.pause is not None
    assert (idle.lane.pause.attempt, idle.lane.pause.next_try) == (5, NOW + 5)
    assert latest.prolonged() == idle.prolonged() == busy.prolonged() == []


def test_one_that_was_being_answered_is_told_afterwards() -> None:
    _, busy = workers({"attempt": 5}, {"attempt": 2, "probing": True})
    busy.lane, _ = step(busy.lane, lanes.Probed(replace(FLOOD, kind=Kind.UNAVAILABLE), {}), NOW, 0.5)
    busy.lane = replace(busy.lane, pause=Pause(FLOOD, NOW, 3, NOW + 3))
    assert [peer for peer, _ in busy.prolonged()] == [busy]

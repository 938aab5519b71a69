"""What the log says of the pauses of one target, whoever waits for it."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.pipeline.blame import Pause
from connectorlib.pipeline.pause import PauseNotice, hint

DOWN = Failure(Kind.UNAVAILABLE, "08001", "connection refused", "database")
WRONG = Failure(Kind.REFUSED, "28P01", "wrong password", "database")


@pytest.fixture
def notice() -> PauseNotice:
    broker: Any = SimpleNamespace(connected=False, next_try=None, alarm="low on disk")
    consumer: Any = SimpleNamespace(queue="q", held=0)
    return PauseNotice("pumps", consumer, broker)


def test_lanes_that_wait_for_one_target_are_one_line_each_time_it_is_due(
    notice: PauseNotice, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        caplog.clear()
        return [line.split()[0] for line in lines]

    pause = Pause(DOWN, 0.0)
    for lane in "abc":
        notice.announce(lane, pause, changed=True)
    assert told() == ["PAUSED"]
    for lane in "cab":
        notice.announce(lane, pause, changed=False)
    assert told() == ["PAUSED"], "after 15 minutes"
    notice.announce("b", pause.caused_by(WRONG), changed=True)
    notice.announce("c", pause.caused_by(WRONG), changed=True)
    assert told() == ["PAUSED"], "for another reason"
    notice.over("a")
    for lane in "cb":
        notice.announce(lane, pause, changed=False)
    assert told() == ["PAUSED"]
    notice.over("b")
    assert told() == []
    notice.over("c")
    assert told() == ["RESUMED"]


def test_every_pause_line_names_the_alarm_of_the_broker(notice: PauseNotice, caplog: pytest.LogCaptureFixture) -> None:
    notice.announce("a", Pause(DOWN, 0.0), changed=True)
    assert 'alarm="broker low on disk"' in caplog.text


@pytest.mark.parametrize(
    ("kind", "place", "part"),
    [
        (Kind.UNAVAILABLE, "publish", "make room in the dead-letter queue"),
        (Kind.REFUSED, "publish", "permissions in the broker"),
        (Kind.REFUSED, "broker", "permissions in the broker"),
        (Kind.REFUSED, "token server", "client_id and client_secret"),
        (Kind.UNAVAILABLE, "token server", "is it running"),
        (Kind.REFUSED, "database", "permissions in the target"),
    ],
)
def test_what_to_do_goes_by_who_has_failed(kind: Kind, place: str, part: str) -> None:
    assert part in hint(Failure(kind, "x", "", place))

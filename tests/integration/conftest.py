"""What the tests of broker and pump share."""

from collections.abc import Callable, Iterator

import pytest

from connectorlib.pipeline import blame
from connectorlib.values.backoff import Backoff
from tests.services.rabbitmq import Vhost


@pytest.fixture
def queue(vhost: Vhost) -> Vhost:
    vhost.declare_queue("q")
    vhost.declare_queue("dead-letter")
    vhost.declare_exchange("dead-letter", "topic")
    with vhost.channel() as channel:
        channel.queue_bind("dead-letter", "dead-letter", "#")
    return vhost


@pytest.fixture
def alarm(vhost: Vhost) -> Iterator[Callable[[], None]]:
    """A memory alarm: the broker stops reading from who publishes."""
    vhost.node.set_memory_alarm()
    yield vhost.node.clear_memory_alarm
    vhost.node.clear_memory_alarm()


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pauses a flow is tried again after a tenth of the usual time."""
    monkeypatch.setattr(blame, "PROBES", Backoff(0.1, 6.0, jitter=0.25))

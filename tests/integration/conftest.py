"""What the tests of broker and pump share."""

from collections.abc import Callable, Iterator

import pytest

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
    alarm = "{resource_limit, memory, node()}"
    vhost.node.control("eval", f"rabbit_alarm:set_alarm({{{alarm}, []}}).")
    cleared: list[str] = []

    def clear() -> None:
        if not cleared:
            cleared.append(vhost.node.control("eval", f"rabbit_alarm:clear_alarm({alarm})."))

    yield clear
    clear()

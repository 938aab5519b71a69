"""A flow as a process assembles it, on a real broker."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from connectorlib.amqp import Broker
from connectorlib.messages import Delivery
from connectorlib.monitoring.monitor import Monitor
from connectorlib.pipeline.run_sink import SinkFlow, make_pump
from connectorlib.service.process import Life
from connectorlib.service.reload import Term
from connectorlib.shared_settings import Batch, Retry, Source
from tests.integration.pumping import Target, bodies
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

Peek = Callable[[int], Sequence[Delivery]]


@contextmanager
def flow_of(
    vhost: Vhost, source: Source, sinks: list[Target], peeks: list[Peek], **more: Any
) -> Iterator[Callable[[], None]]:
    """Yield what runs a flow, of one message a batch, until the end of the block."""
    flow = SinkFlow(
        name="test",
        sinks=sinks,
        source=source,
        batch=Batch(1, 0),
        retry=Retry(),
        hold_seconds=300,
        on_peek=peeks.append,
        **more,
    )
    settings, term = vhost.broker_settings(), Term(Life(install=False), reloaded=False)
    with Broker(settings, name="test") as broker:
        monitor = Monitor("test", "test", "test.json", broker, "dead-letter")
        thread = threading.Thread(target=make_pump(flow, settings, broker, monitor, term).run)
        try:
            yield thread.start
        finally:
            term.request_stop()
            if thread.ident:
                thread.join(30)
            assert not thread.is_alive()


def test_the_only_sink_sees_what_comes_next_while_it_works(vhost: Vhost) -> None:
    vhost.declare_queue("q")
    vhost.publish("", "q", bodies(4))
    peeks: list[Peek] = []
    seen: list[list[bytes]] = []

    def verdict(body: bytes) -> None:
        if not seen:
            assert eventually(lambda: len(peeks[0](9)) == 3)
        seen.append([delivery.body for delivery in peeks[0](2)])

    target = Target(verdict)
    with flow_of(vhost, Source("q", None, prefetch=20), [target], peeks) as run:
        run()
        assert eventually(lambda: len(target.written) == 4)
    assert target.written == bodies(4)
    assert seen == [[b"1", b"2"], [b"2", b"3"], [b"3"], []]
    assert [*peeks[0](9)] == []


@pytest.mark.parametrize(
    ("sinks", "route"), [(2, None), (1, lambda delivery: [0])], ids=["another may have it", "a router may leave it out"]
)
def test_who_may_not_get_the_next_messages_sees_none_of_them(vhost: Vhost, sinks: int, route: Any) -> None:
    peeks: list[Peek] = []
    with flow_of(vhost, Source("q", None), [Target() for _ in range(sinks)], peeks, route=route):
        assert peeks == []

"""A pump on a real broker, whose handler plays the target, good days and bad."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from connectorlib.amqp import AnyConsumer, Broker, topology
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import DONE, Again, Dead, Delivery, Outcome
from connectorlib.pipeline.blame import ALL
from connectorlib.pipeline.dead_letter_publisher import DeadLetterPublisher
from connectorlib.pipeline.flood import Brake
from connectorlib.pipeline.lane import Rules
from connectorlib.pipeline.pause import BrokerWait, PauseNotice
from connectorlib.pipeline.pump import Pump, Router
from connectorlib.pipeline.worker import Worker
from connectorlib.shared_settings import PREFETCH_BYTES, Retry, Source
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

PLACE = "write[0]"
DOWN = Failure(Kind.UNAVAILABLE, "08001", "connection refused", "write[0]")
LOCKED = Failure(Kind.RETRY, "55P03", "lock timeout", "write[0]")
STRANGE = Failure(Kind.UNKNOWN, "HY000", "who knows", "write[0]")
NO_TABLE = Failure(Kind.CONFIGURATION, "42P01", "no such table", "write[0]")

Verdict = Callable[[bytes], Failure | None]


class Target:
    """What a database would be: says yes or no to each body, and may be down."""

    def __init__(self, verdict: Verdict = lambda body: None, brake: Brake | None = None) -> None:
        self.verdict = verdict
        self.brake = brake or Brake(0)
        self.passed: Counter[str] = Counter({"write[0]": 0, ALL: 0})
        self.written: list[bytes] = []
        self.batches: list[int] = []
        self.up = True
        self.calls = 0

    def handle(
        self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
    ) -> list[Outcome]:
        self.calls += 1
        self.batches.append(len(deliveries))
        if not self.up:
            return [Again(DOWN)] * len(deliveries)
        failures = [self.verdict(delivery.body) for delivery in deliveries]
        worst = next((f for f in failures if f is not None and f.kind is not Kind.REJECT), None)
        if worst is not None:
            return [Again(worst)] * len(deliveries)
        outcomes: list[Outcome] = []
        for delivery, failure in zip(deliveries, failures, strict=True):
            if failure is not None:
                flood = self.brake.refused(delivery, failure)
                if flood is not None:
                    return [*outcomes, *[Again(flood)] * (len(deliveries) - len(outcomes))]
                outcomes.append(Dead(failure))
            else:
                outcomes.append(DONE)
                self.brake.passed([PLACE], [delivery])
                self.written.append(delivery.body)
                self.passed.update(["write[0]", ALL])
        return outcomes

    def probe(self) -> None:
        if not self.up:
            raise Failed(DOWN)


@contextmanager
def pumping(
    vhost: Vhost,
    *targets: Target,
    hold_seconds: float = 300,
    breaker: int = 10,
    attempts: int = 2,
    route: Router | None = None,
    ordered: bool = False,
    same_target: bool = False,
    alone: bool = False,
    names: Sequence[str] = (),
    shards: int | None = None,
    prefetch: int = 200,
    prefetch_bytes: int = PREFETCH_BYTES,
    body_bytes: int | None = None,
    wait_s: float = 0.02,
) -> Iterator[Pump]:
    """Run a pump with a lane for each target; `same_target`: all of them are lanes to one;
    `alone`: no other consumer waits for the queue. `names` are the targets of all but the first."""
    settings = vhost.broker_settings()
    source = Source("q", None, prefetch=prefetch, shards=shards)
    stop = threading.Event()
    with Broker(settings, name="test") as broker:
        one = partial(broker.consumer, "q", prefetch, prefetch_bytes, body_bytes)
        consumer: AnyConsumer = broker.sharded_consumer(source) if shards else one()
        consumer.stand_by = not alone
        notice = PauseNotice("test", consumer, broker)
        wait = BrokerWait(
            notice,
            broker,
            consumer,
            ensure=lambda: topology.ensure(broker, settings, source, None),
            ensure_dead_letters=lambda: topology.ensure_dead_letters(broker, settings),
            stop=stop,
            nudge=threading.Event(),
        )
        retry = Retry(attempts=attempts, first_ms=1, breaker=breaker)
        rules = Rules(retry, 100, hold_seconds, ordered=ordered)
        workers = [Worker(targets[0], notice, rules)]
        names = names or [f"target-{number}" for number in range(1, len(targets))]
        notices = {name: PauseNotice(name, consumer, broker) for name in names}
        for name, target in zip(names, targets[1:], strict=True):
            workers.append(Worker(target, notice if same_target else notices[name], rules))
        dead_letters = DeadLetterPublisher(broker.publisher, settings.dead_letter, "test")
        pump = Pump(
            "test", consumer, workers, dead_letters, wait, wait_s=lambda: wait_s, route=route, shared=bool(shards)
        )
        thread = threading.Thread(target=pump.run)
        thread.start()
        try:
            yield pump
        finally:
            stop.set()
            pump.wake()
            thread.join(30)
            assert not thread.is_alive()


def lose_connection(vhost: Vhost, pump: Pump) -> None:
    """Let the broker close its connections."""
    before = pump._consumer.generation

    def lost() -> bool:
        if pump._consumer.generation == before:
            vhost.close_connections()
        return pump._consumer.generation != before

    assert eventually(lost)


def bodies(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % n for n in range(start, start + count)]


def dead(vhost: Vhost) -> list[tuple[bytes, dict[str, Any]]]:
    return [(body, dict(properties.headers or {})) for _, properties, body in vhost.get_all("dead-letter")]

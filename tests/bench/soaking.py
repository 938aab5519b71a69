"""Whether the memory of `subscribe` stays the same under load that does not end, with a dead letter now and then."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench import feeding
from tests.bench.contenders import QUEUE, Subscribing, declared, ready
from tests.bench.load import Bad
from tests.bench.measuring import Processes
from tests.bench.services import Services

#: In the queue at the least, and added at once.
LEAST, MORE = 10_000, 20_000
#: A tenth of the time is for growing, as one minute of ten is.
WARM = 0.1


@dataclass(frozen=True)
class Soaked:
    seconds: float
    messages: int
    warm_mb: float
    peak_mb: float

    def __str__(self) -> str:
        return (
            f"{self.messages:,} messages in {self.seconds:.0f} s: peak {self.warm_mb:.1f} MB after {WARM:.0%} of it, "
            f"{self.peak_mb:.1f} MB at the end, growth {self.peak_mb / self.warm_mb - 1:.1%}"
        )


def run(seconds: float, say: Callable[[str], None]) -> Soaked:
    """Keep the queue full for so long; return what the connector needed."""
    work = Subscribing("connector", bad=Bad("undecodable", 100))
    with Services() as services:
        database, vhost = services.database(work.database), services.vhost
        command, job = work.prepared(services, MORE)
        frames = ready(work.load, work.format, work.bad, MORE)
        messages, warm_mb = MORE, 0.0
        with (
            vhost.channel() as channel,
            feeding.opened(vhost) as link,
            Processes([command], services.folder / "log", job) as processes,
        ):
            started = time.monotonic()
            while (elapsed := time.monotonic() - started) < seconds:
                processes.wait_until(lambda: declared(channel, QUEUE).message_count < LEAST, 0.02)
                link.sendall(frames)
                messages += MORE
                database.execute("TRUNCATE measured")
                channel.queue_purge("dead-letter")
                say(f"{elapsed:.0f} s: {processes.rss_mb:.1f} MB")
                if elapsed < seconds * WARM:
                    warm_mb = processes.rss_mb
        return Soaked(elapsed, messages, warm_mb, processes.rss_mb)

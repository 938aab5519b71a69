"""A world whose source is divided into shards, with several connectors that share them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.faults.arena import DEAD, QUEUE
from tests.faults.keyed import of_many_devices
from tests.faults.world import World
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

SHARDS = 8
#: What a process may hold of each shard: several messages of each device, or no disorder would show.
PREFETCH = 400


class Sharded(World):
    queues = tuple(f"{QUEUE}.{number}" for number in range(SHARDS))
    exchange = "devices"

    def __init__(self, *arguments: Any, devices: int, **more: Any) -> None:
        super().__init__(*arguments, make=partial(of_many_devices, count=devices), **more)

    def declare(self, vhost: Vhost) -> None:
        """Whoever starts first makes the shards."""
        vhost.declare_queue(DEAD, DEAD, "#", arguments={"x-delivery-limit": 1_000_000})

    def prepare(self) -> None:
        super().prepare()
        source: dict[str, Any] = {"queue": QUEUE, "exchange": self.exchange, "routing_keys": ["#"]}
        source |= {"shards": SHARDS, "prefetch": SHARDS * PREFETCH}
        self.configure(broker=self.broker_config(source=source), lanes={"count": 2, "key": "$routing_key"})

    def processes(self) -> Mapping[str, Mapping[str, int]]:
        """Return the priority of each process for each shard, the active one first."""
        consumers = sorted(self.vhost.api("GET", "/api/consumers/{vhost}"), key=lambda each: not each["active"])
        found: dict[str, dict[str, int]] = {queue: {} for queue in self.queues}
        for each in consumers:
            process = each["consumer_tag"].rpartition("-")[0]
            found[each["queue"]["name"]][process] = each["arguments"]["x-priority"]
        return found

    def wait_for_ranks(self, count: int) -> None:
        """Wait until so many processes consume each shard, and the one that ranks first has it, where the broker knows
        priorities."""
        ranks = self.vhost.node.api("GET", "/api/overview")["rabbitmq_version"] >= "4."

        def check() -> bool:
            for queue, of in self.processes().items():
                assert len(of) == count, f"{queue} has {of}"
                assert not ranks or next(iter(of.values())) == max(of.values()), f"the first of {queue} is not: {of}"
            return True

        eventually(check, 30)

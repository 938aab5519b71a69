"""Three nodes, one queue: its leader is killed, the connector goes on with the others, and nothing is lost."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.arena import DEAD, QUEUE
from tests.faults.world import World
from tests.services.cluster import Cluster, Node
from tests.services.database import Database
from tests.services.rabbitmq import Vhost
from tests.services.server import Run
from tests.services.waiting import eventually


@pytest.fixture
def cluster(services: Run) -> Iterator[Cluster]:
    cluster = Cluster(services)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.discard()


@pytest.mark.soak
def test_the_leader_of_the_queue_is_killed_and_nothing_is_lost(
    cluster: Cluster, tmp_path: Path, postgres_db: Database
) -> None:
    first, second, _ = cluster.nodes
    with first.vhost() as vhost, World(tmp_path, vhost, postgres_db, seed=41, bad=0.01) as world:
        led_by_the_second(world, Vhost(second, vhost.name))
        assert cluster.leader(vhost.name, QUEUE) is second
        world.configure(broker={"host": [f"{node.host}:{node.port}" for node in (second, *cluster.nodes)]})
        worker = world.worker()
        world.producer.start(150)
        for _ in range(2):
            world.wait_for_rows(world.written() + 100)
            leader = eventually(lambda: cluster.leader(vhost.name, QUEUE), 60, what="leader")
            assert leader is not None
            if leader is first:  # it has the port mapper: see Cluster
                break
            leader.kill()
            eventually(partial(led_by_another, cluster, vhost, leader), 60, what="another leader")
            world.wait_for_rows(world.written() + 100)
            leader.start()
        world.producer.stop()
        world.expect_all_is_well()
        assert worker.ends == []
        assert worker.log.count(" connected to ") > 2


def led_by_the_second(world: World, through: Vhost) -> None:
    """Make the queues anew through another node, which becomes their leader."""
    for queue in (QUEUE, DEAD):
        world.vhost.api("DELETE", f"/api/queues/{{vhost}}/{queue}")
    world.declare(through)
    through.close()


def led_by_another(cluster: Cluster, vhost: Vhost, node: Node) -> bool:
    return cluster.leader(vhost.name, QUEUE) not in (None, node)

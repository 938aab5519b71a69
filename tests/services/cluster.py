"""Three RabbitMQ nodes on one machine that are one cluster."""

from collections.abc import Mapping, Sequence

from tests.services.rabbitmq import RabbitMQ
from tests.services.server import Run


class Node(RabbitMQ):
    """A node that shares port mapper and Erlang cookie with the first one."""

    def __init__(self, run: Run, first: "Node | None" = None) -> None:
        super().__init__(run)
        self._first = first
        if first is not None:
            self._mapper_port = first._mapper_port

    @property
    def node_name(self) -> str:
        return self.environment()["RABBITMQ_NODENAME"]

    def commands(self) -> Sequence[Sequence[str]]:
        mapper, server = super().commands()
        return [mapper, server] if self._first is None else [server]

    def environment(self) -> Mapping[str, str]:
        home = self._first.folder if self._first is not None else self.folder
        return {**super().environment(), "HOME": str(home)}

    def join(self, other: "Node") -> None:
        """Become a part of the other one's cluster."""
        self.control("stop_app")
        self.control("join_cluster", other.node_name)
        self.control("start_app")


class Cluster:
    """`nodes[0]` runs the port mapper, so it is not for killing."""

    def __init__(self, run: Run, size: int = 3) -> None:
        first = Node(run)
        self.nodes = [first, *(Node(run, first) for _ in range(size - 1))]

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        for node in self.nodes[1:]:
            node.join(self.nodes[0])

    def leader(self, vhost: str, queue: str) -> Node | None:
        """Return the node that leads a quorum queue; None while there is none."""
        name = self.nodes[0].api("GET", f"/api/queues/{vhost}/{queue}").get("leader")
        return next((node for node in self.nodes if node.node_name == name), None)

    def discard(self) -> None:
        for node in reversed(self.nodes):
            node.discard()

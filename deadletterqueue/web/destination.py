"""Where a form says that dead letters are to go. Pure."""

from collections.abc import Mapping

from connectorlib.dataclass import dataclass
from deadletterqueue.target import MAX_REPLAYS, ORIGIN, Route


@dataclass(frozen=True, slots=True)
class Destination:
    """ "" for the queue in which each died, "origin" for the exchange it was first published to, or "queue"."""

    where: str = ""
    #: The name of that queue.
    queue: str = ""

    @property
    def problem(self) -> str:
        """Why nothing can be sent there; "" if it can."""
        return "Which queue? Its name is missing." if self.where == "queue" and not self.queue else ""

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields of a form that say the same."""
        return [("where", self.where), ("queue", self.queue)] if self.where else []

    def route(self, *, often: bool) -> Route:
        """Return where letters are to go; `often` includes those sent back often already."""
        most = None if often else MAX_REPLAYS
        if self.where == "queue":
            return Route(to_queue=self.queue, max_replays=most)
        return Route(to_exchange=ORIGIN if self.where == "origin" else None, max_replays=most)


def destination_of(form: Mapping[str, str]) -> Destination:
    """Return what the fields of a form say."""
    where = form.get("where", "")
    return Destination(where if where in ("origin", "queue") else "", form.get("queue", "").strip())

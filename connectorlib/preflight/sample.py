"""A message that `check --sample` maps by what the far sides say of themselves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from connectorlib.errors import Kind
from connectorlib.messages import Delivery
from connectorlib.preflight.explain_command import delivery_of, located, queues_of
from connectorlib.preflight.explain_options import Beside
from connectorlib.preflight.explanation import Explanation, Offline
from connectorlib.preflight.findings import Finding, bad, good


@dataclass(frozen=True, slots=True)
class Sample:
    """A body, and what was said of what travels beside it."""

    name: str
    body: bytes
    beside: Beside

    def deliveries(self, offline: Offline) -> list[Delivery]:
        """Return the message as each queue delivers it that takes it. Raise click.UsageError if that is not clear."""
        return [delivery_of(self.body, queue, self.beside) for queue in queues_of(offline, self.beside)]

    def findings(self, offline: Offline, explain: Callable[[Delivery], Explanation]) -> Iterator[Finding]:
        """Yield what becomes of it."""
        for delivery in self.deliveries(offline):
            yield self.finding(offline, delivery, explain(delivery))

    def finding(self, offline: Offline, delivery: Delivery, explanation: Explanation) -> Finding:
        about = f"sample {self.name}"
        if explanation.rejection is None:
            return good(about, explanation.title)
        failure = explanation.rejection.failure
        place = located(offline, delivery, explanation)
        where = f" (line {place.line}: {place.text.strip()})" if place else ""
        text = f"would be rejected: {failure.code} {failure.detail or failure.text}{where}"
        return bad(about, text, "put the message or its mapping right: explain shows more", Kind.REJECT)

"""A message that `check --sample` maps, with what the live systems say about their columns or fields."""

from collections.abc import Callable, Iterator

from connectorlib.dataclass import dataclass
from connectorlib.errors import Kind
from connectorlib.messages import Delivery
from connectorlib.preflight.explanation import Explanation, Offline, located
from connectorlib.preflight.findings import Finding, bad, good
from connectorlib.preflight.message_options import Envelope


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    body: bytes
    envelope: Envelope

    def deliveries(self, offline: Offline) -> list[Delivery]:
        """Return the message as each of its queues delivers it. Raise click.UsageError if it is not clear which."""
        return [self.envelope.delivery(self.body, queue) for queue in self.envelope.queues(offline)]

    def findings(self, offline: Offline, explain: Callable[[Delivery], Explanation]) -> Iterator[Finding]:
        for delivery in self.deliveries(offline):
            yield self.finding(offline, delivery, explain(delivery))

    def finding(self, offline: Offline, delivery: Delivery, explanation: Explanation) -> Finding:
        """Return what the message would become, or why it would be rejected."""
        about = f"sample {self.name}"
        if explanation.rejection is None:
            return good(about, explanation.title)
        failure = explanation.rejection.failure
        position = located(offline, delivery, explanation)
        where = f" (line {position.line}: {position.text.strip()})" if position else ""
        text = f"would be rejected: {failure.code} {failure.detail or failure.text}{where}"
        return bad(about, text, "correct the message or its mapping; explain shows more", Kind.REJECT)

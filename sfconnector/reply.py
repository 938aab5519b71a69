"""Reply messages: the Case's id and number, or why there is none, with the correlation id of the message.

A reply that cannot be written or sent is logged and costs no Case. Nothing here raises.
"""

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import MISSING, Scope, compile_template, json_text
from connectorlib.messages import ALREADY, EMPTY, Dead, Delivery, Outcome, Outgoing
from connectorlib.service import logs
from sfconnector import soql
from sfconnector.records import Settled
from sfconnector.settings import Reply

if TYPE_CHECKING:
    from connectorlib.amqp import Publisher, Ticket
    from sfconnector.salesforce.client import Client

logger = logging.getLogger(__name__)

#: How long a batch waits for its replies to be confirmed, so that a crash does not lose what the ack makes final.
CONFIRM_S = 5.0
GIVEN_UP = Failure(Kind.UNAVAILABLE, "unconfirmed", f"not confirmed within {CONFIRM_S:g} s; it may still arrive")
#: Ids in one query for numbers, so that it fits into an address.
MOST_IDS = 200


#: What a reply says of a message that is acknowledged, if its Cases were not made just now.
_STATUS: Mapping[Outcome, str] = {ALREADY: "already-there", EMPTY: "empty"}


def _left_out(settled: Settled) -> dict[str, Any]:
    """Return what was left out of the Cases of a message (`invalid`), as a part of the reply."""
    drafts = [record.draft for record in settled.unit.records if record.draft is not None]
    found = [{"field": name, "text": why} for draft in drafts for name, why in draft.left_out.items()]
    return {"left_out": found} if found else {}


class Replies:
    """Sends the replies of one division; never to `own_queues`, where they would come back as messages or be dead
    letters."""

    def __init__(self, settings: Reply, publisher: "Publisher", division: str, own_queues: frozenset[str]) -> None:
        self._exchange = settings.exchange
        self._routing_key = compile_template(settings.routing_key or "")
        self._from_message = settings.from_message
        self._publisher = publisher
        self._division = division
        self._own_queues = own_queues

    def done(self, settled: Sequence[Settled], client: "Client") -> None:
        """Reply to messages that are Cases now, before they are acknowledged."""
        with self._suppressed():
            numbers = self._numbers(settled, client)
            messages = []
            for each in settled:
                cases = [{"id": record.case_id, "number": numbers.get(record.case_id)} for record in each.records]
                status = _STATUS.get(each.outcome, "created")
                body = {"status": status, "cases": cases} | _left_out(each)
                messages += self._messages(each.unit.delivery, body)
            if messages:
                ticket = self._publisher.submit(messages, self._confirmed)
                if not ticket.wait(CONFIRM_S):
                    ticket.abandon()  # or they pile up while the broker takes nothing
                    self._not_delivered(GIVEN_UP)

    def dead(self, delivery: Delivery, verdict: Dead) -> None:
        """Reply why a message became no Case."""
        failure = verdict.failure
        body = {"status": "dead-lettered", "reason": verdict.reason, "code": failure.code, "text": failure.text}
        with self._suppressed():
            messages = self._messages(delivery, body | ({"detail": failure.detail} if failure.detail else {}))
            if messages:
                self._publisher.submit(messages, self._confirmed)

    def _numbers(self, settled: Sequence[Settled], client: "Client") -> Mapping[str, str]:
        """Return the CaseNumber by id: the answer to a creation has the id alone."""
        ids = [record.case_id for each in settled for record in each.records if record.case_id]
        numbers: dict[str, str] = {}
        try:
            for start in range(0, len(ids), MOST_IDS):
                where = {"Id": [soql.literal(each) for each in ids[start : start + MOST_IDS]]}
                found = client.query(soql.select("Case", ("Id", "CaseNumber"), where))
                numbers |= {record["Id"]: record["CaseNumber"] for record in found}
        except Failed as failed:
            logs.event(logger, logging.WARNING, "replies without case numbers", code=failed.failure.code)
        return numbers

    def _messages(self, delivery: Delivery, body: Mapping[str, Any]) -> list[Outgoing]:
        properties = delivery.properties
        own: dict[str, Any] = {"content_type": "application/json", "message_id": str(uuid.uuid4()), "type": "case"}
        correlation_id = properties.correlation_id or properties.message_id
        if correlation_id:
            own["correlation_id"] = correlation_id
        messages: list[Outgoing] = []
        with self._suppressed():
            text = json_text({"division": self._division, "message_id": properties.message_id} | dict(body)).encode()
            messages += [Outgoing(exchange, key, text, own) for exchange, key in self._addresses(delivery)]
        return messages

    def _addresses(self, delivery: Delivery) -> list[tuple[str, str]]:
        addresses = []
        if self._exchange or self._routing_key.text:
            key = self._routing_key.evaluate(None, Scope(delivery))
            addresses.append((self._exchange, "" if key is MISSING else str(key)))
        reply_to = delivery.properties.reply_to
        if self._from_message and reply_to and reply_to not in self._own_queues:
            addresses.append(("", reply_to))
        return addresses

    def _confirmed(self, ticket: "Ticket") -> None:
        """Called in the I/O thread."""
        failure: Failure | None = next((each for each in ticket.results if each is not None), None)
        if failure is not None:
            self._not_delivered(failure)

    def _not_delivered(self, failure: Failure) -> None:
        fields = {"division": self._division, "code": failure.code, "text": failure.text}
        logs.event(logger, logging.WARNING, "reply not delivered", **fields)

    @contextmanager
    def _suppressed(self) -> Iterator[None]:
        """Log every failure of a reply, a bug too: the Case is there, and must not be created again."""
        try:
            yield
        except Failed as failed:
            self._not_delivered(failed.failure)
        except Exception:  # see above
            logger.exception("bug: a reply is not sent", extra={"event": "bug"})

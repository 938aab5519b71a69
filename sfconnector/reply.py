"""Result messages: the Case's id and number, or why there is none, with the correlation id of the message.

They are an extra: a reply that cannot be written or sent is told in the log and costs no Case. Nothing is raised here.
"""

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import MISSING, Scope, compile_template, json_text
from connectorlib.messages import ALREADY, Dead, Delivery, Outgoing
from connectorlib.service import logs
from sfconnector import soql
from sfconnector.records import Unit
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


class Replies:
    """Replies of one division. `own_queues` are never answered to: the answer would come back as a message,
    or lie among the dead letters."""

    def __init__(self, settings: Reply, publisher: "Publisher", division: str, own_queues: frozenset[str]) -> None:
        self._exchange = settings.exchange
        self._routing_key = compile_template(settings.routing_key or "")
        self._from_message = settings.from_message
        self._publisher = publisher
        self._division = division
        self._own_queues = own_queues

    def done(self, units: Sequence[Unit], client: "Client") -> None:
        """Tell of messages that are Cases now, before they are acknowledged."""
        with self._costing_nothing():
            numbers = self._numbers(units, client)
            messages = []
            for unit in units:
                cases = [{"id": item.case_id, "number": numbers.get(item.case_id)} for item in unit.items]
                status = "already-there" if unit.verdict() is ALREADY else "created"
                messages += self._messages(unit.delivery, {"status": status, "cases": cases})
            if messages:
                ticket = self._publisher.submit(messages, self._told)
                if not ticket.wait(CONFIRM_S):
                    ticket.abandon()  # a broker that takes nothing now must not collect what nobody waits for
                    self._not_delivered(GIVEN_UP)

    def dead(self, delivery: Delivery, verdict: Dead) -> None:
        """Tell why a message became no Case."""
        failure = verdict.failure
        body = {"status": "dead-lettered", "reason": verdict.reason, "code": failure.code, "text": failure.text}
        with self._costing_nothing():
            messages = self._messages(delivery, body | ({"detail": failure.detail} if failure.detail else {}))
            if messages:
                self._publisher.submit(messages, self._told)

    def _numbers(self, units: Sequence[Unit], client: "Client") -> Mapping[str, str]:
        """Return the CaseNumber by id: creating answers with the id alone."""
        ids = [item.case_id for unit in units for item in unit.items if item.case_id]
        numbers: dict[str, str] = {}
        try:
            for start in range(0, len(ids), MOST_IDS):
                some = ", ".join(map(soql.literal, ids[start : start + MOST_IDS]))
                found = client.query(f"SELECT Id, CaseNumber FROM Case WHERE Id IN ({some})")
                numbers |= {record["Id"]: record["CaseNumber"] for record in found}
        except Failed as failed:
            logs.event(logger, logging.WARNING, "replies without case numbers", code=failed.failure.code)
        return numbers

    def _messages(self, delivery: Delivery, body: Mapping[str, Any]) -> list[Outgoing]:
        properties = delivery.properties
        told: dict[str, Any] = {"content_type": "application/json", "message_id": str(uuid.uuid4()), "type": "case"}
        correlation_id = properties.correlation_id or properties.message_id
        if correlation_id:
            told["correlation_id"] = correlation_id
        messages: list[Outgoing] = []
        with self._costing_nothing():
            text = json_text({"division": self._division, "message_id": properties.message_id} | dict(body)).encode()
            messages += [Outgoing(exchange, key, text, told) for exchange, key in self._addresses(delivery)]
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

    def _told(self, ticket: "Ticket") -> None:
        """Runs in the I/O thread."""
        failure: Failure | None = next((each for each in ticket.results if each is not None), None)
        if failure is not None:
            self._not_delivered(failure)

    def _not_delivered(self, failure: Failure) -> None:
        fields = {"division": self._division, "code": failure.code, "text": failure.text}
        logs.event(logger, logging.WARNING, "reply not delivered", **fields)

    @contextmanager
    def _costing_nothing(self) -> Iterator[None]:
        """Whatever goes wrong with a reply, and be it a bug of ours: the Case is there, and must not be made again."""
        try:
            yield
        except Failed as failed:
            self._not_delivered(failed.failure)
        except Exception:  # see above
            logger.exception("bug: a reply is not sent", extra={"event": "bug"})

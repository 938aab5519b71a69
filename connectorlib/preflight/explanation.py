"""The answer to "what would become of this message?", as values. Imports only errors and messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from connectorlib.errors import Failure
from connectorlib.messages import Delivery


@dataclass(frozen=True, slots=True)
class Given:
    """What a configuration test says of the world outside; nothing of it: as it is, and every lookup finds a record."""

    now: datetime | None = None
    #: By sObject what its lookups find: the value, None for nothing; not among them: some record.
    lookups: Mapping[str, Any] = field(default_factory=dict)


NOTHING_GIVEN = Given()


@dataclass(frozen=True, slots=True)
class Spot:
    """What was worked on when a message was rejected."""

    #: Of a body with several records, from 0.
    record: int = 0
    #: From the record to the element of `for_each`.
    steps: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message would become a dead letter."""

    failure: Failure
    #: None: nothing in the body is to blame, or all of it.
    spot: Spot | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of one message."""

    #: In one line: `written by 2 statements`.
    title: str
    #: For a person.
    lines: Sequence[str] = ()
    #: The same as data, by the words of a tests file: `rows`, or `division` and `cases`.
    data: Mapping[str, Any] = field(default_factory=dict)
    rejection: Rejection | None = None


class Offline(Protocol):
    """A connector that answers without its database or Salesforce."""

    #: As in its configuration.
    format: Mapping[str, Any]

    def queues(self, exchange: str, routing_key: str) -> Sequence[str]:
        """Return the source queues that such a message comes into; all of them where nobody can tell."""

    def explain(self, delivery: Delivery, given: Given = NOTHING_GIVEN) -> Explanation:
        """Return what would become of a message."""

    def format_of(self, delivery: Delivery) -> Mapping[str, Any]:
        """Return the format that its body is read by."""


def rejected(failure: Failure, spot: Spot | None = None) -> Explanation:
    """Return the explanation of a message that would be rejected."""
    return Explanation("rejected", rejection=Rejection(failure, spot))


def problems(explanation: Explanation) -> list[str]:
    """Return what would dead-letter the message again, as the dead-letter tool asks it."""
    return [] if explanation.rejection is None else [str(explanation.rejection.failure)]

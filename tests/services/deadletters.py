"""Dead letters as the connectors and the broker make them."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Delivery, Properties
from connectorlib.pipeline.dead_letter import dead_letter
from connectorlib.shared_settings import DeadLetterSettings
from deadletterqueue.letter import Letter, letter
from tests.services.rabbitmq import Message, Vhost

QUEUE = "dead-letter"
CODES = ("22001", "23503", "not-decodable", "missing-field")
DIED = datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC)


def delivery(
    body: bytes = b"{}",
    *,
    queue: str = "readings",
    exchange: str = "devices",
    routing_key: str = "reading.p-1",
    **own: Any,
) -> Delivery:
    """Return a delivery with these AMQP properties."""
    return Delivery(1, 1, queue, exchange, routing_key, False, Properties(**own), body, 0.0)


def dead(
    body: bytes = b"{}",
    *,
    code: str = "22001",
    reason: str = "reject",
    text: str = "value too long for type character varying(10)",
    detail: str = "write[0].values.device <- device.name: too long",
    connector: str = "plant",
    time: datetime = DIED,
    queue: str = "readings",
    exchange: str = "devices",
    routing_key: str = "reading.p-1",
    **own: Any,
) -> Message:
    """Return the dead letter that a connector makes of a message: body, properties."""
    dying = delivery(body, queue=queue, exchange=exchange, routing_key=routing_key, **own)
    failure = Failure(Kind.REJECT, code, text, "write[0]", detail)
    settings = DeadLetterSettings()
    made = dead_letter(dying, Dead(failure, reason), settings=settings, connector=connector, now=time)
    return made.body, made.properties


def letter_of(message: Message) -> Letter:
    """Return the letter of a message that lies in the dead-letter queue."""
    body, properties = message
    return letter(delivery(body, queue=QUEUE, exchange=QUEUE, routing_key="", **properties))


def bury(vhost: Vhost, messages: Iterable[Message], queue: str = QUEUE) -> int:
    """Put dead letters into a queue, which is made as the connectors make it."""
    vhost.declare_queue(queue, QUEUE, arguments={"x-delivery-limit": 1_000_000})
    return vhost.publish("", queue, list(messages))


def of_four_causes(count: int, **own: Any) -> list[Message]:
    """Return readings numbered from 0 on; their codes take turns."""
    return [
        dead(
            json.dumps({"id": number, "device": f"p-{number % 7}", "value": 1.5}).encode(),
            code=CODES[number % len(CODES)],
            detail=f"write[0].values.{CODES[number % len(CODES)]}",
            message_id=f"m-{number}",
            **own,
        )
        for number in range(count)
    ]


def ids(taken: Iterable[tuple[Any, Any, bytes]]) -> list[str]:
    """Return the message ids of what was taken out of a queue, in order."""
    return [properties.message_id for _, properties, _ in taken]


def numbers(taken: Iterable[tuple[Any, Any, bytes]]) -> list[int]:
    """Return the numbers in the message ids of `of_four_causes`, in order."""
    return [int(each.removeprefix("m-")) for each in ids(taken)]


def kill_points(count: int, kills: int, seed: int) -> list[int]:
    """Return for each of several kills how many of `count` messages have been moved by then: at random, before the
    last part of them."""
    instants, part = random.Random(seed), count // (kills + 1)
    return [kill * part + instants.randrange(1, part) for kill in range(kills)]


def check_copies(places: Iterable[Iterable[int]], count: int, doubled: int) -> None:
    """Fail if one of the messages from 0 on is nowhere, or if there is one copy too many of more than `doubled`."""
    copies = Counter(number for place in places for number in place)
    assert sorted(copies) == [*range(count)]  # nothing is lost
    assert sum(copies.values()) - count <= doubled


def headers(taken: tuple[Any, Any, bytes]) -> Mapping[str, Any]:
    return taken[1].headers or {}

"""A letter whose body came compressed, as one with a plain body: to be shown, matched and changed. Pure.

A changed body is sent plain, without a content_encoding; one that is not changed stays compressed as it came.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

from connectorlib.errors import Failed
from connectorlib.formats import amqp_value
from connectorlib.formats.content import plain_body
from connectorlib.messages import Delivery
from deadletterqueue.letter import Letter

#: Bytes that a body may unpack to.
MOST = 32 * 1024 * 1024


def plain_delivery(delivery: Delivery) -> Delivery:
    """Return a message with its body unpacked. Raise Failed (reject) if it cannot be, or to more than `MOST` bytes."""
    body = plain_body(delivery, MOST)
    if body is delivery.body:
        return delivery
    plain = copy.copy(delivery)
    plain.body, plain.properties = body, replace(delivery.properties, content_encoding=None, type=_type_of(delivery))
    return plain


def _type_of(delivery: Delivery) -> str | None:
    """Return the type of a message once its body is plain."""
    kind = delivery.properties.type
    return None if kind == amqp_value.TYPE else kind


def plain_letter(letter: Letter) -> Letter:
    """Return a letter with its body unpacked; as it is, if it cannot be."""
    try:
        delivery = plain_delivery(letter.delivery)
    except Failed:
        return letter
    return letter if delivery is letter.delivery else replace(letter, delivery=delivery)


def changed(letter: Letter, change: Callable[[Letter], Letter]) -> Letter:
    """Return a letter changed as a plain one. Raise what the change raises."""
    plain = plain_letter(letter)
    new = change(plain)
    own, old = new.delivery.properties, letter.delivery.properties
    if plain is letter or new.delivery.body != plain.delivery.body or own.content_encoding is not None:
        return new
    delivery = copy.copy(new.delivery)
    delivery.body = letter.delivery.body
    delivery.properties = replace(own, content_encoding=old.content_encoding, type=own.type or old.type)
    return replace(new, delivery=delivery)


def size_of_body(delivery: Delivery) -> str:
    """Return the size of a body, for a person, and that of what it unpacks to."""
    size = f"{len(delivery.body):,} bytes"
    try:
        plain = plain_delivery(delivery)
    except Failed as failed:
        too_large = failed.failure.code == "too-large"
        return f"{size}; {f'it unpacks to more than {MOST:,}' if too_large else failed.failure.text}"
    return size if plain is delivery else f"{size}, unpacked {len(plain.body):,}"

"""The content of a message: its body as `content_encoding` and `content_type` say, and the records in it.

A body stays as it came: that is what a dead letter has to keep.
"""

from collections.abc import Sequence
from typing import Any

from connectorlib.errors import Failed, reject
from connectorlib.formats.amqp_value import TYPE, is_encoded, value_in
from connectorlib.formats.charset import charset_in, is_charset
from connectorlib.formats.compression import coding_of, unpack
from connectorlib.formats.json import JsonFormat
from connectorlib.formats.registry import Format, compile_format
from connectorlib.formats.strictness import compile_encoding
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits

#: Bytes: a sink puts off messages behind others whose bodies have unpacked to so many in one call.
MOST_UNPACKED = 4 * 1024 * 1024


def records_of(delivery: Delivery, fmt: Format) -> Sequence[Any]:
    """Return the records of a message, those that were decoded before if there are any. Raise Failed (reject):
    `not-decodable` or `too-large`."""
    return decode_content(delivery, fmt) if delivery.records is None else delivery.records


def records_together(deliveries: Sequence[Delivery], fmt: Format) -> Sequence[Any] | None:
    """Return the only record of each of many messages, decoded together; None if they are to be decoded one by one."""
    if not isinstance(fmt, JsonFormat):
        return None
    for delivery in deliveries:
        coding = delivery.content_encoding
        if delivery.records is not None or (coding is not None and coding_of(coding) is not None):
            return None
    return fmt.decode_objects([delivery.body for delivery in deliveries])


def decode_content(delivery: Delivery, fmt: Format) -> list[Any]:
    """Return the records of a message, decoded. Raise Failed (reject): `not-decodable` or `too-large`."""
    coding = delivery.content_encoding
    if not fmt.heeds_charset and (coding is None or coding_of(coding) is None):  # hot path
        try:
            return fmt.decode(delivery.body)
        except Failed:
            if not _is_amqp_value(delivery):
                raise
    charset = charset_of(delivery) if fmt.heeds_charset else None
    return fmt.decode(plain_body(delivery, fmt.limits.body_bytes), charset)


def charset_of(delivery: Delivery) -> str | None:
    """Return the encoding of the text that a message names, as Python spells it: in its content_type, else in its
    content_encoding, where Spring and kombu have it. Raise Failed (reject) for one that is not known."""
    declared, coding = delivery.content_type, delivery.content_encoding
    found = charset_in(declared) if declared else None
    if found is None and coding and is_charset(coding):
        return compile_encoding(coding.strip())
    return found


def whole_body(delivery: Delivery, fmt: Format | None) -> str | bytes:
    """Return the body as a text, or as bytes if its format is none of text. Raise Failed (reject): `bad-value`, or as
    `plain_body` does."""
    fmt = fmt or _UTF8
    body = plain_body(delivery, fmt.limits.body_bytes)
    if fmt.encoding is None:
        return body
    encoding = (charset_of(delivery) if fmt.heeds_charset else None) or fmt.encoding
    try:
        return body.decode(encoding)
    except UnicodeError as error:
        raise reject("bad-value", f"the body is not {encoding} text") from error


def plain_body(delivery: Delivery, most: int) -> bytes:
    """Return the body unpacked, and set its size. Raise Failed (reject) if it cannot be, or for more than `most`
    bytes."""
    body = value_in(delivery.body) if _is_amqp_value(delivery) else delivery.body
    coding = coding_of(delivery.content_encoding or "")
    if coding is None:
        return body
    body = unpack(body, coding, most)
    delivery.unpacked = len(body)
    return body


def _is_amqp_value(delivery: Delivery) -> bool:
    return is_encoded(delivery.body) and delivery.properties.type == TYPE


#: Of a message that comes without a format.
_UTF8 = compile_format({"type": "json"}, Limits())

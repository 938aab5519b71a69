"""A body that an AMQP 1.0 client has sent as a value instead of as data: RabbitMQ hands it to a client of AMQP 0-9-1 as
the encoded section, with `amqp-1.0` as the type of the message (AMQP 1.0, sections 1.6 and 3.2.8)."""

from connectorlib.formats.strictness import not_decodable

#: The property `type` of such a message.
TYPE = "amqp-1.0"
#: The descriptor of a value section, short and long.
_SECTIONS = (b"\x00\x53\x77", b"\x00\x80" + bytes(7) + b"\x77")
#: By the code of binary and of text: octets of the length.
_LENGTHS = {0xA0: 1, 0xB0: 4, 0xA1: 1, 0xB1: 4}


def is_encoded(body: bytes) -> bool:
    """Return whether a body may be a section of AMQP 1.0: no other format begins so."""
    return body.startswith((b"\x00\x53", b"\x00\x80"))


def value_in(body: bytes) -> bytes:
    """Return the text or the bytes that a section holds. Raise Failed (reject) if it holds anything else."""
    for section in _SECTIONS:
        if body.startswith(section):
            start, octets = len(section) + 1, _LENGTHS.get(body[len(section)] if len(body) > len(section) else 0, 0)
            length = int.from_bytes(body[start : start + octets])
            if octets and start + octets + length == len(body):
                return body[start + octets :]
    raise not_decodable("an AMQP 1.0 client has sent a map, list or other value: let it send data (bytes), or a text")

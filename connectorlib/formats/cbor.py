"""CBOR (RFC 8949), as strict as JSON: no repeated name, NaN or NUL, only the tags that mean a value; exact numbers."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

from connectorlib.formats.strictness import not_decodable, too_deep
from connectorlib.formats.tree import BinaryFormat
from connectorlib.shared_settings import Limits
from connectorlib.values.text import MAX_DIGITS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Tags that the library would make of a value what no record may hold: cycles, patterns, sets, addresses.
_REFUSED = (5, 25, 28, 29, 30, 35, 36, 52, 54, 256, 258, 260, 261, 43000)
#: Tags that only say what a text or bytes are meant for.
_IGNORED = (21, 22, 23, 24, 32, 33, 34, 55799)

Read = Callable[[Any, bool], Any]


def compile_cbor(settings: Mapping[str, Any], limits: Limits) -> BinaryFormat:
    """Return the format. Raise ValueError without its library."""
    try:
        import cbor2
    except ImportError as error:
        raise ValueError("type cbor needs an extra: pip install 'amqp-connectors[cbor]'") from error

    def load(body: bytes) -> Any:
        file = BytesIO(body)
        try:
            value = cbor2.CBORDecoder(
                file,
                tag_hook=lambda tag, immutable: _refuse(tag.tag),
                semantic_decoders=_TAGS,
                max_depth=2 * limits.depth + 2,  # tags count too; how deep values are is looked at afterwards
                allow_duplicate_keys=False,
                strict_hashable_types=True,
            ).decode()
        except (cbor2.CBORError, ValueError, OverflowError, TypeError) as error:
            text = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
            raise (too_deep(limits) if "nesting depth" in text else not_decodable(text)) from error
        if file.tell() < len(body):
            raise not_decodable(f"{len(body) - file.tell()} bytes behind the value")
        return value

    return BinaryFormat("application/cbor", load, cbor2.dumps, limits, list_of=b"\x9a")


def _refuse(tag: int) -> Any:
    raise ValueError(f"tag {tag} is not accepted")


def _refusing(tag: int) -> Read:
    return lambda value, immutable: _refuse(tag)


def _decimal(value: Any, immutable: bool) -> Decimal:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(each) is int for each in value):
        raise ValueError("a decimal fraction is a list of two integers")
    exponent, mantissa = value
    if abs(exponent) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    return Decimal((mantissa < 0, tuple(map(int, str(abs(mantissa)))), exponent))


def _time(value: Any, immutable: bool) -> datetime:
    if not isinstance(value, str):
        raise ValueError("a time of tag 0 is text")
    return datetime.fromisoformat(value)


def _epoch_time(value: Any, immutable: bool) -> datetime:
    if type(value) not in (int, float):
        raise ValueError("a time of tag 1 is a number")
    return _EPOCH + timedelta(seconds=value)


def _day(value: Any, immutable: bool) -> date:
    if isinstance(value, str):
        return date.fromisoformat(value)
    return _EPOCH.date() + timedelta(days=value)


def _uuid(value: Any, immutable: bool) -> str:
    return str(UUID(bytes=value))


_TAGS: dict[int, Read] = {
    **{tag: _refusing(tag) for tag in _REFUSED},
    **dict.fromkeys(_IGNORED, lambda value, immutable: value),
    0: _time,
    1: _epoch_time,
    4: _decimal,
    37: _uuid,
    100: _day,
    1004: _day,
}

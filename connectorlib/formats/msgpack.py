"""MessagePack, as strict as JSON: no repeated name, NaN or NUL, no extension type but the time.

It has no decimals and no integers of more than 64 bits: both are written as text.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectorlib.formats.strictness import first_repeated, not_decodable, too_deep
from connectorlib.formats.tree import BinaryFormat
from connectorlib.shared_settings import Limits
from connectorlib.values.text import quoted, text_of


def compile_msgpack(settings: Mapping[str, Any], limits: Limits) -> BinaryFormat:
    """Return the format. Raise ValueError without its library."""
    try:
        import msgpack
    except ImportError as error:
        raise ValueError("type msgpack needs an extra: pip install 'amqp-connectors[msgpack]'") from error

    def load(body: bytes) -> Any:
        try:
            return msgpack.unpackb(
                body, timestamp=3, object_pairs_hook=_unique, ext_hook=_refuse_extension, strict_map_key=True
            )
        except msgpack.StackError as error:
            raise too_deep(limits) from error
        except msgpack.ExtraData as error:
            raise not_decodable(f"{len(error.extra)} bytes behind the value") from error
        except msgpack.FormatError as error:
            raise not_decodable("a byte that MessagePack does not have") from error
        except (ValueError, OverflowError, TypeError) as error:
            text = str(error)
            raise not_decodable("a name that is no text" if "map key" in text else text) from error

    def dump(value: Any) -> bytes:
        packed: bytes = msgpack.packb(_without_long_numbers(value))
        return packed

    return BinaryFormat("application/vnd.msgpack", load, dump, limits, list_of=b"\xdd")


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError(f"the name {quoted(first_repeated(name for name, _ in pairs))} occurs twice in one object")
    return record


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not accepted")


def _without_long_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_long_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_long_numbers(each) for each in value]
    if isinstance(value, Decimal) or (type(value) is int and not -(2**63) <= value < 2**64):
        return text_of(value)
    return value

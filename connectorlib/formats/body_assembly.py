"""How a body of many records is put together piece by piece, in as little memory as one of them takes."""

from collections.abc import Callable, Mapping
from typing import Any

from connectorlib.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class BodyAssembly:
    """A body is the head, the pieces with `between` between them, and the tail. Decoded, it is the records, also if
    there is only one."""

    #: Returns the bytes of one record. Raise Failed (reject): `not-encodable`.
    piece: Callable[[Mapping[str, Any]], bytes]
    #: Returns the beginning of a body of so many records, always of the same length.
    head: Callable[[int], bytes]
    between: bytes = b""
    tail: bytes = b""

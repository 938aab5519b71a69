"""Bodies that come compressed, as their `content_encoding` says (RFC 9110, section 8.4.1; RFC 8878).

Rule: a body is unpacked in pieces, and never further than it may be large.
"""

import sys
import zlib
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Protocol

from connectorlib.formats.charset import is_charset
from connectorlib.formats.strictness import not_decodable, too_large
from connectorlib.values.text import quoted

#: What says that nothing was done to a body; so does the name of a charset, which Spring and kombu write there.
_PLAIN = {"", "identity", "none", "binary", "7bit", "8bit"}
#: Codings that are not unpacked here: those that IANA lists besides the known ones, and others in use.
_UNKNOWN = {
    *("aes128gcm", "br", "compress", "dcb", "dcz", "exi", "pack200-gzip"),
    *("base64", "brotli", "bzip2", "lz4", "lzma", "snappy", "xz", "zip"),
}
#: The first piece of a body or of a member of it, and the largest: a body may consist of many small members.
_FIRST_PIECE, _LARGEST_PIECE = 512, 65_536
#: Members of gzip, frames of zstd: an empty one costs as much time as kilobytes of data.
_MOST_MEMBERS = 10_000
#: Bytes, as a power of two: the smallest window that a reader of zstd has to allow (RFC 8878, section 3.1.1.1.2).
_ZSTD_WINDOW = 23
#: In the lower half of the first byte of the zlib format (RFC 1950).
_ZLIB_METHOD = 8


class _Unpacker(Protocol):
    """What zlib and zstd have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@lru_cache(256)
def coding_of(declared: str) -> str | None:
    """Return the coding that a content_encoding names, None if the body is plain. Raise Failed (reject) for one that is
    not known here. What names no coding at all (`json`) is ignored."""
    name = declared.strip().lower().removeprefix("x-")
    if name in _CODINGS:
        return name
    if name in _PLAIN or is_charset(name):
        return None
    if name in _UNKNOWN or "," in name:
        known = ", ".join(_CODINGS)
        raise not_decodable(f"content_encoding {quoted(declared)} is not unpacked here; {known} are, one at a time")
    return None


def unpack(body: bytes, coding: str, most: int) -> bytes:
    """Return a body unpacked. Raise Failed (reject): `too-large` for more than `most` bytes, `not-decodable` for what
    is not of that coding, whole and with nothing behind it."""
    start = _CODINGS[coding]
    pieces: list[bytes] = []
    room, at, members = most, 0, 0
    while at < len(body) or not at:
        members += 1
        if members > _MOST_MEMBERS:
            raise too_large(f"{coding} of more than {_MOST_MEMBERS} members")
        unpacker, size = start(body[at : at + 2], most), _FIRST_PIECE
        while not unpacker.eof:
            if at >= len(body):
                raise not_decodable(f"content_encoding is {coding}, and the body ends in the middle of it")
            piece = body[at : at + size]
            pieces.append(_unpacked_piece(unpacker, piece, room + 1, coding))
            room -= len(pieces[-1])
            if room < 0:
                packed = f"{len(body)} bytes of {coding}"
                raise too_large(f"{packed} unpack to more than limits.body_bytes, which is {most}")
            at += len(piece)
            size = min(2 * size, _LARGEST_PIECE)
        at -= len(unpacker.unused_data)
        if at < len(body) and coding == "deflate":  # gzip and zstd may have several members
            raise not_decodable(f"content_encoding is deflate, and there are {len(body) - at} bytes behind its end")
    return b"".join(pieces)


def _unpacked_piece(unpacker: _Unpacker, piece: bytes, most: int, coding: str) -> bytes:
    try:
        return unpacker.decompress(piece, most)
    except MemoryError:
        raise
    except Exception as error:  # zlib.error, and an exception of zstd's own
        raise not_decodable(f"content_encoding is {coding}, and the body is not: {_said(error)}") from error


def _said(error: Exception) -> str:
    """Return what a library says, without what it was doing then."""
    return str(error).rpartition(": ")[2]


def _gzip(begin: bytes, most: int) -> _Unpacker:
    return zlib.decompressobj(31)


def _deflate(begin: bytes, most: int) -> _Unpacker:
    """Return the unpacker of what the first two bytes begin: the zlib format, as RFC 9110 has it, or deflate alone, as
    some senders have it. No compressor begins that with what looks like a header of zlib."""
    wrapped = len(begin) < 2 or (begin[0] & 15 == _ZLIB_METHOD and int.from_bytes(begin) % 31 == 0)
    return zlib.decompressobj(15 if wrapped else -15)


def _zstd(begin: bytes, most: int) -> _Unpacker:
    library = _zstd_library()
    window = max(_ZSTD_WINDOW, most.bit_length())
    options = {library.DecompressionParameter.window_log_max: min(window, _largest_window(library))}
    unpacker: _Unpacker = library.ZstdDecompressor(options=options)
    return unpacker


@cache
def _largest_window(library: Any) -> int:
    return int(library.DecompressionParameter.window_log_max.bounds()[1])


def _zstd_library() -> Any:
    """Return the module. Raise Failed (reject) without it: other messages of the queue may need none."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        text = "content_encoding is zstd, which needs an extra: pip install 'amqp-connectors[zstd]'"
        raise not_decodable(text) from error
    return zstd


#: Given the first two bytes and the size that a body may have, returns what unpacks it.
_CODINGS: dict[str, Callable[[bytes, int], _Unpacker]] = {"gzip": _gzip, "deflate": _deflate, "zstd": _zstd}

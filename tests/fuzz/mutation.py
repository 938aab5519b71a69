"""Makes new inputs of old ones. Everything comes from one seeded generator, so a run can be repeated."""

from collections.abc import Sequence
from random import Random

MOST_BYTES = 4096
#: What readers stumble over, whatever they read.
_ODD = [
    *(bytes([code]) for code in (0, 1, 9, 10, 13, 27, 32, 34, 39, 47, 92, 127, 128, 255)),
    *("\ufeff \u2028 \u0085 \u00a0 \u202e é 😀 \ud7ff \ufffe".encode().split()),
    *(
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\\u0000",
        b"\\ud800",
        b"&#0;",
        b"%s",
        b"${",
        b"}",
        b"{{",
        b"$$",
    ),
    *(b"-1", b"0", b"00", b"1e400", b"1e-400", b"9" * 30, b"9223372036854775808", b"NaN", b"-0.0", b"0x1"),
]


class Mutator:
    """Changes inputs of one target; `tokens` are the words of its language."""

    def __init__(self, random: Random, tokens: Sequence[bytes]) -> None:
        self._random = random
        self._tokens = [*tokens, *_ODD]
        self._changes = [
            *(self._put_token, self._put_token, self._take_out, self._double, self._swap),
            *(self._change_byte, self._repeat, self._cross, self._cut),
        ]

    def change(self, data: bytes, others: Sequence[bytes]) -> bytes:
        """Return the data changed in a few places; `others` are inputs to take parts of."""
        for _ in range(self._random.choice((1, 1, 1, 2, 2, 3, 4, 8))):
            data = self._random.choice(self._changes)(data, others)
        return data[:MOST_BYTES]

    def _place(self, data: bytes) -> int:
        return self._random.randint(0, len(data))

    def _span(self, data: bytes) -> tuple[int, int]:
        start = self._place(data)
        return start, min(len(data), start + self._random.choice((1, 1, 2, 4, 8, 16, 64)))

    def _put_token(self, data: bytes, others: Sequence[bytes]) -> bytes:
        at = self._place(data)
        return data[:at] + self._random.choice(self._tokens) + data[at:]

    def _take_out(self, data: bytes, others: Sequence[bytes]) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _double(self, data: bytes, others: Sequence[bytes]) -> bytes:
        start, end = self._span(data)
        return data[:end] + data[start:end] + data[end:]

    def _swap(self, data: bytes, others: Sequence[bytes]) -> bytes:
        start, end = self._span(data)
        return data[:start] + self._random.choice(self._tokens) + data[end:]

    def _change_byte(self, data: bytes, others: Sequence[bytes]) -> bytes:
        if not data:
            return data
        at = self._random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]

    def _repeat(self, data: bytes, others: Sequence[bytes]) -> bytes:
        """Many times the same: what is not linear takes long."""
        start, end = self._span(data)
        return data[:start] + data[start:end] * self._random.choice((3, 10, 100, 1000)) + data[end:]

    def _cross(self, data: bytes, others: Sequence[bytes]) -> bytes:
        other = self._random.choice(others)
        return data[: self._place(data)] + other[self._place(other) :]

    def _cut(self, data: bytes, others: Sequence[bytes]) -> bytes:
        return data[: self._place(data)]

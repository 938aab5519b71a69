"""Which bodies of one subscription are read, so that those in hand together take no more bytes than they may. Pure.

The socket is always read: RabbitMQ closes a connection that is not read for 30 s, and all that it holds counts as
delivered. So a body that there is no room for is not kept back but dropped as it comes, and its message comes again.
One is always read, however large, if nothing else is in hand.
"""

from collections.abc import Iterable

#: Smaller bodies are always read, and not counted: what is made of a message besides its body takes as much.
SMALL = 1_024


class ReceiveWindow:
    """The delivery tags of one channel, whose bodies may take `room` bytes together."""

    def __init__(self, room: int, refused_above: int | None = None) -> None:
        """Larger bodies than `refused_above` are never read. None: there is no such limit."""
        self._room = room
        #: So many are read however large they are.
        self.fewest = 1
        self._refused_above = refused_above
        self._sizes: dict[int, int] = {}
        self._taken = 0

    def refuses(self, size: int) -> bool:
        return self._refused_above is not None and size > self._refused_above

    def admit(self, tag: int, size: int) -> bool:
        """Return whether to read a body of this size, and count it if so."""
        if self.refuses(size) or (len(self._sizes) >= self.fewest and self._taken + size > self._room):
            return False
        self._sizes[tag] = size
        self._taken += size
        return True

    def settle(self, tags: Iterable[int]) -> None:
        """Note that these are done with."""
        if self._sizes:
            self._taken -= sum(self._sizes.pop(tag, 0) for tag in tags)

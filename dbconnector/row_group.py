"""From the rows of a query to messages of many rows. No broker and no database; a long body is collected in a file.

Rows share a message only if they have the same routing key, headers and properties, so none is routed by the values of
another. A row that cannot be sent costs no other row its message.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import field
from datetime import datetime
from typing import IO, Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed
from connectorlib.expressions import Scope
from connectorlib.formats.strictness import body_too_large
from connectorlib.messages import Outgoing
from dbconnector.row_message import BODY, Envelope, MessageMapping, Record, new_id, rejected, uuid_text
from dbconnector.temporary_file import temporary_file, using_file

Row = tuple[Any, ...]  # as in row_source, which imports the driver
#: `destination.rows` of a message that has all rows of the query.
ALL = "all"


@dataclass(frozen=True, slots=True)
class RowGroup:
    """The rows of one message, as far as they are kept, and how many there are."""

    count: int
    rows: Sequence[Row]


Keep = Callable[[Row], Row]
#: A message, and its rows.
Message = tuple[Outgoing, RowGroup]


class _Ids:
    """The ids that the rows of a message would have alone, and the one that is made of them."""

    def __init__(self) -> None:
        self._first: str | None = None
        self._alike = True
        self._digest = hashlib.sha256()

    def add(self, message_id: str | None) -> None:
        if message_id is None:
            return
        octets = message_id.encode()
        self._digest.update(len(octets).to_bytes(4) + octets)
        self._alike = self._alike and self._first in (None, message_id)
        self._first = self._first or message_id

    def together(self) -> str:
        """Return the id that all of them have, else one that only a message of the same rows has: if a longer one had
        it too, an inbox that knows the shorter would drop the rest. Without any it is random."""
        if self._first is None:
            return new_id()
        return self._first if self._alike else uuid_text(self._digest.hexdigest()[:32], 8)


@dataclass(slots=True)
class _Open:
    """A message that is being collected."""

    envelope: Envelope
    ids: _Ids
    body: IO[bytes]
    #: Bytes that the body has when it is closed now.
    size: int
    count: int = 0
    rows: list[Row] = field(default_factory=list)


class RowGroups:
    """Collects rows into messages, each of at most `most_rows` (None: any number) and `most_bytes` of body.

    `keep` returns what is wanted of each row together with its message; None: nothing. `now` is what `$now` is: by
    default the time of each message.
    """

    def __init__(
        self,
        mapping: MessageMapping,
        columns: Sequence[str],
        *,
        most_rows: int | None,
        most_bytes: int,
        keep: Keep | None,
        now: datetime | None = None,
    ) -> None:
        self._record_of = mapping.recorder(columns)
        self._scope = Scope(None)
        self._read = mapping.envelope(columns, self._scope)
        self._read_id = mapping.message_id(columns, self._scope)
        self._assembly = mapping.assembly(columns)
        self._exchange = mapping.exchange
        self._most_rows, self._most_bytes, self._keep = most_rows, most_bytes, keep
        #: Bytes of a body without rows.
        self._frame = len(self._assembly.head(0)) + len(self._assembly.tail)
        self._index, self._now = -1, now
        self._open: _Open | None = None

    def add(self, row: Row) -> Message | None:
        """Add a row; return the message before it if that is complete. Raise Failed for a row that cannot be sent,
        which changes nothing."""
        record = self._record_of(row)
        self._index += 1
        piece = self._piece(record)
        group = self._open
        if group is not None and self._fits(group, piece):
            envelope, message_id = self._read(record), self._id(record)
            if envelope == group.envelope:
                group.ids.add(message_id)
                self._append(group, row, piece)
                return None
        fresh = self._begin(record)
        complete, self._open = self.close(), fresh
        self._append(fresh, row, piece)
        return complete

    def close(self) -> Message | None:
        """Return the message that is being collected; None if there is none."""
        group, self._open = self._open, None
        if group is None:
            return None
        with group.body as file, using_file(BODY):
            file.write(self._assembly.tail)
            file.seek(0)
            file.write(self._assembly.head(group.count))
            file.seek(0)
            body = file.read()
        routing_key, properties = group.envelope
        properties["message_id"] = group.ids.together()
        return Outgoing(self._exchange, routing_key, body, properties), RowGroup(group.count, group.rows)

    def abandon(self) -> None:
        """Give up the message that is being collected."""
        group, self._open = self._open, None
        if group is not None:
            group.body.close()

    def _piece(self, record: Record) -> bytes:
        try:
            piece = self._assembly.piece(record)
        except Failed as failed:
            raise rejected(failed.failure, BODY) from None
        if (size := self._frame + len(piece)) > self._most_bytes:
            raise rejected(body_too_large(size, self._most_bytes).failure, BODY)
        return piece

    def _fits(self, group: _Open, piece: bytes) -> bool:
        size = group.size + len(self._assembly.between) + len(piece)
        return size <= self._most_bytes and (self._most_rows is None or group.count < self._most_rows)

    def _begin(self, record: Record) -> _Open:
        """Return a message whose first row this is. If that fails the scope is still the one of the message before."""
        scope = self._scope
        before = scope.part, scope.index, scope.now
        scope.part, scope.index, scope.now = (scope.part or 0) + 1, self._index, self._now
        try:
            envelope, ids = self._read(record), _Ids()
            ids.add(self._id(record))
        except Failed:
            scope.part, scope.index, scope.now = before
            raise
        file = temporary_file()
        file.write(self._assembly.head(0))
        return _Open(envelope, ids, file, self._frame)

    def _append(self, group: _Open, row: Row, piece: bytes) -> None:
        between = self._assembly.between if group.count else b""
        with using_file(BODY):
            group.body.write(between)
            group.body.write(piece)
        group.size += len(between) + len(piece)
        group.count += 1
        if self._keep is not None:
            group.rows.append(self._keep(row))

    def _id(self, record: Record) -> str | None:
        return None if self._read_id is None else self._read_id(record)

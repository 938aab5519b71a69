"""Publishes the rows of one run, one or many to a message, and keeps which of them the broker has confirmed and which
could not be sent."""

import logging
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TypeVar, cast

from connectorlib.amqp import Broker
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.formats import compile_format
from connectorlib.messages import Outgoing
from connectorlib.pipeline.pause import PauseWait
from connectorlib.service import logs
from dbconnector.mark_parameters import error_text
from dbconnector.mark_rows import RowMark
from dbconnector.poll import Progress
from dbconnector.publish_window import PublishWindow
from dbconnector.row_group import ALL, Keep, RowGroup, RowGroups
from dbconnector.row_message import Maker, MessageMapping, Read
from dbconnector.row_source import Batch, Row
from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)

#: Messages, and bytes of their bodies, that are handed to the publisher at once.
BATCH_MESSAGES = 250
BATCH_BYTES = 1024 * 1024

#: Rows whose messages are made together.
TOGETHER = 50

#: Failed rows that a stream collects for on_failed, which runs at its end; so many end it.
MAX_FAILED = 10_000

Value = TypeVar("Value")


def compiled(build: Callable[[], Value]) -> Value:
    """Return what is built; a ValueError becomes Failed."""
    try:
        return build()
    except ValueError as error:
        raise Failed(Failure(Kind.CONFIGURATION, "configuration", str(error), "select")) from error


class RowSender:
    """The rows of one run on their way to the broker. Raise ValueError for an expression that cannot be compiled.

    `marks`: the statements that take their parameters from the columns. `paged`: the caller empties `confirmed` and
    `unsent` after each page. `on_confirmed` is called with what has been confirmed. `message_id` makes the id of a
    row where the configuration does not. `pause` is told of a broker that does not take the messages.
    """

    def __init__(
        self,
        config: DbConfig,
        broker: Broker,
        stop: Event,
        *,
        marks: Sequence[RowMark],
        paged: bool,
        progress: Progress | None = None,
        on_confirmed: Callable[[Sequence[Row]], object] | None = None,
        message_id: Read | None = None,
        pause: PauseWait | None = None,
    ) -> None:
        assert config.destination is not None
        self.sent = 0
        self.messages = 0
        self.failed = 0
        #: The rows that are confirmed, if they come in pages.
        self.confirmed: list[Row] = []
        #: The rows that could not be sent, each with why.
        self.unsent: list[tuple[Row, str]] = []
        fmt, clock = compile_format(config.format, config.limits), config.database.clock
        self._mapping = MessageMapping(config.destination, fmt, message_id, clock)
        self._stop = stop
        self._marks = marks
        self._paged = paged
        self._keeps_failed = any(mark.place == "on_failed" for mark in marks)
        self._progress = progress
        self._on_confirmed = on_confirmed
        self._window: PublishWindow[Row | RowGroup] = PublishWindow(broker, stop, self._settled, pause)
        self._rows, self._most_bytes = config.destination.rows, config.limits.body_bytes
        self._make: Maker | None = None
        #: Instead of that, where a message has many rows.
        self._groups: RowGroups | None = None
        #: What is kept of a row until then; None: all of it, or nothing if nobody asks for it.
        self._keep: Keep | None = None
        #: The columns that it is for.
        self._columns: Sequence[str] | None = None
        #: Why reading has to end.
        self._failure: Failure | None = None

    def bind(self, columns: Sequence[str]) -> None:
        """Find the columns that expressions and statements use. Pages are results of their own, and a table may have
        been altered since the last."""
        if self._columns != columns:
            self._columns = columns
            for mark in self._marks:
                mark.bind(columns)
            if self._rows is None:
                self._make = compiled(lambda: self._mapping.maker(columns))
            else:
                self._groups = compiled(lambda: self._collector(columns))

    def send(self, batch: Batch) -> bool:
        """Publish the rows; return False if reading must end because of a stop or a failure. The last message of many
        rows waits for more of them."""
        self.bind(batch[0])
        return all(self._submit(*group) for group in self._batches(batch[1])) and self._failure is None

    def drain(self) -> bool:
        """Publish the last message, if no stop or failure has ended the reading within it, and wait for what is in
        flight; return False if a stop has cut that short."""
        if not self._stop.is_set():
            self._send_collected()
        return self._window.drain() and self._failure is None

    def abandon(self) -> None:
        """Publish nothing more of what is in flight or being collected."""
        self._window.abandon()
        if self._groups:
            self._groups.abandon()

    def raise_failure(self) -> None:
        """Raise Failed if a row has ended the reading."""
        if self._failure is not None:
            if self.sent or self.failed:
                logs.event(logger, logging.INFO, "sent", rows=self.sent, failed=self.failed)
            raise Failed(self._failure)

    def _send_collected(self) -> None:
        """Publish the message of many rows that is not complete: there are no more for it."""
        if self._groups is None or self._failure is not None:
            return
        try:
            if last := self._groups.close():
                self._window.send([last[0]], [last[1]])
        except Failed as failed:
            self._failure = failed.failure

    def _collector(self, columns: Sequence[str]) -> RowGroups:
        most = self._rows if isinstance(self._rows, int) else None
        if self._paged or self._marks:
            self._keep = self._keeper(columns)
        return RowGroups(self._mapping, columns, most_rows=most, most_bytes=self._most_bytes, keep=self._keep)

    def _keeper(self, columns: Sequence[str]) -> Keep:
        """Return what is kept of a row until its message is confirmed: of a message of all rows only what the marks
        need of them."""
        if self._rows != ALL:
            return _whole
        positions = sorted(frozenset[int]().union(*(mark.positions for mark in self._marks)))
        for mark in self._marks:
            mark.bind([columns[at] for at in positions])
        return lambda row: tuple([row[at] for at in positions])

    def _made(self, rows: Sequence[Row]) -> Iterator[tuple[Outgoing, Row | RowGroup]]:
        """Yield the messages of these rows that are complete, each with what it is made of."""
        if self._make is None:
            yield from self._made_one_by_one(rows)
            return
        for start in range(0, len(rows), TOGETHER):
            some = rows[start : start + TOGETHER]
            messages = self._make.together(some)
            yield from self._made_one_by_one(some) if messages is None else zip(messages, some, strict=True)
            if self._failure:
                return

    def _made_one_by_one(self, rows: Sequence[Row]) -> Iterator[tuple[Outgoing, Row | RowGroup]]:
        make, groups = self._make, self._groups
        for row in rows:
            try:
                if make is not None:
                    yield make(row), row
                elif groups is not None and (complete := groups.add(row)):
                    yield complete
            except Failed as failed:
                self._fail([row if self._keep is None else self._keep(row)], failed.failure)
                if self._failure:
                    return

    def _batches(self, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Outgoing], Sequence[Row | RowGroup]]]:
        """Yield messages and what they are made of, as many as are handed to the publisher at once."""
        messages: list[Outgoing] = []
        made: list[Row | RowGroup] = []
        size = 0
        for message, item in self._made(rows):
            messages.append(message)
            made.append(item)
            size += len(message.body)
            if len(made) >= BATCH_MESSAGES or size >= BATCH_BYTES:
                yield messages, made
                messages, made, size = [], [], 0
        if made:
            yield messages, made

    def _submit(self, messages: Sequence[Outgoing], items: Sequence[Row | RowGroup]) -> bool:
        going = self._window.send(messages, items)
        return going and self._failure is None and not self._stop.is_set()

    def _settled(self, items: Sequence[Row | RowGroup], results: Sequence[Failure | None]) -> None:
        if any(results):
            for item, failure in zip(items, results, strict=True):
                if failure is not None:
                    self._fail(_rows([item])[0], failure)
            items = [item for item, failure in zip(items, results, strict=True) if failure is None]
        rows, count = _rows(items)
        self.sent += count
        self.messages += len(items)
        if self._paged:
            self.confirmed.extend(rows)
        if self._on_confirmed:
            self._on_confirmed(rows)
        if self._progress:
            self._progress(self.sent)

    def _fail(self, rows: Sequence[Row], failure: Failure) -> None:
        """Keep rows that cannot be sent for on_failed. Without that, or for any other failure, reading ends."""
        if failure.kind is not Kind.REJECT or not self._keeps_failed:
            self._failure = self._failure or failure
            return
        self.failed += len(rows)
        error = error_text(failure)
        self.unsent.extend((row, error) for row in rows)
        if len(self.unsent) >= MAX_FAILED and not self._paged:
            text = f"{len(self.unsent)} rows could not be sent, the last: {failure}"
            self._failure = Failure(Kind.REJECT, "too-many-failed", text, failure.place)
        fields = {"place": failure.place, "code": failure.code, "text": failure.text}
        if len(rows) == 1:
            logs.event(logger, logging.WARNING, "row failed", **fields)
        else:
            logs.event(logger, logging.WARNING, "rows failed", rows=len(rows), **fields)


def _whole(row: Row) -> Row:
    return row


def _rows(items: Sequence[Row | RowGroup]) -> tuple[Sequence[Row], int]:
    """Return the rows that messages are made of, as far as they are kept, and how many there are."""
    if not items or not isinstance(items[0], RowGroup):
        return cast(Sequence[Row], items), len(items)
    groups = cast(Sequence[RowGroup], items)
    return [row for group in groups for row in group.rows], sum(group.count for group in groups)

"""Publishes the rows of one run, and keeps which of them the broker has confirmed and which could not be sent."""

import logging
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TypeVar

from connectorlib.amqp import Broker
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.formats import compile_format
from connectorlib.messages import Outgoing
from connectorlib.service import logs
from dbconnector.mark_parameters import error_text
from dbconnector.mark_rows import RowMark
from dbconnector.poll import Progress
from dbconnector.publish_window import PublishWindow
from dbconnector.row_message import Make, MessageMapping, Read
from dbconnector.row_source import Batch, Row
from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)

#: Messages, and bytes of their bodies, that are handed to the publisher at once.
BATCH_MESSAGES = 200
BATCH_BYTES = 1024 * 1024

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
    `unsent` after each page. `message_id` makes the id of a message where the configuration does not.
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
        message_id: Read | None = None,
    ) -> None:
        assert config.destination is not None
        self.sent = 0
        self.failed = 0
        #: The rows that are confirmed, if they come in pages.
        self.confirmed: list[Row] = []
        #: The rows that could not be sent, each with why.
        self.unsent: list[tuple[Row, str]] = []
        self._mapping = MessageMapping(config.destination, compile_format(config.format, config.limits), message_id)
        self._stop = stop
        self._marks = marks
        self._paged = paged
        self._keeps_failed = any(mark.place == "on_failed" for mark in marks)
        self._progress = progress
        self._window = PublishWindow(broker, stop, self._settled)
        self._make: Make | None = None
        #: The columns that it is for.
        self._columns: Sequence[str] | None = None
        #: Why reading has to end.
        self._failure: Failure | None = None

    def bind(self, columns: Sequence[str]) -> None:
        """Find the columns that expressions and statements use. Pages are results of their own, and a table may have
        been altered since the last."""
        if self._columns != columns:
            self._columns = columns
            self._make = compiled(lambda: self._mapping.maker(columns))
            for mark in self._marks:
                mark.bind(columns)

    def send(self, batch: Batch) -> bool:
        """Publish the rows; return False if reading must end because of a stop or a failure."""
        self.bind(batch[0])
        return all(self._submit(*group) for group in self._groups(batch[1])) and self._failure is None

    def drain(self) -> bool:
        """Wait for what is in flight; return False if a stop has cut that short."""
        return self._window.drain()

    def abandon(self) -> None:
        """Publish nothing more of what is in flight."""
        self._window.abandon()

    def raise_failure(self) -> None:
        """Raise Failed if a row has ended the reading."""
        if self._failure is not None:
            if self.sent or self.failed:
                logs.event(logger, logging.INFO, "sent", rows=self.sent, failed=self.failed)
            raise Failed(self._failure)

    def _groups(self, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Outgoing], Sequence[Row]]]:
        """Yield messages and their rows, as many as are handed to the publisher at once."""
        make = self._make
        assert make is not None
        messages: list[Outgoing] = []
        made: list[Row] = []
        size = 0
        for row in rows:
            try:
                message = make(row)
            except Failed as failed:
                self._fail(row, failed.failure)
                if self._failure:
                    break
                continue
            messages.append(message)
            made.append(row)
            size += len(message.body)
            if len(made) >= BATCH_MESSAGES or size >= BATCH_BYTES:
                yield messages, made
                messages, made, size = [], [], 0
        if made:
            yield messages, made

    def _submit(self, messages: Sequence[Outgoing], rows: Sequence[Row]) -> bool:
        going = self._window.send(messages, rows)
        return going and self._failure is None and not self._stop.is_set()

    def _settled(self, rows: Sequence[Row], results: Sequence[Failure | None]) -> None:
        if any(results):
            for row, failure in zip(rows, results, strict=True):
                if failure is not None:
                    self._fail(row, failure)
            rows = [row for row, failure in zip(rows, results, strict=True) if failure is None]
        self.sent += len(rows)
        if self._paged:
            self.confirmed.extend(rows)
        if self._progress:
            self._progress(self.sent)

    def _fail(self, row: Row, failure: Failure) -> None:
        """Keep a row that cannot be sent for on_failed. Without that, or for any other failure, reading ends."""
        if failure.kind is not Kind.REJECT or not self._keeps_failed:
            self._failure = self._failure or failure
            return
        self.failed += 1
        self.unsent.append((row, error_text(failure)))
        if len(self.unsent) >= MAX_FAILED and not self._paged:
            text = f"{len(self.unsent)} rows could not be sent, the last: {failure}"
            self._failure = Failure(Kind.REJECT, "too-many-failed", text, failure.place)
        logs.event(logger, logging.WARNING, "row failed", place=failure.place, code=failure.code, text=failure.text)

"""Logs events with fields, without secrets and bodies; as text for people or JSON lines for machines.

    logs.configure(config.logging, "connector")                    # once, in main
    logs.event(logger, logging.INFO, "connected", host="10.0.0.5", port=5672)
    logs.paused(logger, {"division": "field-service", "cause": "invalid_grant", "text": "…"}, do="…")
    logs.secrets.add(password)                                     # the configuration does this

Text: `2026-11-24 03:02:11 WARNING dead-lettered queue=readings code=22001`. JSON: the same with `"event":
"dead-lettered"`; event names (lower case, `-` for blanks) are stable, texts are not. Warnings that differ only in
their volatile fields (`message_id`, `attempt`, …) are counted and logged once a minute.
"""

import copy
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TextIO

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service.log_dedup import Repeats, Summary
from connectorlib.service.log_filters import QuietPika, Redact, quiet_pika
from connectorlib.service.log_format import (
    Event,
    JsonFormatter,
    TextFormatter,
    event_name,
    field_value,
    fields_of,
    quoted_value,
)
from connectorlib.service.log_writer import LogWriter
from connectorlib.service.redaction import secrets
from connectorlib.shared_settings import Logging

__all__ = ["Output", "configure", "event", "pause_line", "paused", "quiet_pika", "secrets"]

#: Fields that differ between two warnings about the same thing.
VOLATILE = frozenset(
    {
        "after",
        "attempt",
        "attempts",
        "correlation_id",
        "delay",
        "detail",
        "held",
        "key",
        "message_id",
        "messages",
        "next_try",
        "seconds",
        "tag",
        "text",
        "waiting",
    }
)
#: A pause and its end are a pair; neither is suppressed. Nor is the answer to a reload.
ALWAYS_LOGGED = frozenset({"paused", "reload-refused", "resumed"})


def event(logger: logging.Logger, level: int, name: str, /, **fields: object) -> None:
    """Log an event with fields; `exc_info` is that of logging. A field that is None is left out."""
    if not logger.isEnabledFor(level):
        return
    exc_info: Any = fields.pop("exc_info", None)
    # stacklevel: the record belongs to the caller, not to this function.
    extra = {"event": name, "fields": fields}
    logger.log(level, "%s", Event(name, fields), exc_info=exc_info, extra=extra, stacklevel=2)


def paused(logger: logging.Logger, fields: Mapping[str, object], do: str) -> None:
    """Log the pause line: the first thing that a person called at night looks for."""
    extra = {"event": "paused", "fields": {**fields, "do": do}, "line": True}
    logger.warning("%s", pause_line(fields, do), extra=extra, stacklevel=2)


def pause_line(fields: Mapping[str, object], do: str) -> str:
    """Return `PAUSED key=value … do="…"`; `text` follows the cause, quoted and without a key."""
    given = {key: value for key, value in fields.items() if value is not None}
    shown = " ".join(
        quoted_value(value) if key == "text" else f"{key}={field_value(value)}" for key, value in given.items()
    )
    return f"PAUSED {shown} do={quoted_value(do)}"


# -- the way out


class Queued(logging.Handler):
    """Writes each record as a line, without making whoever logs wait for that; see `log_writer`."""

    def __init__(
        self,
        write: Callable[[bytes], int],
        on_failure: Callable[[Exception], object] = lambda error: None,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._writer = LogWriter(write, gap=self._gap, on_failure=on_failure)
        self._on_close = on_close

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._line(record)
        except Exception as error:  # a bug in a line is no reason to stop who logs it
            line = self._line(_notice("log-line", f"{record.msg!r} cannot be written: {error!r}"))
        self._writer.put(line)

    def flush(self) -> None:
        """Wait until everything is written, as long as something is."""
        self._writer.flush()

    def close(self) -> None:
        if self._writer.close():
            self._on_close()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _gap(self, count: int) -> bytes:
        return self._line(_notice("lines-missing", f"{count} lines are missing here, they could not be written"))


def _notice(name: str, text: str) -> logging.LogRecord:
    """Return a record about the log itself."""
    record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
    record.event = name
    return record


class Output(logging.Handler):
    """Behind the filters: counts repeated warnings, then hands each record to stderr and the file."""

    def __init__(self, handlers: Sequence[logging.Handler], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handlers = tuple(handlers)
        self._clock = clock
        self._repeats: Repeats[logging.LogRecord] = Repeats()
        self._timer: threading.Timer | None = None
        for each in (QuietPika(), Redact()):
            self.addFilter(each)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it if the same was logged within the last minute."""
        now = self._clock()
        self._summarise(self._repeats.due(now))
        counted = record.levelno >= logging.WARNING and event_name(record) not in ALWAYS_LOGGED
        if not counted or self._repeats.offer(_identity(record), record, now):
            self._write(record)
        self._schedule(now)

    def flush(self) -> None:
        """Wait until everything is written, as long as something is."""
        for handler in self._handlers:
            handler.flush()

    def close(self) -> None:
        """Log the pending summaries, and close the handlers."""
        with self._locked():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._summarise(self._repeats.due(self._clock(), everything=True))
            for handler in self._handlers:
                handler.close()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            handler.handle(record)

    def _summarise(self, summaries: Sequence[Summary[logging.LogRecord]]) -> None:
        for summary in summaries:
            self._write(_summary_record(summary))

    def _schedule(self, now: float) -> None:
        # Without a timer the number would wait for the next record, which at night may be hours away.
        due = self._repeats.next_due()
        if due is not None and self._timer is None:
            self._timer = threading.Timer(max(0.0, due - now) + 0.01, self._on_timer)
            self._timer.daemon = True
            self._timer.start()

    def _on_timer(self) -> None:
        with self._locked():
            self._timer = None
            now = self._clock()
            self._summarise(self._repeats.due(now))
            self._schedule(now)

    def _locked(self) -> AbstractContextManager[Any]:
        return self.lock if self.lock is not None else nullcontext()


def _identity(record: logging.LogRecord) -> tuple[object, ...]:
    fields = tuple((key, str(value)) for key, value in fields_of(record).items() if key not in VOLATILE)
    return (record.name, record.levelno, record.getMessage(), fields)


def _summary_record(summary: Summary[logging.LogRecord]) -> logging.LogRecord:
    record = copy.copy(summary.item)
    kind = record.levelname.lower()
    times = f"{summary.count} times" if summary.count > 1 else "once more"
    last = time.strftime("%H:%M:%S", time.localtime(record.created))  # the cause may be another one by now
    record.msg = f"{record.getMessage()} (earlier, same {kind} {times} in {summary.seconds:.0f} s, last at {last})"
    record.args, record.exc_info, record.exc_text = None, None, None
    record.created = time.time()
    record.repeated = summary.count
    return record


def configure(settings: Logging, connector: str) -> Output:
    """Send the logs of this process to stderr, and to a file if asked. Raise Failed when the file cannot be opened."""
    formatter = JsonFormatter(connector) if settings.format == "json" else TextFormatter()
    handlers = [_stderr_handler()]
    if settings.file is not None:
        handlers.append(_file_handler(settings.file, handlers[0]))
    for handler in handlers:
        handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, Output)]:
        root.removeHandler(old)
        old.close()
    output = Output(handlers)
    root.addHandler(output)
    root.setLevel(settings.level.upper())
    # Below that pika logs frames, and with them bodies.
    logging.getLogger("pika").setLevel(logging.INFO if root.level <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(True)
    return output


def _stderr_handler() -> logging.Handler:
    stream: TextIO | None = sys.stderr
    try:
        descriptor = stream.fileno() if stream is not None else 2
    except (OSError, ValueError):  # in memory, which nobody waits for
        return logging.StreamHandler(stream)
    return Queued(partial(_write, descriptor))


def _write(descriptor: int, data: bytes) -> int:
    """Past Python's own buffer: its lock would hold up the end of the process while a write hangs."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # whoever shares this end has made it so
        select.select([], [descriptor], [])
        return 0


def _file_handler(file: str, others: logging.Handler) -> logging.Handler:
    """`others` are told when the file cannot be written any more."""
    from logging.handlers import WatchedFileHandler  # late: few log to a file

    try:
        # Watched: logrotate may move the file away; the next line opens a new one.
        opened = WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        text = f"the log file {file} cannot be opened: {error.strerror}"
        raise Failed(Failure(Kind.CONFIGURATION, "log-file", text, place="logging.file")) from error

    def write(data: bytes) -> int:
        opened.reopenIfNeeded()
        if opened.stream is None:  # it could not be opened again the last time
            opened.stream = opened._open()
            opened._statstream()
        return _write(opened.stream.fileno(), data)

    def fails(error: Exception) -> None:
        text = f"the log file {file} cannot be written: {getattr(error, 'strerror', None) or error}"
        others.handle(_notice("log-file", text))

    return Queued(write, fails, opened.close)

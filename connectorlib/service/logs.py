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
import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from typing import Any, TextIO

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service.log_dedup import Repeats, Summary
from connectorlib.service.log_writer import LogWriter
from connectorlib.service.redaction import MARK, is_secret_name, secrets
from connectorlib.shared_settings import Logging
from connectorlib.values.text import printable

__all__ = ["Output", "configure", "event", "pause_line", "paused", "secrets"]

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
MAX_VALUE = 2000  # characters of one field or message

_BYTES = re.compile(r"""\bb'(?:[^'\\]|\\.)*'|\bb"(?:[^"\\]|\\.)*\"""")


def event(logger: logging.Logger, level: int, name: str, /, **fields: object) -> None:
    """Log an event with fields; `exc_info` is that of logging. A field that is None is left out."""
    if not logger.isEnabledFor(level):
        return
    exc_info: Any = fields.pop("exc_info", None)
    # stacklevel: the record belongs to the caller, not to this function.
    extra = {"event": name, "fields": fields}
    logger.log(level, "%s", _Event(name, fields), exc_info=exc_info, extra=extra, stacklevel=2)


class _Event:
    """The message of an event. Formatters that are not ours, as where the connector is called from Python, show it with
    its fields and without secrets."""

    def __init__(self, name: str, fields: Mapping[str, object]) -> None:
        self.name = name
        self._fields = fields

    def __str__(self) -> str:
        return secrets.redact(_with_fields(self.name, {key: _clean(key, each) for key, each in self._fields.items()}))


def paused(logger: logging.Logger, fields: Mapping[str, object], do: str) -> None:
    """Log the pause line: the first thing that a person called at night looks for."""
    extra = {"event": "paused", "fields": {**fields, "do": do}, "line": True}
    logger.warning("%s", pause_line(fields, do), extra=extra, stacklevel=2)


def pause_line(fields: Mapping[str, object], do: str) -> str:
    """Return `PAUSED key=value … do="…"`; `text` follows the cause, quoted and without a key."""
    given = {key: value for key, value in fields.items() if value is not None}
    shown = " ".join(_quoted(value) if key == "text" else f"{key}={_value(value)}" for key, value in given.items())
    return f"PAUSED {shown} do={_quoted(do)}"


# -- one record as text


def _quoted(value: object) -> str:
    return printable(json.dumps(str(value), ensure_ascii=False))


def _value(value: object) -> str:
    """Return the value of a field, in quotes where its end would be unclear."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return _value(",".join(str(each) for each in value))
    text = _bounded(str(value))
    plain = text and text.isprintable() and not any(char in text for char in ' "=')
    return text if plain else _quoted(text)


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def _one_line(text: str) -> str:
    """Return the text on one line: what a message or a server sent must not be able to forge log lines."""
    return printable(_bounded(text))


def _with_fields(line: str, fields: Mapping[str, object]) -> str:
    return " ".join([line, *(f"{key}={_value(value)}" for key, value in fields.items() if value is not None)])


def _event_name(record: logging.LogRecord) -> str:
    return str(getattr(record, "event", None) or "log").lower().replace(" ", "-")


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
    return fields


def _append_exception(line: str, record: logging.LogRecord) -> str:
    for text in (record.exc_text, record.stack_info):
        if text:
            line = f"{line}\n{printable(text, lines=True)}"
    return line


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return `2026-11-24 03:02:11 WARNING dead-lettered queue=readings …` (local time)."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        line = f"{stamp} {record.levelname} {_one_line(record.getMessage())}"
        if not getattr(record, "line", False):
            line = _with_fields(line, _fields(record))
        return _append_exception(line, record)


class JsonFormatter(logging.Formatter):
    def __init__(self, connector: str) -> None:
        super().__init__()
        self._connector = connector

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object on one line, with the fields of the event; the standard fields take precedence."""
        entry: dict[str, Any] = {key: value for key, value in _fields(record).items() if value is not None}
        entry |= {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "connector": self._connector,
            "event": _event_name(record),
            "message": _bounded(record.getMessage()),
            "logger": record.name,
        }
        if repeated := getattr(record, "repeated", None):
            entry["repeated"] = repeated
        if record.exc_text:
            entry["exception"] = record.exc_text
        first = ("time", "level", "connector", "event", "message")
        ordered = {key: entry.pop(key) for key in first} | entry
        # ensure_ascii keeps lone surrogates and line separators from breaking the line.
        return json.dumps(ordered, default=str)


# -- filters, in the order in which they run


class QuietPika(logging.Filter):
    """pika logs every failed attempt in six lines, with tracebacks; connectorlib.amqp logs the same fact in one.

    Records of pika stay visible at level debug, without bodies. A failed callback of this project is a bug and stays
    an error.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log it."""
        if record.name.partition(".")[0] != "pika":
            return True
        bug = record.name == "pika.callback" and record.exc_info
        message = _BYTES.sub("<bytes>", record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message}: {_where(record.exc_info[1])}"
        record.msg, record.args, record.exc_info, record.exc_text = "%s", (_bounded(message),), None, None
        record.event = "bug" if bug else "amqp-library"
        if not bug:
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return bool(bug) or logging.getLogger().isEnabledFor(logging.DEBUG)


class QuietThreads(QuietPika):
    """The same for the threads of this project only, as a filter of pika's own loggers: where the connector is called
    from Python, other threads may use pika too."""

    def __init__(self, prefix: str) -> None:
        """`prefix`: what the names of the threads begin with."""
        super().__init__()
        self._prefix = prefix

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log it."""
        return not str(record.threadName).startswith(self._prefix) or super().filter(record)


def quiet_pika(prefix: str) -> None:
    """Let pika log for debugging only in threads of this name. To be called once pika is imported."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] != "pika" or not isinstance(logger, logging.Logger):
            continue
        if not any(isinstance(each, QuietThreads) for each in logger.filters):
            logger.addFilter(QuietThreads(prefix))


def _where(error: BaseException) -> str:
    """Return an exception with the place it came from, instead of a traceback."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    spot = f" ({place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno})" if place else ""
    return f"{type(error).__name__}: {error}{spot}"


class Redact(logging.Filter):
    """Takes the secrets out of message, arguments, fields and traceback, before any handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record in place; always True."""
        record.msg, record.args = secrets.redact(_message(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = secrets.redact(record.exc_text) if record.exc_text else None
        record.stack_info = secrets.redact(record.stack_info) if record.stack_info else None
        if _fields(record):
            record.fields = {key: _clean(key, value) for key, value in _fields(record).items()}
        return True


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], _Event):
        return record.args[0].name  # its fields are written, or compared, one by one
    try:
        return record.getMessage()
    except Exception as error:  # any: a wrong format string must not interrupt the caller
        return f"{record.msg} (arguments do not fit: {type(error).__name__})"


def _clean(key: str, value: object) -> Any:
    return MARK if is_secret_name(key) else secrets.redact_value(value)


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
        counted = record.levelno >= logging.WARNING and _event_name(record) not in ALWAYS_LOGGED
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
    fields = tuple((key, str(value)) for key, value in _fields(record).items() if key not in VOLATILE)
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

"""What a record goes through before any handler: pika becomes quiet, and secrets are taken out."""

import logging
import re

from connectorlib.service.log_format import bounded, clean, fields_of, message_of
from connectorlib.service.redaction import secrets

_BYTES = re.compile(r"""\bb'(?:[^'\\]|\\.)*'|\bb"(?:[^"\\]|\\.)*\"""")


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
        record.msg, record.args, record.exc_info, record.exc_text = "%s", (bounded(message),), None, None
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
        record.msg, record.args = secrets.redact(message_of(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = secrets.redact(record.exc_text) if record.exc_text else None
        record.stack_info = secrets.redact(record.stack_info) if record.stack_info else None
        if fields_of(record):
            record.fields = {key: clean(key, value) for key, value in fields_of(record).items()}
        return True

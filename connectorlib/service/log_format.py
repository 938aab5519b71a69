"""One record of the log as a line: as text for people, or as JSON for machines."""

import json
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectorlib.service.redaction import MARK, is_secret_name, secrets
from connectorlib.values.text import printable

#: Characters of one field or message.
MAX_VALUE = 2000


class Event:
    """The message of an event. Formatters that are not ours, as where the connector is called from Python, show it with
    its fields and without secrets."""

    def __init__(self, name: str, fields: Mapping[str, object]) -> None:
        self.name = name
        self._fields = fields

    def __str__(self) -> str:
        return secrets.redact(_with_fields(self.name, {key: clean(key, each) for key, each in self._fields.items()}))


def quoted_value(value: object) -> str:
    return printable(json.dumps(str(value), ensure_ascii=False))


def field_value(value: object) -> str:
    """Return the value of a field, in quotes where its end would be unclear."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return field_value(",".join(str(each) for each in value))
    text = bounded(str(value))
    plain = text and text.isprintable() and not any(char in text for char in ' "=')
    return text if plain else quoted_value(text)


def bounded(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def _one_line(text: str) -> str:
    """Return the text on one line: what a message or a server sent must not be able to forge log lines."""
    return printable(bounded(text))


def _with_fields(line: str, fields: Mapping[str, object]) -> str:
    return " ".join([line, *(f"{key}={field_value(value)}" for key, value in fields.items() if value is not None)])


def event_name(record: logging.LogRecord) -> str:
    return str(getattr(record, "event", None) or "log").lower().replace(" ", "-")


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
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
            line = _with_fields(line, fields_of(record))
        return _append_exception(line, record)


class JsonFormatter(logging.Formatter):
    def __init__(self, connector: str) -> None:
        super().__init__()
        self._connector = connector

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object on one line, with the fields of the event; the standard fields take precedence."""
        entry: dict[str, Any] = {key: value for key, value in fields_of(record).items() if value is not None}
        entry |= {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "connector": self._connector,
            "event": event_name(record),
            "message": bounded(record.getMessage()),
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


def message_of(record: logging.LogRecord) -> str:
    if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], Event):
        return record.args[0].name  # its fields are written, or compared, one by one
    try:
        return record.getMessage()
    except Exception as error:  # any: a wrong format string must not interrupt the caller
        return f"{record.msg} (arguments do not fit: {type(error).__name__})"


def clean(key: str, value: object) -> Any:
    return MARK if is_secret_name(key) else secrets.redact_value(value)

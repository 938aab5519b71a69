"""Where in a body stands what a message is rejected for, as a line with its text. Pure, and never fails: a body that
cannot be read has no such place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

from connectorlib.config import json_source
from connectorlib.expressions.path import Path, parse_path_at
from connectorlib.preflight.explanation import Rejection, Spot

MAX_TEXT = 100
_ARROW = " <- "
#: How the JSON and XML parsers tell where they gave up.
_PARSER = re.compile(r"\bline (\d+),? column (\d+)")


@dataclass(frozen=True, slots=True)
class Place:
    line: int  # from 1
    text: str  # of that line, cut
    column: int = 0  # from 1; 0: unknown


def place_of(body: bytes, format: Mapping[str, Any], rejection: Rejection) -> Place | None:
    """Given a body, its format, and why it is rejected, return the place; None where there is none to be told."""
    text = _decoded(body, format)
    if text is None:
        return None
    if (said := _PARSER.search(rejection.failure.text)) and rejection.failure.code == "not-decodable":
        before = text[: len(text) - len(text.lstrip(" \t\r\n\ufeff"))].count("\n") if _kind(format) == "json" else 0
        return _place(text, int(said[1]) + before, int(said[2]))
    spot, path = rejection.spot, _path_in(rejection.failure.detail)
    if spot is None or (path is not None and path.source):  # it is about what travels beside the body
        return None
    steps = path.steps if path is not None else ()
    if path is None or path.source is None:
        steps = (*spot.steps, *steps)
    line = _LINES[_kind(format)](text, format, spot, steps)
    return _place(text, line) if line else None


def _kind(format: Mapping[str, Any]) -> str:
    return str(format.get("type", "json"))


def _decoded(body: bytes, format: Mapping[str, Any]) -> str | None:
    try:
        return body.decode(str(format.get("encoding", "utf-8")))
    except (UnicodeDecodeError, LookupError):
        return None


def _place(text: str, line: int, column: int = 0) -> Place | None:
    lines = text.replace("\r\n", "\n").split("\n")
    if not 0 < line <= len(lines):
        return None
    shown = lines[line - 1]
    start = max(0, min(column - MAX_TEXT // 2, len(shown) - MAX_TEXT)) if column else 0
    return Place(line, _printable(shown[start : start + MAX_TEXT]).rstrip(), column - start if column else 0)


def _printable(text: str) -> str:
    """Return a piece of a body fit for a terminal, which it must not command, with every character in its column."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "\ufffd" for char in text)


def _path_in(detail: str) -> Path | None:
    """Return the path that a failure's detail names: `write[0].values.device <- device.name: no such field`."""
    at = detail.rfind(_ARROW)
    if at < 0:
        return None
    try:
        return parse_path_at(detail, at + len(_ARROW), stops=":")[0]
    except ValueError:
        return None


def _json_line(text: str, format: Mapping[str, Any], spot: Spot, steps: tuple[str | int, ...]) -> int:
    read = json_source.read(text.removeprefix("\ufeff"))
    if not read.readable:
        return 0
    path = (spot.record, *steps) if isinstance(read.data, list) else steps
    while path and path not in read.lines:
        path = path[:-1]
    return read.lines.get(path, 1)


def _xml_line(text: str, format: Mapping[str, Any], spot: Spot, steps: tuple[str | int, ...]) -> int:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        element = etree.fromstring(text.removeprefix("\ufeff").encode(), parser)
    except (etree.XMLSyntaxError, ValueError):  # ValueError: its declaration names another encoding
        return 0
    record = format.get("record")
    if record is not None and _local(element) != record:
        records = [child for child in element if _local(child) == record]
        if spot.record < len(records):
            element = records[spot.record]
    waiting = list(steps)
    while waiting:
        name = waiting.pop(0)
        index = waiting.pop(0) if waiting and isinstance(waiting[0], int) else 0
        found = [child for child in element if _local(child) == name]
        if not isinstance(index, int) or not -len(found) <= index < len(found):
            break
        element = found[index]
    return int(element.sourceline or 0)


def _local(element: Any) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _delimited_line(text: str, format: Mapping[str, Any], spot: Spot, steps: tuple[str | int, ...]) -> int:
    if '"' in text or format.get("record_separator") not in (None, "\n", "\r\n"):
        return 0  # records may hold line ends, or do not end with them
    return spot.record + 1 + bool(format.get("header"))


_LINES = {"json": _json_line, "xml": _xml_line, "delimited": _delimited_line}

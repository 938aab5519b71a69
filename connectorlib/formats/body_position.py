"""Where an element stands in the text of a body: its line. Pure, and never fails: a body that cannot be read has no
positions."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connectorlib.config import json_source
from connectorlib.dataclass import dataclass

if TYPE_CHECKING:
    from lxml import etree

MAX_TEXT = 100
#: How the JSON and XML parsers report where they stopped.
_PARSER = re.compile(r"\bline (\d+),? column (\d+)")

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class RecordPath:
    """An element of a body: the record, counted from 0, and the steps into it."""

    record: int = 0
    steps: Steps = ()


@dataclass(frozen=True, slots=True)
class TextPosition:
    line: int  # from 1
    text: str  # of that line, shortened
    column: int = 0  # from 1; 0: unknown


def parser_position(body: bytes, format: Mapping[str, Any], message: str) -> TextPosition | None:
    """Return the position that a parser's error message names, None if it names none."""
    text, found = _decoded(body, format), _PARSER.search(message)
    if text is None or found is None:
        return None
    # Python's JSON parser gets the text without the blank lines at its beginning.
    before = (
        text[: len(text) - len(text.lstrip(" \t\r\n\ufeff"))].count("\n") if _kind(format) in ("json", "ndjson") else 0
    )
    return _position(text, int(found[1]) + before, int(found[2]))


def element_position(body: bytes, format: Mapping[str, Any], path: RecordPath) -> TextPosition | None:
    """Return the position of an element, or of the nearest one around it."""
    text = _decoded(body, format)
    line = 0 if text is None else _LINES[_kind(format)](text, format, path)
    return _position(text, line) if text is not None and line else None


def _kind(format: Mapping[str, Any]) -> str:
    return str(format.get("type", "json"))


def _decoded(body: bytes, format: Mapping[str, Any]) -> str | None:
    try:
        return body.decode(str(format.get("encoding", "utf-8")))
    except (UnicodeDecodeError, LookupError):
        return None


def _position(text: str, line: int, column: int = 0) -> TextPosition | None:
    lines = text.replace("\r\n", "\n").split("\n")
    if not 0 < line <= len(lines):
        return None
    whole = lines[line - 1]
    start = max(0, min(column - MAX_TEXT // 2, len(whole) - MAX_TEXT)) if column else 0
    shown = _one_column_each(whole[start : start + MAX_TEXT]).rstrip()
    return TextPosition(line, shown, column - start if column else 0)


def _one_column_each(text: str) -> str:
    """Return a text without control characters, in which every character keeps its column."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "\ufffd" for char in text)


def _json_line(text: str, format: Mapping[str, Any], path: RecordPath) -> int:
    read = json_source.read(text.removeprefix("\ufeff"))
    if not read.readable:
        return 0
    return json_source.line_of(read.lines, (path.record, *path.steps) if isinstance(read.data, list) else path.steps)


def _xml_line(text: str, format: Mapping[str, Any], path: RecordPath) -> int:
    from lxml import etree  # late: it takes time, and the other formats do without

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        element = etree.fromstring(text.removeprefix("\ufeff").encode(), parser)
    except (etree.XMLSyntaxError, ValueError):  # ValueError: its declaration names another encoding
        return 0
    record = format.get("record")
    if record is not None and _local_name(element) != record:
        records = [child for child in element if _local_name(child) == record]
        if path.record < len(records):
            element = records[path.record]
    return int(_descend(element, list(path.steps)).sourceline or 0)


def _descend(element: "etree._Element", steps: list[str | int]) -> "etree._Element":
    while steps:
        name = steps.pop(0)
        index = steps.pop(0) if steps and isinstance(steps[0], int) else 0
        found = [child for child in element if _local_name(child) == name]
        if not isinstance(index, int) or not -len(found) <= index < len(found):
            break
        element = found[index]
    return element


def _local_name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _delimited_line(text: str, format: Mapping[str, Any], path: RecordPath) -> int:
    if '"' in text or format.get("record_separator") not in (None, "\n", "\r\n"):
        return 0  # records may hold line ends, or do not end with them
    return path.record + 1 + bool(format.get("header"))


def _line_of_ndjson(text: str, format: Mapping[str, Any], path: RecordPath) -> int:
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return lines[path.record] if path.record < len(lines) else 0


def _no_line(text: str, format: Mapping[str, Any], path: RecordPath) -> int:
    return 0


_LINES = {
    "json": _json_line,
    "ndjson": _line_of_ndjson,
    "xml": _xml_line,
    "delimited": _delimited_line,
    "text": _no_line,
    "cbor": _no_line,
    "msgpack": _no_line,
}

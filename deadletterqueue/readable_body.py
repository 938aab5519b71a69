"""Bodies as readable text. They are hostile: no entity is resolved, nothing fetched, no control character kept."""

import json
import re

from lxml import etree

from connectorlib.values.text import printable

#: Characters of a body that are shown; for the rest, only the total length is.
MAX_BODY = 16 * 1024
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_OPENING, _CLOSING = "{[", "}]"


def readable(body: bytes, *, most: int = MAX_BODY, whole: str = "--json shows all") -> str:
    """Return a body as text: JSON and XML indented, a long one cut to `most` characters. `whole` says where to find
    all of it."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        shown = body[: most // 4]
        return f"(not UTF-8) {shown!r}" + ("…" if len(body) > len(shown) else "")
    if len(text) > most:
        return printable(text[:most], lines=True) + f"… ({len(text):,} characters; {whole})"
    return printable(indented(text), lines=True)


def indented(text: str) -> str:
    """Return JSON or XML on many lines, anything else as it is."""
    try:
        if text.lstrip().startswith("<"):
            parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=True)
            return etree.tostring(etree.fromstring(text.encode(), parser), pretty_print=True, encoding=str).rstrip()
        json.loads(text)
    except (ValueError, RecursionError, etree.XMLSyntaxError):
        return text
    return _indented_json(text)


def _indented_json(text: str) -> str:
    """Return valid JSON on many lines with unchanged tokens: a parser would turn 1.50 into 1.5."""
    depth, pieces, before = 0, [], ""
    for piece in _TOKEN.findall(text):
        depth -= piece in _CLOSING
        if before and (before in _OPENING + "," or piece in _CLOSING) and before + piece not in ("{}", "[]"):
            pieces.append("\n" + "  " * depth)
        pieces.append(": " if piece == ":" else piece)
        depth += piece in _OPENING
        before = piece
    return "".join(pieces)

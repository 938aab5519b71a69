"""Changes to a dead letter before it is sent back: `--set`, a JSON Patch, or a text in an editor. Pure.

What is not changed is preserved exactly: digits of numbers, layout of XML.
"""

import base64
import binascii
import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jsonpatch
from jsonpointer import JsonPointerException
from lxml import etree

from connectorlib.amqp.field_tables import Field, field, kept, received
from connectorlib.errors import Failed
from connectorlib.expressions import json_text, quote_name
from connectorlib.expressions.path import Path, parse_path
from connectorlib.formats import compile_format
from connectorlib.formats.registry import MOST_DEPTH
from connectorlib.messages import PROPERTY_NAMES, Delivery, Properties
from connectorlib.pipeline.dead_letter import PROPERTIES, copied_headers
from connectorlib.shared_settings import Limits
from connectorlib.values.text import printable
from deadletterqueue.jsonl import line_of, outgoing_of
from deadletterqueue.letter import Letter
from deadletterqueue.readable_body import indented
from deadletterqueue.terminal import local

#: Given a letter, returns it changed. Raises ValueError if that is impossible.
Edit = Callable[[Letter], Letter]

_JSON = compile_format({"type": "json"}, Limits(body_bytes=1 << 30, records=1 << 30, depth=MOST_DEPTH))
#: Properties that are whole numbers, with the largest that AMQP can carry.
_NUMBERS = {"timestamp": (1 << 63) - 1, "priority": 255}
#: Properties that `--set '$message_id=…'` can change.
_TEXTS = tuple(name for name in PROPERTIES if name not in _NUMBERS)
#: Bytes of such a property.
_LONGEST_TEXT = 255
#: What may precede the root element.
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t\r\n]|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_BODY, _BODY_BASE64 = "--- body ---", "--- body, base64 ---"


def with_body(letter: Letter, body: bytes) -> Letter:
    """Return the letter with another body."""
    delivery = copy.copy(letter.delivery)
    delivery.body = body
    return replace(letter, delivery=delivery)


def is_changed(letter: Letter, other: Letter) -> bool:
    """Return whether two letters would be sent back as different messages."""
    return _told(letter) != _told(other)


def is_xml(delivery: Delivery) -> bool:
    """Return whether a body is XML rather than JSON: by its content type, else by how it begins."""
    kind = (delivery.properties.content_type or "").partition(";")[0].strip().lower()
    return kind.endswith("xml") or (not kind.endswith("json") and delivery.body.lstrip()[:1] == b"<")


def _told(letter: Letter) -> tuple[bytes, str]:
    return letter.delivery.body, json_text(_document(letter.delivery))


# -- --set


def compile_set(assignment: str) -> Edit:
    """Given `PATH=VALUE`, return an edit that sets it in a body (JSON or XML) or, from `$` on, in a property or header.

    A text stays a text; any other value is replaced by JSON if the new one can be read as such.
    Raise ValueError if the assignment is not valid.
    """
    path, value = _assignment(assignment)
    if path.source:
        return _compile_outer(path, value)
    if not path.steps:
        raise ValueError(f"{assignment!r}: a path such as device.id must precede the =")

    def edit(letter: Letter) -> Letter:
        change = _set_in_xml if is_xml(letter.delivery) else _set_in_json
        return with_body(letter, change(letter.delivery.body, path.steps, value))

    return edit


def _assignment(text: str) -> tuple[Path, str]:
    """Split at the first `=` that has a path before it: a quoted name may hold one itself."""
    problem = ValueError(f"{text!r} has to be PATH=VALUE, such as device.id=p-7")
    at = text.find("=")
    while at >= 0:
        try:
            return parse_path(text[:at].strip()), text[at + 1 :]
        except ValueError as error:
            problem = ValueError(f"{text!r}: {error}")
        at = text.find("=", at + 1)
    raise problem


def _compile_outer(path: Path, value: str) -> Edit:
    """Return the edit of a property or header."""
    header = path.source == "headers" and len(path.steps) == 1 and isinstance(path.steps[0], str)
    if not header and (path.source not in _TEXTS or path.steps):
        raise ValueError(f"{path.text!r} cannot be set; known are $headers.NAME, {', '.join(f'${n}' for n in _TEXTS)}")

    def edit(letter: Letter) -> Letter:
        properties = _properties(letter.delivery)
        if header:
            name = str(path.steps[0])
            headers = kept(letter.delivery.headers)
            properties["headers"] = {**headers, name: _header(value, headers.get(name))}
        else:
            properties[str(path.source)] = value
        return _with_properties(letter, properties)

    return edit


def _header(text: str, old: Any) -> Any:
    """Return the value of a header; a number keeps the type of the one before, if that has room for it."""
    value = _value(text, old)
    try:
        return field(old.kind, value) if isinstance(old, Field) else value
    except (KeyError, ValueError):
        return value


def _value(text: str, old: Any) -> Any:
    if isinstance(old, str):
        return text
    try:
        return _parsed(text.encode())
    except ValueError:
        return text


def _parsed(body: bytes) -> Any:
    """Return what a JSON body holds. Raise ValueError."""
    try:
        records = _JSON.decode(body)
    except Failed as failed:
        raise ValueError(failed.failure.text) from failed
    return records if body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[" else records[0]


def _written(value: Any) -> bytes:
    return json_text(value).encode()


def _set_in_json(body: bytes, steps: Sequence[str | int], value: str) -> bytes:
    root = _readable_json(body)
    holder = root
    for depth, step in enumerate(steps[:-1]):
        holder = _child(holder, step, steps[: depth + 1])
    last = steps[-1]
    if isinstance(last, str) and isinstance(holder, dict):
        holder[last] = _value(value, holder.get(last))
    else:
        holder[_index(holder, last, steps)] = _value(value, _child(holder, last, steps))
    return _written(root)


def _readable_json(body: bytes) -> Any:
    try:
        return _parsed(body)
    except ValueError as error:
        raise ValueError(f"the body is neither JSON nor XML, and only these can be changed so: {error}") from error


def _child(holder: Any, step: str | int, steps: Sequence[str | int]) -> Any:
    if isinstance(step, str) and isinstance(holder, dict) and step in holder:
        return holder[step]
    if isinstance(step, int):
        return holder[_index(holder, step, steps)]
    raise ValueError(f"there is no {_path_text(steps)} in the body")


def _index(holder: Any, step: str | int, steps: Sequence[str | int]) -> int:
    if isinstance(step, int) and isinstance(holder, list) and -len(holder) <= step < len(holder):
        return step
    raise ValueError(f"there is no {_path_text(steps)} in the body")


def _path_text(steps: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{quote_name(step)}" for step in steps).removeprefix(".")


# -- --set in XML


def _set_in_xml(body: bytes, steps: Sequence[str | int], value: str) -> bytes:
    """Return the body with a value set. Names lead from the root element to children, without prefixes, as in the
    mapping; `@name` at the end is an attribute, `#text` the text of the element."""
    root = _read_xml(body)
    element, names = root, list(steps)
    attribute = str(names.pop())[1:] if str(names[-1]).startswith("@") else ""
    if names and names[-1] == "#text":
        names.pop()
    while names:
        element = _element(element, str(names.pop(0)), names, steps)
    try:
        if attribute:
            found = [name for name in element.attrib if etree.QName(name).localname == attribute]
            element.set(found[0] if found else attribute, value)
        elif len(element):
            raise ValueError(f"{_path_text(steps)} holds further elements")
        else:
            element.text = value
    except ValueError as error:
        raise ValueError(f"{_path_text(steps)} cannot be set: {error}") from error
    return _xml_written(root, body)


def _read_xml(body: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, strip_cdata=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise ValueError(f"the body is not readable as XML: {error}") from error
    if root.getroottree().docinfo.doctype:
        raise ValueError("the body has a DOCTYPE, which is not accepted")
    return root


def _element(parent: etree._Element, name: str, rest: list[str | int], steps: Sequence[str | int]) -> etree._Element:
    """Return the child of that name; of several the one whose index comes next in `rest`, which is removed."""
    found = [each for each in parent if isinstance(each.tag, str) and etree.QName(each).localname == name]
    index = rest.pop(0) if rest and isinstance(rest[0], int) else None
    if index is None and len(found) > 1:
        raise ValueError(f"there are {len(found)} of {_path_text(steps)}: [0], [1], … says which")
    at = int(index or 0)
    if not -len(found) <= at < len(found):
        raise ValueError(f"there is no {_path_text(steps)} in the body")
    return found[at]


def _xml_written(root: etree._Element, body: bytes) -> bytes:
    """Return the document in the original encoding, with what precedes the root element unchanged."""
    tree = root.getroottree()
    encoding = tree.docinfo.encoding or "UTF-8"
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16, whose declaration is no ASCII
        return etree.tostring(tree, encoding=encoding, xml_declaration=True)
    before = _PROLOG.match(body)
    pieces = [before[0] if before else b""]
    for node in (root, *root.itersiblings()):
        pieces.append(etree.tostring(node, encoding=encoding, xml_declaration=False, with_tail=False))
    return b"".join(pieces) + (b"\n" if body.endswith(b"\n") else b"")


# -- JSON Patch (RFC 6902)


def compile_patch(text: str) -> Edit:
    """Given a JSON Patch, return an edit that applies it to a JSON body. Raise ValueError if it is not valid."""
    try:
        operations = _parsed(text.encode())
    except ValueError as error:
        raise ValueError(f"no JSON Patch: {error}") from error
    if not isinstance(operations, list):
        raise ValueError("a JSON Patch is a list of operations")
    try:
        patch = jsonpatch.JsonPatch(operations)
    except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, AttributeError) as error:
        raise ValueError(f"no JSON Patch: {error}") from error

    def edit(letter: Letter) -> Letter:
        root = _readable_json(letter.delivery.body)
        try:
            return with_body(letter, _written(patch.apply(root)))
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError) as error:
            raise ValueError(f"the patch does not apply: {error}") from error

    return edit


def chained(edits: Sequence[Edit]) -> Edit:
    """Return an edit that applies several edits in turn."""

    def edit(letter: Letter) -> Letter:
        for each in edits:
            letter = each(letter)
        return letter

    return edit


# -- as a text


def text_of(letter: Letter) -> str:
    """Return a letter as text for an editor: the reason as comments, properties and headers as JSON, the body."""
    why = [f"{letter.reason} {letter.code} {letter.text}", letter.detail]
    comments = [f"died in {letter.queue or '?'} {local(letter.time)}", *(line for line in why if line.strip())]
    comments += ["", "Edit the text below, save and close to send it. An unchanged message stays where it is."]
    lines = [*(f"# {printable(line)}".rstrip() for line in comments), document_of(letter)]
    return "\n".join(lines) + "\n" + _shown_body(letter.delivery.body)


def _shown_body(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"{_BODY_BASE64}\n{base64.encodebytes(body).decode()}"
    if "\r" in text:  # an editor might change these
        return f"{_BODY}\n{text}"
    return f"{_BODY}\n{indented(text) if text[:1] in ('{', '[') else text}"


def compile_text(text: str, original: Letter) -> Letter:
    """Return the letter that an edited text describes. Raise ValueError if it is not valid."""
    if text.strip() in ("", text_of(original).strip()):
        return original
    lines = text.splitlines(keepends=True)
    at = next((at for at, line in enumerate(lines) if line.strip() in (_BODY, _BODY_BASE64)), None)
    if at is None:
        raise ValueError(f"the line {_BODY!r} is missing")
    head = "".join(line for line in lines[:at] if not line.startswith("#"))
    body = _body_of("".join(lines[at + 1 :]), lines[at].strip(), original)
    return with_body(with_document(original, head), body)


def document_of(letter: Letter) -> str:
    """Return properties and headers as JSON, those of dead-lettering left out."""
    return json.dumps(_document(letter.delivery), indent=2, ensure_ascii=False)


def with_document(letter: Letter, text: str) -> Letter:
    """Return the letter with the properties and headers of an edited `document_of`; those that are left out of it stay
    as they are. Raise ValueError if it is not valid."""
    if text.strip() == document_of(letter):
        return letter
    own = _own(letter.delivery)
    others = {name: value for name, value in kept(letter.delivery.headers).items() if name not in own}
    try:
        document = json.loads(text)
        if not isinstance(document, Mapping):
            raise ValueError("expected an object with properties and headers")
        properties = outgoing_of({**document, "body": ""}, "").properties
        for name, value in properties.items():
            if name != "headers" and value is not None:
                _check_property(name, value)
        return _with_properties(letter, {**properties, "headers": others | properties["headers"]})
    except (ValueError, RecursionError) as error:
        raise ValueError(f"properties and headers: {error}") from error


def _check_property(name: str, value: Any) -> None:
    """Raise ValueError if AMQP cannot carry this."""
    if (largest := _NUMBERS.get(name)) is not None:
        if type(value) is not int or not 0 <= value <= largest:
            raise ValueError(f"{name} has to be a whole number from 0 to {largest}")
    elif not isinstance(value, str) or len(value.encode()) > _LONGEST_TEXT:
        raise ValueError(f"{name} has to be a text of at most {_LONGEST_TEXT} bytes")


def _body_of(text: str, mark: str, original: Letter) -> bytes:
    if mark == _BODY_BASE64:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"the body is not base64: {error}") from error
    before = _shown_body(original.delivery.body).partition("\n")[2]
    if text in (before, before + "\n"):
        return original.delivery.body
    # Editors end the last line, also of a body that does not.
    if not original.delivery.body.endswith(b"\n"):
        text = text.removesuffix("\n")
    return text.encode()


def _own(delivery: Delivery) -> dict[str, Any]:
    return dict(copied_headers(delivery.headers))


def _document(delivery: Delivery) -> dict[str, Any]:
    """Return properties and headers as `export` writes them, without those of dead-lettering."""
    line = line_of(delivery)
    own = _own(delivery)
    properties = {name: value for name, value in line["properties"].items() if name in PROPERTIES}
    return {"properties": properties, "headers": {name: v for name, v in line["headers"].items() if name in own}}


def _properties(delivery: Delivery) -> dict[str, Any]:
    return {name: getattr(delivery.properties, name) for name in PROPERTY_NAMES}


def _with_properties(letter: Letter, properties: Mapping[str, Any]) -> Letter:
    delivery = copy.copy(letter.delivery)
    delivery.properties = Properties(**{**properties, "headers": received(properties["headers"] or {})})
    return replace(letter, delivery=delivery)

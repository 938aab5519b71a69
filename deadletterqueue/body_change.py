"""One value in a body, JSON or XML: set at a path, or removed. Pure.

What is not changed is preserved exactly: digits of numbers, layout of XML.
"""

import re
from collections.abc import Sequence
from typing import Any

from lxml import etree

from connectorlib.errors import Failed
from connectorlib.expressions import json_text
from connectorlib.expressions.path import join_steps
from connectorlib.formats import compile_format
from connectorlib.formats.registry import MOST_DEPTH
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits

Steps = Sequence[str | int]

_JSON = compile_format({"type": "json"}, Limits(body_bytes=1 << 30, records=1 << 30, depth=MOST_DEPTH))
#: What may precede the root element.
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t\r\n]|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)


def with_value(delivery: Delivery, steps: Steps, value: str) -> bytes:
    """Return the body with the value at a path set. Raise ValueError if that is impossible."""
    change = _set_in_xml if is_xml(delivery) else _set_in_json
    return change(delivery.body, steps, value)


def without_value(delivery: Delivery, steps: Steps) -> bytes:
    """Return the body without the value at a path. Raise ValueError if there is none."""
    change = _unset_in_xml if is_xml(delivery) else _unset_in_json
    return change(delivery.body, steps)


def is_xml(delivery: Delivery) -> bool:
    """Return whether a body is XML rather than JSON: by its content type, else by how it begins."""
    kind = (delivery.properties.content_type or "").partition(";")[0].strip().lower()
    return kind.endswith("xml") or (not kind.endswith("json") and delivery.body.lstrip()[:1] == b"<")


def _nothing_at(steps: Steps) -> ValueError:
    return ValueError(f"there is no {join_steps(tuple(steps))} in the body")


# -- JSON


def parsed(body: bytes) -> Any:
    """Return what a JSON body holds. Raise ValueError."""
    try:
        records = _JSON.decode(body)
    except Failed as failed:
        raise ValueError(failed.failure.text) from failed
    return records if body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[" else records[0]


def readable_json(body: bytes) -> Any:
    """Return what the body of a letter holds. Raise ValueError that says which bodies can be changed."""
    try:
        return parsed(body)
    except ValueError as error:
        raise ValueError(f"the body is neither JSON nor XML, and only these can be changed so: {error}") from error


def written(value: Any) -> bytes:
    return json_text(value).encode()


def value_of(text: str, old: Any) -> Any:
    """Return what a text sets: a text instead of a text, otherwise JSON if it can be read as such."""
    if isinstance(old, str):
        return text
    try:
        return parsed(text.encode())
    except ValueError:
        return text


def _set_in_json(body: bytes, steps: Steps, value: str) -> bytes:
    root = readable_json(body)
    holder, last = _holder(root, steps), steps[-1]
    if isinstance(last, str) and isinstance(holder, dict):
        holder[last] = value_of(value, holder.get(last))
    else:
        holder[_index(holder, last, steps)] = value_of(value, _child(holder, last, steps))
    return written(root)


def _unset_in_json(body: bytes, steps: Steps) -> bytes:
    root = readable_json(body)
    holder, last = _holder(root, steps), steps[-1]
    _child(holder, last, steps)
    del holder[last]
    return written(root)


def _holder(root: Any, steps: Steps) -> Any:
    """Return what holds the last step."""
    holder = root
    for depth, step in enumerate(steps[:-1]):
        holder = _child(holder, step, steps[: depth + 1])
    return holder


def _child(holder: Any, step: str | int, steps: Steps) -> Any:
    if isinstance(step, str) and isinstance(holder, dict) and step in holder:
        return holder[step]
    return holder[_index(holder, step, steps)]


def _index(holder: Any, step: str | int, steps: Steps) -> int:
    if isinstance(step, int) and isinstance(holder, list) and -len(holder) <= step < len(holder):
        return step
    raise _nothing_at(steps)


# -- XML: names lead from the root element to children, without prefixes, as in the mapping; `@name` at the end is an
# attribute, `#text` the text of the element


def _set_in_xml(body: bytes, steps: Steps, value: str) -> bytes:
    root = _read_xml(body)
    element, attribute, _ = _place(root, steps)
    try:
        if attribute:
            element.set(_attribute(element, attribute) or attribute, value)
        else:
            _refuse_elements(element, steps)
            element.text = value
    except ValueError as error:
        raise ValueError(f"{join_steps(tuple(steps))} cannot be set: {error}") from error
    return _xml_written(root, body)


def _unset_in_xml(body: bytes, steps: Steps) -> bytes:
    root = _read_xml(body)
    element, attribute, is_text = _place(root, steps)
    if attribute:
        name = _attribute(element, attribute)
        if name is None:
            raise _nothing_at(steps)
        del element.attrib[name]
    elif is_text:
        if not element.text:
            raise _nothing_at(steps)
        _refuse_elements(element, steps)
        element.text = None
    else:
        _remove(element)
    return _xml_written(root, body)


def _place(root: etree._Element, steps: Steps) -> tuple[etree._Element, str, bool]:
    """Return the element that steps lead to, the name of an attribute of it or "", and whether its text is meant."""
    element, names = root, list(steps)
    attribute = str(names.pop())[1:] if str(names[-1]).startswith("@") else ""
    is_text = bool(names) and names[-1] == "#text"
    if is_text:
        names.pop()
    while names:
        element = _element(element, str(names.pop(0)), names, steps)
    return element, attribute, is_text


def _attribute(element: etree._Element, name: str) -> str | None:
    """Return the full name of the attribute with this local name."""
    return next((str(each) for each in element.attrib if etree.QName(each).localname == name), None)


def _refuse_elements(element: etree._Element, steps: Steps) -> None:
    if len(element):
        raise ValueError(f"{join_steps(tuple(steps))} holds further elements")


def _remove(element: etree._Element) -> None:
    """Remove an element with the white space before it. What follows it stays."""
    parent, before, tail = element.getparent(), element.getprevious(), element.tail or ""
    assert parent is not None  # a path has at least one name
    text = (parent.text if before is None else before.tail) or ""
    rest = text + tail if text.strip() or tail.strip() else tail
    parent.remove(element)
    if before is None:
        parent.text = rest or None
    else:
        before.tail = rest or None


def _read_xml(body: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, strip_cdata=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise ValueError(f"the body is not readable as XML: {error}") from error
    if root.getroottree().docinfo.doctype:
        raise ValueError("the body has a DOCTYPE, which is not accepted")
    return root


def _element(parent: etree._Element, name: str, rest: list[str | int], steps: Steps) -> etree._Element:
    """Return the child of that name; of several the one whose index comes next in `rest`, which is removed."""
    found = [each for each in parent if isinstance(each.tag, str) and etree.QName(each).localname == name]
    index = rest.pop(0) if rest and isinstance(rest[0], int) else None
    if index is None and len(found) > 1:
        raise ValueError(f"there are {len(found)} of {join_steps(tuple(steps))}: [0], [1], … says which")
    at = int(index or 0)
    if not -len(found) <= at < len(found):
        raise _nothing_at(steps)
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

"""Changes to a dead letter before it is sent back: `--set`, `--unset`, a JSON Patch, or a text in an editor. Pure.

What is not changed is preserved exactly: digits of numbers, layout of XML.
"""

import base64
import binascii
import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jsonpatch
from jsonpointer import JsonPointerException

from connectorlib.amqp.field_tables import Field, field, kept, received
from connectorlib.expressions import json_text
from connectorlib.expressions.path import Path, parse_path
from connectorlib.messages import PROPERTY_NAMES, Delivery, Properties
from connectorlib.pipeline.dead_letter import PROPERTIES, copied_headers
from connectorlib.values.text import printable
from deadletterqueue.body_change import parsed, readable_json, value_of, with_value, without_value, written
from deadletterqueue.jsonl import line_of, outgoing_of
from deadletterqueue.letter import Letter
from deadletterqueue.readable_body import indented
from deadletterqueue.terminal import local

#: Given a letter, returns it changed. Raises ValueError if that is impossible.
Edit = Callable[[Letter], Letter]

#: Properties that are whole numbers, with the largest that AMQP can carry.
_NUMBERS = {"timestamp": (1 << 63) - 1, "priority": 255}
#: Properties that `--set '$message_id=…'` can change.
_TEXTS = tuple(name for name in PROPERTIES if name not in _NUMBERS)
#: Bytes of such a property.
_LONGEST_TEXT = 255
_BODY, _BODY_BASE64 = "--- body ---", "--- body, base64 ---"


def with_body(letter: Letter, body: bytes) -> Letter:
    """Return the letter with another body."""
    delivery = copy.copy(letter.delivery)
    delivery.body = body
    return replace(letter, delivery=delivery)


def is_changed(letter: Letter, other: Letter) -> bool:
    """Return whether two letters would be sent back as different messages."""
    return _told(letter) != _told(other)


def _told(letter: Letter) -> tuple[bytes, str]:
    return letter.delivery.body, json_text(_document(letter.delivery))


# -- --set and --unset


def compile_changes(patch: str | None, sets: Iterable[str], unsets: Iterable[str]) -> Edit:
    """Return an edit that applies a JSON Patch, then sets values, then removes some. A letter to which one of these
    does not apply is not changed at all: ValueError. Raise ValueError for what makes no sense."""
    edits = [] if patch is None else [compile_patch(patch)]
    return chained([*edits, *map(compile_set, sets), *map(compile_unset, unsets)])


def compile_set(assignment: str) -> Edit:
    """Given `PATH=VALUE`, return an edit that sets it in a body (JSON or XML) or, from `$` on, in a property or header.

    A text stays a text; any other value is replaced by JSON if the new one can be read as such.
    Raise ValueError if the assignment is not valid.
    """
    path, value = _assignment(assignment)
    if path.source == "headers":
        name = _header_name(path)
        return lambda letter: _with_header(letter, name, value)
    if path.source:
        own = _property_name(path, _TEXTS, "set")
        return lambda letter: _with_properties(letter, {**_properties(letter.delivery), own: value})
    if not path.steps:
        raise ValueError(f"{assignment!r}: a path such as device.id must precede the =")
    return lambda letter: with_body(letter, with_value(letter.delivery, path.steps, value))


def compile_unset(text: str) -> Edit:
    """Given a path, return an edit that removes what is there: in a body (JSON or XML) or, from `$` on, a property or
    header. Raise ValueError if the path is not valid; the edit raises it for a letter that has nothing there."""
    try:
        path = parse_path(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} has to be a path such as device.unit or $headers.NAME: {error}") from error
    if path.source == "headers":
        name = _header_name(path)
        return lambda letter: _without_header(letter, name)
    if path.source:
        own = _property_name(path, PROPERTIES, "removed")
        return lambda letter: _without_property(letter, own)
    if not path.steps:
        raise ValueError(f"{text!r}: the whole body cannot be removed")
    return lambda letter: with_body(letter, without_value(letter.delivery, path.steps))


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


def _property_name(path: Path, known: Sequence[str], done: str) -> str:
    """Return the property that a path names. Raise ValueError if it is not one of these, to which it can be `done`."""
    if path.source is None or path.source not in known or path.steps:
        names = ", ".join(f"${name}" for name in known)
        raise ValueError(f"{path.text!r} cannot be {done}; known are $headers.NAME, {names}")
    return path.source


def _header_name(path: Path) -> str:
    """Return the header that a path names. Raise ValueError if it names none, or one that is not sent back."""
    name = path.steps[0] if len(path.steps) == 1 else None
    if not isinstance(name, str):
        raise ValueError(f"{path.text!r} has to name one header, as $headers.NAME does")
    if not dict(copied_headers({name: ""})):
        raise ValueError(f"{path.text!r} cannot be changed: it is about dead-lettering or routing, and not sent back")
    return name


def _with_header(letter: Letter, name: str, value: str) -> Letter:
    headers = kept(letter.delivery.headers)
    return _with_headers(letter, {**headers, name: _header(value, headers.get(name))})


def _without_header(letter: Letter, name: str) -> Letter:
    headers = dict(kept(letter.delivery.headers))
    if name not in headers:
        raise ValueError(f"there is no header {name!r}")
    del headers[name]
    return _with_headers(letter, headers)


def _without_property(letter: Letter, name: str) -> Letter:
    properties = _properties(letter.delivery)
    if properties[name] is None:
        raise ValueError(f"there is no property {name!r}")
    return _with_properties(letter, {**properties, name: None})


def _header(text: str, old: Any) -> Any:
    """Return the value of a header; a number keeps the type of the one before, if that has room for it."""
    value = value_of(text, old)
    try:
        return field(old.kind, value) if isinstance(old, Field) else value
    except (KeyError, ValueError):
        return value


# -- JSON Patch (RFC 6902)


def compile_patch(text: str) -> Edit:
    """Given a JSON Patch, return an edit that applies it to a JSON body. Raise ValueError if it is not valid."""
    try:
        operations = parsed(text.encode())
    except ValueError as error:
        raise ValueError(f"no JSON Patch: {error}") from error
    if not isinstance(operations, list):
        raise ValueError("a JSON Patch is a list of operations")
    try:
        patch = jsonpatch.JsonPatch(operations)
    except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, AttributeError) as error:
        raise ValueError(f"no JSON Patch: {error}") from error

    def edit(letter: Letter) -> Letter:
        root = readable_json(letter.delivery.body)
        try:
            return with_body(letter, written(patch.apply(root)))
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


def _with_headers(letter: Letter, headers: Mapping[str, Any]) -> Letter:
    return _with_properties(letter, {**_properties(letter.delivery), "headers": headers})


def _with_properties(letter: Letter, properties: Mapping[str, Any]) -> Letter:
    delivery = copy.copy(letter.delivery)
    delivery.properties = Properties(**{**properties, "headers": received(properties["headers"] or {})})
    return replace(letter, delivery=delivery)

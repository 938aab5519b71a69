"""A tests file, `db.config.tests.json` next to `db.config`: every mistake in it at once, then its tests."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectorlib.config.document import Document, open_document
from connectorlib.config.json_source import Path as JsonPath
from connectorlib.config.schema import read_schema
from connectorlib.dataclass import dataclass
from connectorlib.errors import Problem
from connectorlib.messages import PROPERTY_NAMES
from connectorlib.preflight.message_options import Envelope
from connectorlib.values.text import json_text

_INPUTS = ("message", "row")
_BODIES = ("body", "file", "base64")
#: What is compared only where a test names it.
OPTIONAL = frozenset({"division", "key", "on_sent", "on_failed"})
_NOT_OUTCOMES = frozenset({"name", "message", "row", "now", "lookups"}) | OPTIONAL
#: The outcomes of a message, and those of a row: any test may be `rejected`.
_OF_ROWS = frozenset({"published", "on_sent", "on_failed"})


@dataclass(frozen=True, slots=True)
class ConfigTest:
    """One message, or one row or several, and what it has to become."""

    name: str
    #: None: it is a message.
    row: Mapping[str, Any] | list[Mapping[str, Any]] | None
    body: bytes
    envelope: Envelope
    now: datetime | None
    lookups: Mapping[str, Any]
    #: `rows`, `key`, `division`, `case`, `cases`, `published`, `ignored` or `rejected` and so on, as they are given.
    expected: Mapping[str, Any]


def schema(package: str) -> dict[str, Any]:
    """Return the schema of a tests file: what both connectors share, and the outcomes that this one knows."""
    whole, own = read_schema("connectorlib", "tests.schema.json"), read_schema(package, "tests.schema.json")
    whole["title"] = own["title"]
    whole["$defs"] |= own["$defs"]
    whole["$defs"]["test"]["properties"] |= own["properties"]
    return whole


def path_for(config: str) -> str:
    """Return the file of a configuration's tests: `db.config.tests.json`, `config.tests.json` for `config.json`."""
    path = Path(config)
    return str(path.with_name(f"{path.name.removesuffix('.json')}.tests.json"))


def load(file: str, package: str) -> list[ConfigTest]:
    """Return the tests of a file. Raise ConfigurationError with everything that is wrong in it."""
    own = schema(package)
    outcomes = [name for name in own["$defs"]["test"]["properties"] if name not in _NOT_OUTCOMES]
    inputs = [name for name in _INPUTS if name in own["$defs"]["test"]["properties"]]
    document = open_document(file, own, resolve_secrets=False)
    problems: list[Problem] = []
    found = []
    tests = document.data.get("tests")
    for index, test in enumerate(tests if isinstance(tests, list) else ()):
        path: JsonPath = ("tests", index)
        if isinstance(test, dict) and any(isinstance(test.get(name), dict | list) for name in _INPUTS):
            found.append(_Reader(document, path, problems).read(test, outcomes))
        elif isinstance(test, dict) and not any((*path, name) in document.refused for name in _INPUTS):
            problems.append(document.problem(path, f"expected a {' or a '.join(inputs)}"))
    document.fail(problems)
    return found


class _Reader:
    """Reads one test of the document, and adds its mistakes to `problems`."""

    def __init__(self, document: Document, path: JsonPath, problems: list[Problem]) -> None:
        self._document = document
        self._path = path
        self._problems = problems

    def read(self, test: Mapping[str, Any], outcomes: list[str]) -> ConfigTest:
        self._check_input(test, outcomes)
        fits = [name for name in outcomes if name == "rejected" or (name in _OF_ROWS) is ("row" in test)]
        given = [name for name in fits if name in test]
        if len(given) != 1 and not any((*self._path, name) in self._document.refused for name in outcomes):
            words = f"{', '.join(fits[:-1])} or {fits[-1]}"
            self._wrong((), f"expected exactly one of {words}, which says what has to come out")
        message = test.get("message")
        return ConfigTest(
            name=str(test.get("name", "")),
            row=test.get("row"),
            body=b"" if message is None else self._body(message),
            envelope=self._envelope(message or {}),
            now=self._moment(("now",), test["now"]) if "now" in test else None,
            lookups=test.get("lookups", {}),
            expected={name: value for name, value in test.items() if name in (*outcomes, *OPTIONAL)},
        )

    def _check_input(self, test: Mapping[str, Any], outcomes: Sequence[str]) -> None:
        if all(name in test for name in _INPUTS):
            self._wrong(("row",), "a test has a message or a row, not both")
            return
        for name in (*outcomes, *OPTIONAL):
            if name in test and name != "rejected" and (name in _OF_ROWS) is not ("row" in test):
                self._wrong((name,), f"is what a {'row' if name in _OF_ROWS else 'message'} becomes")

    def _wrong(self, path: JsonPath, text: str) -> None:
        self._problems.append(self._document.problem((*self._path, *path), text))

    def _envelope(self, message: Mapping[str, Any]) -> Envelope:
        properties = {name: value for name, value in message.items() if name in PROPERTY_NAMES}
        if "timestamp" in properties:
            properties["timestamp"] = self._seconds(properties["timestamp"])
        return Envelope(message.get("exchange"), message.get("routing_key"), message.get("queue"), properties)

    def _body(self, message: Mapping[str, Any]) -> bytes:
        given = [name for name in _BODIES if name in message]
        if len(given) != 1:
            self._wrong(("message",), "expected exactly one of body, file and base64")
            return b""
        name, value = given[0], message[given[0]]
        if name == "body":
            return (value if isinstance(value, str) else json_text(value)).encode()
        read: Callable[[str], bytes] = self._file if name == "file" else _decoded
        try:
            return read(str(value))
        except ValueError as error:
            self._wrong(("message", name), str(error))
            return b""

    def _file(self, name: str) -> bytes:
        path = self._document.folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from error

    def _seconds(self, value: Any) -> int:
        if isinstance(value, str):
            moment = self._moment(("message", "timestamp"), value)
            return int(moment.timestamp()) if moment else 0
        return int(value)

    def _moment(self, path: JsonPath, text: Any) -> datetime | None:
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            self._wrong(path, "expected a time such as 2026-11-24T03:02:11Z")
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"is not base64: {error}") from error

"""A tests file, `db.config.tests.json` next to `db.config`: every mistake in it at once, then its tests."""

import base64
import binascii
from collections.abc import Callable, Mapping
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

_BODIES = ("body", "file", "base64")
_NOT_OUTCOMES = frozenset({"name", "message", "now", "lookups", "division", "key"})


@dataclass(frozen=True, slots=True)
class ConfigTest:
    """One message, and what it has to become."""

    name: str
    body: bytes
    envelope: Envelope
    now: datetime | None
    lookups: Mapping[str, Any]
    #: `rows`, `key`, `division`, `case`, `cases`, `ignored` or `rejected`, whichever are given.
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
    document = open_document(file, own, resolve_secrets=False)
    problems: list[Problem] = []
    found = []
    tests = document.data.get("tests")
    for index, test in enumerate(tests if isinstance(tests, list) else ()):
        if isinstance(test, dict) and isinstance(test.get("message"), dict):
            found.append(_Reader(document, ("tests", index), problems).read(test, outcomes))
    document.fail(problems)
    return found


class _Reader:
    """Reads one test of the document, and adds its mistakes to `problems`."""

    def __init__(self, document: Document, path: JsonPath, problems: list[Problem]) -> None:
        self._document = document
        self._path = path
        self._problems = problems

    def read(self, test: Mapping[str, Any], outcomes: list[str]) -> ConfigTest:
        given = [name for name in outcomes if name in test]
        if len(given) != 1 and not any((*self._path, name) in self._document.refused for name in outcomes):
            words = f"{', '.join(outcomes[:-1])} or {outcomes[-1]}" if len(outcomes) > 1 else outcomes[0]
            self._wrong((), f"expected exactly one of {words}, which says what has to come out")
        return ConfigTest(
            name=str(test.get("name", "")),
            body=self._body(test["message"]),
            envelope=self._envelope(test["message"]),
            now=self._moment(("now",), test["now"]) if "now" in test else None,
            lookups=test.get("lookups", {}),
            expected={name: value for name, value in test.items() if name in (*outcomes, "key", "division")},
        )

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

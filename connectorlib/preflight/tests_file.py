"""A tests file, `db.config.tests.json` beside `db.config`: read, all its mistakes told at once, made into trials."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectorlib.config.document import Document, open_document
from connectorlib.config.json_source import Path as Place
from connectorlib.config.schema import read_schema
from connectorlib.errors import ConfigurationError, Problem
from connectorlib.expressions import json_text

_BODIES = ("body", "file", "base64")
_NOT_OUTCOMES = frozenset({"name", "message", "now", "lookups", "division", "key"})


@dataclass(frozen=True, slots=True)
class Trial:
    """One message, and what it has to become."""

    name: str
    body: bytes
    #: What travels beside it, as it was written: exchange, routing_key, queue, and properties by their AMQP names.
    beside: Mapping[str, Any]
    now: datetime | None
    lookups: Mapping[str, Any]
    #: `rows`, `key`, `division`, `case`, `cases` or `rejected`, whichever are given.
    expected: Mapping[str, Any]


def schema(package: str) -> dict[str, Any]:
    """Return the schema of a tests file: what all have in common, and the outcomes that a connector knows."""
    whole, own = read_schema("connectorlib", "tests.schema.json"), read_schema(package, "tests.schema.json")
    whole["title"] = own["title"]
    whole["$defs"] |= own["$defs"]
    whole["$defs"]["test"]["properties"] |= own["properties"]
    return whole


def beside(config: str) -> str:
    """Return where the tests of a configuration are: `db.config.tests.json`, `config.tests.json` of `config.json`."""
    path = Path(config)
    name = path.name.removesuffix(".json") if path.suffix == ".json" else path.name
    return str(path.with_name(f"{name}.tests.json"))


def load(file: str, package: str) -> list[Trial]:
    """Return the trials of a file. Raise ConfigurationError with everything that is wrong in it."""
    own = schema(package)
    outcomes = [name for name in own["$defs"]["test"]["properties"] if name not in _NOT_OUTCOMES]
    document = open_document(file, own, resolve_secrets=False)
    problems: list[Problem] = []
    trials = []
    tests = document.data.get("tests")
    for at, test in enumerate(tests if isinstance(tests, list) else ()):
        if isinstance(test, dict) and isinstance(test.get("message"), dict):
            trials.append(_Reading(document, ("tests", at), problems).trial(test, outcomes))
    document.fail(problems)
    return trials


class _Reading:
    """One test of the document; what is wrong with it is added to `problems`."""

    def __init__(self, document: Document, place: Place, problems: list[Problem]) -> None:
        self._document = document
        self._place = place
        self._problems = problems

    def trial(self, test: Mapping[str, Any], outcomes: list[str]) -> Trial:
        message = test["message"]
        given = [name for name in outcomes if name in test]
        if len(given) != 1 and not any((*self._place, name) in self._document.refused for name in outcomes):
            words = f"{', '.join(outcomes[:-1])} or {outcomes[-1]}" if len(outcomes) > 1 else outcomes[0]
            self._wrong((), f"expected exactly one of {words}, which says what has to come out")
        expected = {name: value for name, value in test.items() if name in outcomes or name in ("key", "division")}
        own = {name: value for name, value in message.items() if name not in _BODIES}
        if "timestamp" in own:
            own["timestamp"] = self._seconds(own["timestamp"])
        return Trial(
            name=str(test.get("name", "")),
            body=self._body(message),
            beside=own,
            now=self._moment(("now",), test["now"]) if "now" in test else None,
            lookups=test.get("lookups", {}),
            expected=expected,
        )

    def _wrong(self, path: Place, text: str) -> None:
        self._problems.append(self._document.problem((*self._place, *path), text))

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

    def _moment(self, path: Place, text: Any) -> datetime | None:
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


__all__ = ["ConfigurationError", "Trial", "beside", "load", "schema"]

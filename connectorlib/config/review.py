"""Collects the mistakes and the doubtful values of one configuration, so that all are reported at the same time.

A value that the schema refused is absent here, so that each mistake of a file is reported once.
"""

import re
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any

from connectorlib.config import file_modes
from connectorlib.config.document import OFFLINE, Document, open_document
from connectorlib.config.json_source import Path, show
from connectorlib.config.schema import Schema
from connectorlib.config.secrets import plain_texts
from connectorlib.values.durations import parse_duration

#: `$NAME`, `%NAME%` and `{{ name }}`, as shells and templates write variables.
_LIKE_A_VARIABLE = re.compile(r"\$[A-Z][A-Z0-9_]{2,}|%[A-Za-z][A-Za-z0-9_]+%|\{\{.+\}\}")
#: How many other secrets of a file a warning names.
MOST_NAMED = 3


class Review:
    """Collects the mistakes (`problem`) and the doubtful values (`warn`) of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.warnings: list[str] = []
        self._found: list[tuple[Path, str]] = []

    def problem(self, path: Path, text: str) -> None:
        """Add a problem with a value, unless a part of that value was refused already. If it comes from a reference
        that was not resolved, the problem is that."""
        if any(refused[: len(path)] == path for refused in self.document.refused):
            return
        document = self.document
        for pending, why in document.pending.items():
            inside = pending[: len(path)] == path and document.sources[pending] in text
            if inside or path[: len(pending)] == pending:
                path, text = pending, why
        self._found.append((path, text))

    def is_known(self, path: Path) -> bool:
        """Return whether no part of a value was refused, or is a reference that was not resolved."""
        unknown = self.document.refused | self.document.pending.keys()
        return not any(each[: len(path)] == path for each in unknown)

    def missing(self, path: Path, key: str, why: str) -> None:
        """Add that a key is missing, unless its value was refused."""
        if (*path, key) not in self.document.refused:
            self._found.append((path, f'"{key}" is missing{why}'))

    def warn(self, path: Path, text: str) -> None:
        self.warnings.append(str(self.document.problem(path, text)))

    def attempt(self, path: Path, compile: Callable[[], Any]) -> Any:
        """Return what `compile` returns; for a ValueError add a problem and return None."""
        try:
            return compile()
        except ValueError as error:
            self.problem(path, str(error))
            return None

    def duration(self, *path: str | int) -> None:
        """Add a problem for a text that is not a duration."""
        value = self.get(*path)
        if isinstance(value, str) and path not in self.document.pending:
            self.attempt(path, lambda: parse_duration(value))

    def section(self, *path: str | int) -> Mapping[str, Any]:
        """Return the object at a path, else an empty one."""
        value = self.get(*path)
        return value if isinstance(value, dict) else {}

    def get(self, *path: str | int) -> Any:
        """Return the value at a path, else None."""
        node: Any = self.document.data
        for key in path:
            try:
                node = node[key]
            except (LookupError, TypeError):  # missing, or not an object
                return None
        return node

    def finish(self) -> None:
        """Raise ConfigurationError if there are problems."""
        self.document.fail(self.document.problem(path, text) for path, text in self._found)


def reviewed(
    path: str | FilePath,
    schema: Schema,
    review: Callable[[Review], None],
    *,
    resolve_secrets: bool | Collection[str] = True,
    text: str | None = None,
) -> tuple[Document, tuple[str, ...]]:
    """Return the document of a file and the warnings, after the checks of its schema and of `review`. Raise
    ConfigurationError with all problems.

    With `resolve_secrets=False` it is for a command that works offline. It may also name the sections whose references
    are needed. `text`: what would be in the file.
    """
    document = open_document(path, schema, resolve_secrets=resolve_secrets or OFFLINE, text=text)
    found = Review(document)
    _review_secrets(found)
    _review_texts(found, schema)
    if resolve_secrets and "tracing" in document.data and not _has_opentelemetry():
        found.problem(("tracing",), "needs OpenTelemetry: pip install 'amqp-connectors[otel]'")
    found.duration("journal", "max_age")
    review(found)
    found.finish()
    return document, tuple(dict.fromkeys(found.warnings))


def _review_secrets(review: Review) -> None:
    """Warn once of each file with passwords that others can read; a secret file that others can read is an error."""
    open_files: dict[str, list[Path]] = {}
    for path in review.document.literals:
        file = review.document.file_of(path)
        if file_modes.is_open(file):
            open_files.setdefault(file, []).append(path)
    keep = "or write ${file:/path}, ${credential:name} or ${NAME} instead"
    for file, (first, *others) in open_files.items():
        names = [show(path) for path in others[:MOST_NAMED]]
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        like = f", like {', '.join(names)}{more}" if others else ""
        review.warn(first, f"a secret in a file that is not private{like}: {file_modes.advice(file)}, {keep}")


def _review_texts(review: Review, schema: Schema) -> None:
    """Warn of texts that a shell would replace, and nobody replaces here. They are not shown: they may be secrets."""
    for path, text in plain_texts(review.document.data, schema):
        if path in review.document.sources:
            continue
        if _LIKE_A_VARIABLE.fullmatch(text):
            review.warn(path, "looks like a variable, but is taken as it is written; a variable is written ${NAME}")
        elif text.startswith("~/"):
            review.warn(path, "~ is not replaced by a home folder; write the whole path")


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False

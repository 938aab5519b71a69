"""One configuration file: read, references resolved, checked against its schema; every mistake with its line."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path as FilePath
from typing import Any

from connectorlib.config import file_modes, include, json_source, schema_errors
from connectorlib.config.json_source import Path, Reading, line_of, show
from connectorlib.config.schema import Schema, is_duration, needs_text, within
from connectorlib.config.secrets import References, mentions, resolve
from connectorlib.dataclass import dataclass
from connectorlib.errors import ConfigurationError, Problem
from connectorlib.service.redaction import secrets

MAX_FILE_BYTES = 16 * 1024 * 1024

#: For commands that work offline: no section has to be resolved, variables that are set and defaults are used, and no
#: secret file is read.
OFFLINE: frozenset[str] = frozenset()
#: Definitions of the schema whose numbers and words decide what a message becomes.
_DECIDING = ("expression", "full_expression", "case_expression", "full_case_expression", "destination", "external_id")


@dataclass(slots=True)
class Document:
    """The data of a file, with the line of each value."""

    file: str
    #: Without the values that are wrong: see `refused`.
    data: dict[str, Any]
    lines: Mapping[Path, int]
    #: The included file, as it is named, that each of these paths comes from.
    files: Mapping[Path, str] = field(default_factory=dict)
    #: References as written, by path; the values at these paths must not be shown.
    sources: Mapping[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    #: Paths of secrets that are in the file itself.
    literals: list[Path] = field(default_factory=list)
    #: Paths of wrong values, which are removed from `data`.
    refused: set[Path] = field(default_factory=set)
    #: References that were not resolved, by path, and why. Their texts are as written.
    pending: Mapping[Path, str] = field(default_factory=dict)

    def problem(self, path: Sequence[str | int], text: str) -> Problem:
        """Return a problem with the line nearest to a path, which may be missing."""
        # Error messages repeat what they cannot parse, which may come from a secret.
        whole = tuple(path)
        return Problem(line_of(self.lines, whole), show(whole), secrets.redact(text), self._included(whole))

    def file_of(self, path: Path) -> str:
        """Return the file that a value is in."""
        included = self._included(path)
        return str(self.folder / included) if included else self.file

    def _included(self, path: Path) -> str:
        while path and path not in self.lines:
            path = path[:-1]
        return self.files.get(path, "")

    @property
    def folder(self) -> FilePath:
        """The folder that relative paths in the file start from."""
        return FilePath(self.file).absolute().parent

    def fail(self, more: Iterable[Problem] = ()) -> None:
        """Raise ConfigurationError with all problems and these, if there are any."""
        found = in_order([*self.problems, *more])
        if found:
            raise ConfigurationError(self.file, found)


def load(path: str | FilePath, schema: Schema, *, resolve_secrets: bool = True) -> Document:
    """Return the document of a file. Raise ConfigurationError with all problems.

    With `resolve_secrets=False` it is for a command that works offline.
    """
    document = open_document(path, schema, resolve_secrets=resolve_secrets or OFFLINE)
    document.fail()
    return document


def open_document(
    path: str | FilePath,
    schema: Schema,
    *,
    resolve_secrets: bool | Collection[str] = True,
    text: str | None = None,
) -> Document:
    """Return the document with its problems, for a caller that checks more; wrong values are not in its data. Raise
    ConfigurationError only for a file that cannot be read at all. `text`: what would be in the file.
    With `resolve_secrets=False` references stay as written. It may also name the sections whose references have to be
    resolved; elsewhere one without a value stays as written. See OFFLINE."""
    file = str(path)
    read = json_source.read(_text(file) if text is None else text)
    if not read.readable:
        raise ConfigurationError(file, in_order(read.problems))
    if not isinstance(read.data, dict):
        raise ConfigurationError(file, [Problem(1, "", "expected an object {…} that holds the whole configuration")])
    document = _with_included(Document(file, read.data, read.lines, problems=read.problems), read, schema)
    if resolve_secrets is False:
        document.sources = mentions(document.data, schema)
        document.pending = dict.fromkeys(document.sources, "a reference is not resolved here")
    else:
        _resolve(document, schema, None if resolve_secrets is True else frozenset(resolve_secrets))
    _check(document, schema, silent=document.refused | document.pending.keys())
    for refused in document.refused:
        _take_out(document.data, refused)
    return document


def _with_included(document: Document, own: Reading, schema: Schema) -> Document:
    """Return the document with what it includes, unless the schema has no includes."""
    if include.KEY not in schema.get("properties", {}) and schema.get("additionalProperties") is False:
        return document
    found = []
    for name in include.names_of(document.data):
        try:
            found.append((name, json_source.read(_text(str(document.folder / name)))))
        except ConfigurationError as error:
            text = f"{name} {error.problems[0].text}"
            document.problems.append(document.problem((include.KEY,), text))
    whole = include.with_included(own, found)
    document.data, document.lines, document.files = whole.data, whole.lines, whole.files
    document.problems += whole.problems
    return document


def _resolve(document: Document, schema: Schema, needed: frozenset[str] | None) -> None:
    lookup = References(folder=document.folder, offline=needed == OFFLINE)
    resolved = resolve(document.data, schema, lookup, secrets)
    document.data, document.sources = resolved.data, resolved.sources
    document.literals = [] if lookup.offline else resolved.literals
    wrong = {
        path: text
        for path, text in resolved.unknown.items()
        # What a body is, and which messages are taken, has to be known offline too.
        if needed is None or path[0] in needed or within(schema, path, "format", "condition")
    }
    document.pending = {path: text for path, text in resolved.unknown.items() if path not in wrong}
    # Nothing waits for a duration offline: its default stands in.
    document.refused.update(path for path in document.pending if is_duration(schema, path))
    for path, text in [*resolved.problems, *wrong.items()]:
        document.problems.append(document.problem(path, text))
        document.refused.add(path)


def _check(document: Document, schema: Schema, silent: set[Path]) -> None:
    """Check against the schema. `silent` paths have no value yet, or already have a problem. A reference that was not
    resolved is refused too, unless its object needs it: who works offline has the text as it is written. Within an
    expression and a destination there is no text that would do: that it was not resolved is a problem."""
    for mistake in schema_errors.check(document.data, schema, document.sources):
        kept = mistake.path in document.pending and needs_text(schema, mistake.path)
        if mistake.path in document.pending and not kept and within(schema, mistake.path, *_DECIDING):
            document.problems.append(document.problem(mistake.path, document.pending[mistake.path]))
        if mistake.refuses and not kept:
            document.refused.add(mistake.path)
        if mistake.path not in silent or not mistake.refuses:
            document.problems.append(document.problem(mistake.path, mistake.text))


def _take_out(data: Any, path: Path) -> None:
    """Remove a value, so that later checks do not meet it.

    In a list of objects the others keep their indexes; any other list is removed as a whole.
    """
    node = data
    for key in path[:-1]:
        try:
            node = node[key]
        except (LookupError, TypeError):  # a parent is removed already
            return
    if isinstance(node, dict):
        node.pop(path[-1], None)
    elif isinstance(node, list):
        node[int(path[-1])] = None
        if not any(isinstance(each, dict) for each in node):
            _take_out(data, path[:-1])


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return each problem once, by line."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line))


def _text(file: str) -> str:
    try:
        with open(file, "rb", opener=file_modes.regular) as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(file, [Problem(0, "", f"cannot be read: {error.strerror}")]) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(file, [Problem(0, "", f"is larger than {MAX_FILE_BYTES} bytes")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(file, [Problem(line, "", "is not UTF-8 text; save the file as UTF-8")]) from error

"""Secrets in the configuration: `${NAME}`, `${NAME:-default}`, `${file:/path}`, `${credential:name}`.

`$${` is a literal `${`. They are resolved except where the schema has `x-verbatim` (SQL, paths, templates). Their
values are added to the log redaction, unless the name of the key is public (`host`, `queue`, …), and so is every
`password`.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from decimal import Decimal, InvalidOperation
from pathlib import Path as FilePath
from typing import Any

from connectorlib.config import file_modes
from connectorlib.config.json_source import Path
from connectorlib.config.schema import Schema, expand, step, types
from connectorlib.dataclass import dataclass
from connectorlib.service.redaction import NO_SECRETS, Secrets, is_secret_name, keyword_secrets

MAX_FILE_BYTES = 1_048_576

_REFERENCE = re.compile(r"\$?\$\{([^}]*)(\}?)")
_WHOLE = re.compile(r"\$\{[^}]*\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL = re.compile(r"[^/\0]+")

#: Keys whose values may be logged even if they come from the environment: a log is useless without them.
_PUBLIC_KEYS = frozenset(
    {
        *("host", "port", "server", "servername", "server_name", "driver", "dsn", "database", "dbq"),
        *("uid", "user", "username", "virtual_host", "vhost", "queue", "exchange", "exchange_type", "name", "table"),
        *("level", "format", "file", "ca", "cert", "key", "declare", "type"),
        *("login_url", "url", "scope", "auth", "audience", "api_version", "instance_hosts"),
    }
)


_FORMS = "${NAME}, ${NAME:-default}, ${file:/path} or ${credential:name}"


class Unresolved(ValueError):
    """A reference cannot be resolved; the text says why, without a secret."""


class Malformed(Unresolved):
    """A reference that can never be resolved, as it is written."""


@dataclass(slots=True)
class Resolved:
    """`data` with references replaced. `sources` has the texts as written, by path, which may be shown."""

    data: Any
    sources: dict[Path, str] = field(default_factory=dict)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    #: Why there is no value here and now, by path; elsewhere there may be one.
    unknown: dict[Path, str] = field(default_factory=dict)
    #: Paths of secrets that are in the file itself.
    literals: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class References:
    """Looks references up. Relative paths in `${file:…}` start from `folder`. With `offline` no file is read."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    folder: FilePath = FilePath()
    offline: bool = False

    def look_up(self, reference: str) -> str:
        """Return the value for the text in the braces. Raise Unresolved."""
        kind, colon, name = reference.partition(":")
        if self.uses_default(reference):
            return name[1:]
        if name.startswith("-"):
            return self._variable(kind)
        if not colon:
            return self._variable(reference)
        if self.offline and kind in ("file", "credential"):
            raise Unresolved(f"this command does not read ${{{kind}:…}}")
        if kind == "file":
            if name.startswith("~"):
                raise Malformed("~ is not replaced by a home folder; write the whole path")
            return _read_secret(self.folder / name)
        if kind == "credential":
            return self._credential(name)
        raise Malformed(f"unknown reference ${{{kind}:…}}; expected {_FORMS}")

    def uses_default(self, reference: str) -> bool:
        """Return whether the value is the default in the reference: as in a shell, also where the variable is empty."""
        name, default, _ = reference.partition(":-")
        return bool(default) and _NAME.fullmatch(name) is not None and not self.environment.get(name)

    def _variable(self, name: str) -> str:
        if _NAME.fullmatch(name) is None:
            raise Malformed(f"expected {_FORMS}; a literal ${{ is written $${{")
        if name not in self.environment:
            raise Unresolved(f"the environment variable {name} is not set")
        value = self.environment[name]
        if not value.isprintable() and any("\ud800" <= char <= "\udfff" for char in value):
            raise Unresolved(f"the environment variable {name} is not UTF-8 text")
        return value

    def _credential(self, name: str) -> str:
        folder = self.environment.get("CREDENTIALS_DIRECTORY")
        if _CREDENTIAL.fullmatch(name) is None:
            raise Malformed("${credential:…} takes the name of a credential, not a path")
        if not folder:
            raise Unresolved(
                "no systemd credentials are available: "
                f"run it from a unit that loads the credential {name} (LoadCredential=)"
            )
        return _read_secret(FilePath(folder) / name)


def _read_secret(file: FilePath) -> str:
    try:
        with open(file, "rb", opener=file_modes.regular) as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unresolved(f"the secret file {file} cannot be read: {error.strerror}") from error
    if file_modes.is_open(file):
        raise Unresolved(f"the secret file {file} is not private: {file_modes.advice(file)}")
    if len(content) > MAX_FILE_BYTES:
        raise Unresolved(f"the secret file {file} is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unresolved(f"the secret file {file} is not UTF-8 text") from error
    # One line end, as editors and `echo` add it; a password may end with any other blank.
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


# -- through the whole document


def resolve(data: Any, schema: Schema, references: References, secrets: Secrets) -> Resolved:
    """Replace the references in data, by the schema that it will be checked with."""
    result = Resolved(None)
    walk = _Walk(schema, references, secrets, result)
    result.data = walk.value(data, (), list(expand(schema, schema)))
    return result


def mentions(data: Any, schema: Schema) -> dict[Path, str]:
    """Return the texts with references, by path, without resolving them."""
    return {path: text for path, text in plain_texts(data, schema) if "${" in text}


def plain_texts(data: Any, schema: Schema) -> Iterator[tuple[Path, str]]:
    """Yield the texts in which a reference would be resolved, by path."""
    for path, text, schemas in _texts(data, schema, (), list(expand(schema, schema))):
        if not _verbatim(schemas):
            yield path, text


def is_secret(path: Path) -> bool:
    """Return whether a value must not be shown, by the names in its path."""
    return any(isinstance(key, str) and is_secret_name(key) for key in path)


def last_name(path: Path) -> str:
    """Return the innermost name of a path, skipping list indexes."""
    return next((key for key in reversed(path) if isinstance(key, str)), "")


def _texts(node: Any, root: Schema, path: Path, schemas: list[Schema]) -> Iterator[tuple[Path, str, list[Schema]]]:
    if isinstance(node, str):
        yield path, node, schemas
        return
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in members:
        yield from _texts(value, root, (*path, key), step(root, schemas, key))


def _verbatim(schemas: list[Schema]) -> bool:
    return any(schema.get("x-verbatim") for schema in schemas)


@dataclass(slots=True)
class _Walk:
    root: Schema
    references: References
    secrets: Secrets
    result: Resolved

    def value(self, node: Any, path: Path, schemas: list[Schema]) -> Any:
        if isinstance(node, dict):
            return {key: self.value(value, (*path, key), step(self.root, schemas, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self.value(value, (*path, at), step(self.root, schemas, at)) for at, value in enumerate(node)]
        if not isinstance(node, str) or _verbatim(schemas):
            return node
        return self.text(node, path, schemas)

    def text(self, text: str, path: Path, schemas: list[Schema]) -> Any:
        if "${" not in text:
            if self.hide(text, path):
                self.result.literals.append(path)
            return text
        found: list[str] = []
        try:
            value = _REFERENCE.sub(lambda match: self.one(match, path, found), text)
        except Malformed as error:
            self.result.problems.append((path, str(error)))
        except Unresolved as error:
            self.result.unknown[path] = str(error)
        else:
            return self.resolved(text, value, found, path, schemas)
        self.result.sources[path] = text
        return text

    def resolved(self, text: str, value: str, found: list[str], path: Path, schemas: list[Schema]) -> Any:
        """Return the value of a text with references as the schema wants it; hide what must not be logged."""
        if found:
            self.result.sources[path] = text
        result = typed(value, _kinds(value, schemas)) if _WHOLE.fullmatch(text) else value
        # A number or boolean is no secret; hiding every 20 would make the log unreadable.
        if isinstance(result, str):
            for each in found:
                self.secrets.add(each)
        if self.hide(value, path) and any(map(self.references.uses_default, _names(text))):
            self.result.literals.append(path)
        return result

    def one(self, match: re.Match[str], path: Path, found: list[str]) -> str:
        """Return the value of one reference; add it to `found` if it must not be logged."""
        if match[0].startswith("$$"):
            return match[0][1:]
        if not match[2]:
            raise Malformed("${ is never closed by }; a literal ${ is written $${")
        value = self.references.look_up(match[1])
        is_variable = ":" not in match[1] or ":-" in match[1]
        secret = not (is_variable and last_name(path).lower() in _PUBLIC_KEYS)
        if self.references.uses_default(match[1]):  # it is no secret unless its key is one
            secret = is_secret_name(last_name(path))
        found.append(value if secret else "")
        return value

    def hide(self, value: str, path: Path) -> bool:
        """Add the secrets in a value to the redaction; return whether there are any."""
        found = [value] if is_secret_name(last_name(path)) else []
        found += keyword_secrets(value)
        for each in found:
            self.secrets.add(each)
        return any(each not in NO_SECRETS for each in found)


def _names(text: str) -> list[str]:
    """Return what is in the braces of the references of a text."""
    return [match[1] for match in _REFERENCE.finditer(text) if not match[0].startswith("$$")]


def _kinds(text: str, schemas: list[Schema]) -> set[str]:
    """Return the JSON types that the schemas name; a text is none of them where its pattern excludes this one."""
    texts = [schema for schema in schemas if "string" in types([schema])]
    fits = any(re.search(schema.get("pattern", ""), text) for schema in texts)
    return types(schemas) if fits else types(schemas) - {"string"}


def typed(text: str, wanted: set[str]) -> Any:
    """Return a text as the number or boolean that the schema expects, else unchanged."""
    if "string" in wanted:
        return text
    converters: dict[str, Callable[[str], Any]] = {"boolean": _boolean, "integer": int, "number": _number}
    for kind in ("boolean", "integer", "number"):
        if kind in wanted:
            try:
                return converters[kind](text.strip())
            except ValueError:
                continue
    return text


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _number(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        return _decimal(text)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not number.is_finite():
        raise ValueError(text)
    return number

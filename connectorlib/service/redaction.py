"""Takes secrets out of texts: known values, and values whose name means a secret. Imports nothing of ours.

The configuration adds every secret that it resolves, and each is hidden in the forms in which libraries print it. What
was never in the configuration is found by its name: `PWD=…;`, `"client_secret": "…"`, `amqp://user:…@`.
"""

import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

MARK = "[secret]"

#: RabbitMQ's default user and password; hiding the word would hide the user name as well.
NO_SECRETS = frozenset({"guest", ""})
#: Shorter ones are not hidden by their value: a password `x` would hide the x of `x-queue-type`, and protects nothing.
_SHORTEST = 4
#: Shorter ones are hidden only as whole words, or "abcd" would be cut out of half the texts.
_WORD_LENGTH = 8
_LINE_LENGTH = 16  # of a line that is hidden on its own, when the secret is a PEM block

#: The words that mean a secret, within the name of a key, an option, a field or a header.
_WORDS = (
    *("password", "passwd", "passphrase", "pwd", "(?<![a-z])pass(?![a-z])"),
    *("secret", "token", "credential", "authorization"),
    *("private[_-]?key", "api[_-]?key", "access[_-]?key"),
)
#: `client_secret`, `accessTokens`, `Pwd2`; not `token_type` or `secret_file`, which say something about a secret.
_NAME = rf"(?:{'|'.join(_WORDS)})[\w-]{{0,32}}+(?<!type)(?<!file)(?<!path)(?<!name)(?<![_-]id)"
_SECRET_NAME = re.compile(rf"(?i){_NAME}(?![\w-])")
_BRACED = r"\{(?:[^}]|\}\}){0,999}\}"
_QUOTED = r"\\\"(?:[^\"\\]|\\[^\"]){0,999}\\\"|\"(?:[^\"\\]|\\.){0,999}\"|'(?:[^'\\]|\\.|''){0,999}'"

#: Every repetition is bounded: the text of a database or of a message may be long, and made to be slow.
_SHAPES = (
    # HTTP headers, with or without the scheme
    (
        re.compile(
            r"(?i)\b(authorization|x-[a-z-]{0,32}(?:key|token|secret))(\s*:\s*(?:(?:basic|bearer)\s+)?)[^\s,;\"']+"
        ),
        rf"\1\2{MARK}",
    ),
    # key=value, a query string, ODBC keywords, JSON, and JSON within JSON
    (
        re.compile(rf"(?i)({_NAME})(\s*=\s*|\\?[\"']\s*:\s*)({_BRACED}|{_QUOTED}|\[[^\]]{{0,999}}\]|[^;\s,&\"'()]+)"),
        rf"\1\2{MARK}",
    ),
    # the password of a URL
    (re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{0,31}://[^\s:/@]{0,255}:)\S{1,999}@"), rf"\1{MARK}@"),
    # a JSON Web Token, by how its header begins
    (re.compile(r"\beyJ[\w-]{8,9999}+\.[\w-]{8,9999}+\.[\w-]{0,9999}+"), MARK),
    (re.compile(r"(?i)\b(bearer\s+)[a-z0-9._~+/=!-]{8,}"), rf"\1{MARK}"),
)
#: A keyword of an ODBC connection string ends at a semicolon only.
_KEYWORD = re.compile(rf"(?i){_NAME}\s*=\s*(?:\{{((?:[^}}]|\}}\}})*)\}}|([^;]*))")


def is_secret_name(name: str) -> bool:
    """Return whether the value of a key, an option, a field or a header of this name must not be shown."""
    return _SECRET_NAME.search(name) is not None


def keyword_secrets(text: str) -> list[str]:
    """Return the secrets in an ODBC connection string: `a;b}c` for `Driver=x;PWD={a;b}}c}`."""
    return [braced.replace("}}", "}") if braced else plain for braced, plain in _KEYWORD.findall(text)]


class Secrets:
    """Secret values, which must never be printed or logged. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Hide this value from now on, unless it is too short to be told from any text."""
        if value in NO_SECRETS or len(value.strip()) < _SHORTEST:
            return
        with self._lock:
            self._forms.update(_forms(value))
            # Longest first: one secret may be the beginning of another.
            ordered = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(_guarded, ordered)))

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(MARK, text)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text

    def redact_value(self, value: Any) -> Any:
        """Return a log field without secrets: numbers unchanged, everything else as redacted text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if isinstance(value, list | tuple):
            return [self.redact_value(each) for each in value]
        return self.redact(str(value))

    def clear(self) -> None:
        """Forget every value; for tests."""
        with self._lock:
            self._forms.clear()
            self._pattern = None


def _forms(value: str) -> Iterator[str]:
    """Yield the value as it is, and as URLs, Python, JSON and ODBC connection strings write it."""
    stripped = value.strip()
    if not stripped:
        return
    yield stripped
    yield from {write(stripped, errors="replace") for write in (quote, quote_plus, partial(quote, safe=""))}
    yield repr(stripped)[1:-1]
    yield json.dumps(stripped)[1:-1]
    yield stripped.replace("}", "}}")
    if "\n" in stripped:
        yield from (line.strip() for line in stripped.splitlines() if len(line.strip()) >= _LINE_LENGTH)


def _guarded(form: str) -> str:
    text = re.escape(form)
    return text if len(form) >= _WORD_LENGTH else rf"(?<!\w){text}(?!\w)"


#: The one registry of the process.
secrets = Secrets()

"""Takes secrets out of texts. The configuration adds every secret that it resolves; imports nothing of ours.

Two nets: the values themselves, in the forms in which libraries tend to print them, and shapes such as `PWD=…;` or
`amqp://user:…@`, for what was never in our configuration.
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
#: Shorter ones are hidden only where they stand as a word, or "ab" would be cut out of half the texts.
_WORD_LENGTH = 8
_LINE_LENGTH = 16  # of a line that is hidden on its own, when the secret is a PEM block

#: What they look for is bounded everywhere, for a text of a database or a message may be long and made to be slow.
_SHAPES = (
    (
        re.compile(
            r"(?i)\b(pwd|passwd|password|passphrase|client_secret|access_token|security_token)(\s*=\s*|[\"']\s*:\s*)"
            r"(\{(?:[^}]|\}\}){0,999}\}|\"(?:[^\"\\]|\\.){0,999}\"|'(?:[^'\\]|\\.|''){0,999}'|[^;\s,&\"'()]+)"
        ),
        rf"\1\2{MARK}",
    ),
    (re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{0,31}://[^\s:/@]{0,255}:)\S{1,999}@"), rf"\1{MARK}@"),
    (re.compile(r"(?i)\b(bearer\s+)[a-z0-9._~+/=!-]{8,}"), rf"\1{MARK}"),
)


class Secrets:
    """The values that must never be printed or logged. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Hide this value from now on, wherever it turns up."""
        if value in NO_SECRETS:
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
        """Return a log field without secrets: texts cleaned, plain numbers as they are, the rest as cleaned text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if isinstance(value, list | tuple):
            return [self.redact_value(each) for each in value]
        return self.redact(str(value))

    def clear(self) -> None:
        """Forget all; for tests."""
        with self._lock:
            self._forms.clear()
            self._pattern = None


def _forms(value: str) -> Iterator[str]:
    """Return the value as it is, and as URLs, Python, JSON and ODBC connection strings write it."""
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

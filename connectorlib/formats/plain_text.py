"""Plain text: a message is one record without fields, and its text is `$body`."""

from collections.abc import Mapping, Sequence
from typing import Any

from connectorlib.formats.body_assembly import BodyAssembly
from connectorlib.formats.strictness import body_too_large, compile_encoding, not_decodable, not_encodable
from connectorlib.shared_settings import Limits

NO_FIELDS = "the format text has no fields; write the body with destination.body"


class TextFormat:
    def __init__(self, encoding: str | None, limits: Limits) -> None:
        """None: what the message says, else UTF-8."""
        self.encoding = encoding or "utf-8"
        self.heeds_charset = encoding is None
        self.content_type = f"text/plain; charset={self.encoding}"
        self.limits = limits

    def decode(self, body: bytes, charset: str | None = None) -> list[Any]:
        """Return the one record. An empty body is a text too."""
        if len(body) > self.limits.body_bytes:
            raise body_too_large(len(body), self.limits.body_bytes)
        try:
            text = body.decode(charset or self.encoding)
        except UnicodeError as error:
            raise not_decodable(str(error)) from error
        if "\0" in text:
            raise not_decodable("a NUL character, which most databases cut off silently")
        return [{}]

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        raise not_encodable(NO_FIELDS)

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        raise not_encodable(NO_FIELDS)


def compile_text(settings: Mapping[str, Any], limits: Limits) -> TextFormat:
    encoding = settings.get("encoding")
    return TextFormat(None if encoding is None else compile_encoding(encoding), limits)

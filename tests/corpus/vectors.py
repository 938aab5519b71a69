"""Reads the `*.vectors` files of this folder: one body a line, with what has to become of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

FOLDER = Path(__file__).parent

#: What the bodies of each file are read with.
FORMATS: dict[str, dict[str, Any]] = {
    "json": {"type": "json"},
    "xml": {"type": "xml"},
    "csv": {"type": "delimited", "columns": ["a", "b", "c"]},
}
_SHOWN = bytes(code for code in range(0x21, 0x7F) if code != ord("%")).decode() + " "


@dataclass(frozen=True, slots=True)
class Vector:
    #: `accept`, `reject`, `strict`, or for what was found by chance, `either`.
    verdict: str
    body: bytes
    #: What it has to be read to, as JSON; empty where the file does not say.
    value: str = ""

    @property
    def accepted(self) -> bool:
        return self.verdict == "accept"

    def __str__(self) -> str:
        return f"{self.verdict} {escaped(self.body)}" + (f" => {self.value}" if self.value else "")


def read(name: str) -> list[Vector]:
    """Return the vectors of a file, given its name without the ending."""
    lines = (FOLDER / f"{name}.vectors").read_text(encoding="utf-8").splitlines()
    return [_vector(line) for line in map(str.strip, lines) if line and not line.startswith("#")]


def add(name: str, vector: Vector) -> None:
    """Append a vector to a file."""
    with (FOLDER / f"{name}.vectors").open("a", encoding="utf-8") as out:
        out.write(f"{vector}\n")


def escaped(body: bytes) -> str:
    """Write a body as a line of such a file."""
    text = quote_from_bytes(body, safe=_SHOWN)
    blanks = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    return "%20" * blanks[0] + text.strip(" ") + "%20" * (blanks[1] if text.strip(" ") else 0)


def _vector(line: str) -> Vector:
    verdict, _, rest = line.partition(" ")
    body, arrow, value = rest.rpartition(" => ") if verdict == "accept" else ("", "", rest)
    if not arrow:
        body, value = rest, ""
    if value:
        json.loads(value)  # a mistake in the file itself
    return Vector(verdict, unquote_to_bytes(body.strip()), value)

"""Templates: `Pump {device.id}: {alarm|no text}`. Parsed once into literals and paths."""

from connectorlib.dataclass import dataclass
from connectorlib.expressions.path import Path, parse_path_at


@dataclass(frozen=True, slots=True)
class Part:
    """A path in braces; `alternative` is the text instead of a missing or null value, if any."""

    path: Path
    alternative: str | None


def parse_template(text: str) -> list[str | Part]:
    """Return the literals and parts of a template. Raise ValueError that names the wrong character."""
    pieces: list[str | Part] = []
    literal = ""
    position = 0
    while position < len(text):
        char = text[position]
        if char not in "{}":
            literal += char
            position += 1
        elif text.startswith(char * 2, position):
            literal += char
            position += 2
        else:
            part, position = _parse_part(text, position)
            pieces += [literal, part] if literal else [part]
            literal = ""
    return [*pieces, literal] if literal else pieces


def _parse_part(text: str, start: int) -> tuple[Part, int]:
    if text[start] == "}":
        raise ValueError(f"a single '}}' at character {start + 1} of {text!r}; a brace itself is written '}}}}'")
    path, position = parse_path_at(text, start + 1, "|}")
    if text.startswith("}", position):
        return Part(path, None), position + 1
    end = text.find("}", position)
    if end < 0:
        raise ValueError(f"the brace at character {start + 1} of {text!r} is not closed")
    alternative = text[position + 1 : end]
    if "{" in alternative:
        raise ValueError(f"a brace inside the part at character {start + 1} of {text!r}")
    return Part(path, alternative), end + 1

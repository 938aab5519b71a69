"""Templates of configurations: JSON files in which a text or a key such as `@queue` stands for a value. Pure, but for
the reading."""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

WIDTH = 110  # characters of a line


def read_template(package: str, name: str) -> Any:
    """Return `<package>/templates/<name>` from the package's data."""
    return json.loads(resources.files(package).joinpath("templates", name).read_text(encoding="utf-8"))


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a template with its values put in; a key whose value is missing or None goes, its comment as well."""
    if isinstance(template, str):
        return values.get(template[1:]) if template.startswith("@") else template
    if isinstance(template, list):
        return [fill(each, values) for each in template]
    if not isinstance(template, dict):
        return template
    filled = {fill(key, values): fill(value, values) for key, value in template.items()}
    missing = {key for key, value in filled.items() if value is None}
    return {key: value for key, value in filled.items() if key.removeprefix("// ") not in missing}


def laid_out(value: Any) -> str:
    """Return JSON for a person: a value that fits into one line, without comments in it, gets one line."""
    return _layout(value, "", outermost=True) + "\n"


def _layout(value: Any, indent: str, *, outermost: bool = False, before: int = 0) -> str:
    line = json.dumps(value, ensure_ascii=False)
    fits = len(indent) + before + len(line) <= WIDTH and '"//' not in line and not outermost
    if fits or not isinstance(value, (Mapping, list)) or not value:
        return line
    inner = indent + "  "
    if isinstance(value, Mapping):
        keys = [f"{json.dumps(str(name), ensure_ascii=False)}: " for name in value]
        parts = [key + _layout(each, inner, before=len(key)) for key, each in zip(keys, value.values(), strict=True)]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _layout(each, inner) for each in value) + f"\n{indent}]"

"""`include`: sections that several configurations share, in files of their own. What a configuration has itself wins,
key by key. Pure, but for the reading of the files."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from connectorlib.config.json_source import Path, Reading
from connectorlib.dataclass import dataclass
from connectorlib.errors import Problem

KEY = "include"


@dataclass(slots=True)
class Whole:
    """A configuration with what it includes."""

    data: dict[str, Any]
    lines: dict[Path, int]
    #: The included file, as it is named, that each of these paths comes from.
    files: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def names_of(data: Mapping[str, Any]) -> Sequence[str]:
    """Return the files that a configuration includes; none where the key is missing or wrong."""
    given = data.get(KEY, ())
    names = [given] if isinstance(given, str) else given
    return names if isinstance(names, list) and all(isinstance(each, str) for each in names) else ()


def with_included(own: Reading, included: Sequence[tuple[str, Reading]]) -> Whole:
    """Return a configuration with the files that it includes, each by its name. Of two of these the later one wins."""
    found = Whole({}, {})
    for name, reading in included:
        found.problems += [replace(each, file=name) for each in reading.problems]
        wrong = _objection(reading)
        if wrong:
            found.problems.append(Problem(reading.lines.get((KEY,), 1), "", wrong, name))
        elif reading.readable:
            found = _merged(found, reading, name)
    return _merged(found, own, "")


def _objection(reading: Reading) -> str:
    if reading.readable and not isinstance(reading.data, dict):
        return "expected an object {…} of sections"
    if reading.readable and KEY in reading.data:
        return f'an included file cannot have "{KEY}" itself'
    return ""


def _merged(base: Whole, over: Reading, name: str) -> Whole:
    kept: list[Path] = []
    data = _merge(base.data, over.data, (), kept)
    lines = {path: line for path, line in base.lines.items() if any(path[: len(each)] == each for each in kept)}
    files = {path: base.files[path] for path in lines}
    if name:
        files |= dict.fromkeys(over.lines, name)
    return Whole(data, lines | over.lines, files, base.problems)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any], path: Path, kept: list[Path]) -> dict[str, Any]:
    """Return both objects as one; add to `kept` the paths that come from `base`."""
    found = dict(over)
    for key, value in base.items():
        if key not in over:
            found[key] = value
            kept.append((*path, key))
        elif isinstance(value, dict) and isinstance(over[key], dict):
            found[key] = _merge(value, over[key], (*path, key), kept)
    return found

"""What the tests of both configurations share: how a good file is spoilt, and how it is told."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from connectorlib.errors import ConfigurationError, Kind

Step = str | int


def writer(file: Path) -> Callable[[Any], Path]:
    """Return what writes a configuration, data or text, to this file."""

    def write(data: Any) -> Path:
        file.write_text(data if isinstance(data, str) else json.dumps(data, indent=1))
        return file

    return write


def changed(good: Any, path: Sequence[Step], value: Any) -> Any:
    """Return a good configuration with one value changed; None takes the key away."""
    data = copy.deepcopy(good)
    node: Any = data
    for key in path[:-1]:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return data


def told(load: Callable[[Path], Any], file: Path) -> list[str]:
    """Return what is said of a bad file, without its name and the lines."""
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert caught.value.failure.kind is Kind.CONFIGURATION
    return [f"{problem.path}: {problem.text}" if problem.path else problem.text for problem in caught.value.problems]


def places(node: Any, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    yield path
    members: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in members:
        yield from places(value, (*path, key))


_WORDS = [None, True, -1, 1.5, "", "${NOPE}", "${", "$${", "{", "}", "a/b", "\ud800"]
_NESTS: list[Any] = [[None], [[]], [{}], {"type": "xml"}]
JUNK = st.one_of(
    st.sampled_from([*_WORDS, *_NESTS]),
    st.text(max_size=5),
    st.integers(),
    st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
)


def nonsense(good: Any) -> st.SearchStrategy[list[tuple[tuple[Step, ...], Any]]]:
    """Return a strategy for what to put where in a good configuration."""
    return st.lists(st.tuples(st.sampled_from([path for path in places(good) if path]), JUNK), min_size=1, max_size=3)


def spoilt(good: Any, junk: Sequence[tuple[tuple[Step, ...], Any]]) -> Any:
    data: Any = copy.deepcopy(good)
    for path, value in junk:
        node = data
        try:
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = copy.deepcopy(value)  # the strategies share values between examples
        except (LookupError, TypeError):  # replaced already
            continue
    return data

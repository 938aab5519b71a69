"""What differs between the expected outcome of a configuration test and the actual one. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from connectorlib.formats.body_position import TextPosition
from connectorlib.preflight.explanation import Explanation, indented_json, rejection_lines
from connectorlib.preflight.tests_file import OPTIONAL
from connectorlib.values.line_diff import differences as line_differences
from connectorlib.values.text import text_of

#: Keys of `rejected` that are satisfied by a part of the actual text.
_PARTS = ("text", "detail")
#: JSON writes these as they are; everything else is compared by its text.
_PLAIN = (str, int, float, Decimal, type(None))


def outcome(explanation: Explanation, expected: Mapping[str, Any], position: TextPosition | None) -> dict[str, Any]:
    """Return what a message has become, in the form that is expected."""
    if explanation.rejection is not None:
        failure = explanation.rejection.failure
        facts: dict[str, Any] = {"code": failure.code, "text": failure.text, "detail": failure.detail}
        facts |= {"line": position.line} if position else {}
        wanted = expected.get("rejected")
        if isinstance(wanted, str):
            rejected: Any = facts["code"]
        else:
            rejected = {name: value for name, value in facts.items() if not wanted or name in wanted}
        return {"rejected": rejected, **{n: _plain(v) for n, v in explanation.data.items() if n in expected}}
    found = {name: _plain(value) for name, value in explanation.data.items()}
    if isinstance(expected.get("rows"), list) and len(found.get("rows", {})) <= 1:
        found["rows"] = next(iter(found["rows"].values()), [])
    if "case" in expected and len(found.get("cases", ())) == 1:
        found["case"] = found.pop("cases")[0]
    if "published" in found:
        found["published"] = _named(found["published"], expected.get("published"))
    for name in ("on_sent", "on_failed"):
        if isinstance(expected.get(name), Mapping) and isinstance(found.get(name), list) and len(found[name]) == 1:
            found[name] = found[name][0]
    optional = OPTIONAL - expected.keys()
    return {name: value for name, value in found.items() if name not in optional}


def _named(found: Any, wanted: Any) -> Any:
    """Return of each message what is expected of it by name."""
    if isinstance(found, list) and isinstance(wanted, list):
        pairs = [_named(one, other) for one, other in zip(found, wanted, strict=False)]
        return [*pairs, *found[len(pairs) :]]
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return {name: value for name, value in found.items() if name in wanted}
    return found


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the lines of a diff, none if the outcome is as expected."""
    aligned = _aligned(expected, found)
    if _same(expected, aligned):
        return []
    before, after = (indented_json(dict(each)).splitlines() for each in (expected, aligned))
    return [line.rstrip("\n") for line in line_differences(before, after, ("expected", "found"))]


def unexpected_rejection(
    explanation: Explanation, expected: Mapping[str, Any], position: TextPosition | None
) -> Iterator[str]:
    """Yield why a message was rejected that should have been taken."""
    if explanation.rejection is not None and "rejected" not in expected:
        yield from rejection_lines(explanation.rejection, position, "message")


def _plain(value: Any) -> Any:
    """Return a value as a tests file can write it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, _PLAIN) else text_of(value)


def _aligned(expected: Any, found: Any) -> Any:
    """Return the actual value, written as the expected one where both are equal: 1.50 as 1.5, keys in order."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        names = [*(name for name in expected if name in found), *(name for name in found if name not in expected)]
        return {name: _member(name, expected[name], found[name]) if name in expected else found[name] for name in names}
    if isinstance(expected, list) and isinstance(found, list):
        pairs = [_aligned(one, other) for one, other in zip(expected, found, strict=False)]
        return [*pairs, *found[len(pairs) :]]
    return expected if _same(expected, found) else found


def _member(name: str, expected: Any, found: Any) -> Any:
    if name == "rejected" and isinstance(expected, Mapping) and isinstance(found, Mapping):
        parts = {key for key in _PARTS if key in expected and str(expected[key]) in str(found.get(key, ""))}
        return _aligned(expected, {key: expected[key] if key in parts else each for key, each in found.items()})
    return _aligned(expected, found)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    # True is 1 in Python, and no number in JSON.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)

"""The difference between two texts, line by line, in limited time: bodies may be hostile. Pure."""

from collections.abc import Iterator, Sequence
from difflib import unified_diff
from itertools import takewhile

#: Lines of the one text times lines of the other. `difflib` takes a few seconds for it at worst; for a text of some
#: hundred thousand lines, few of them different, it would take an hour.
MOST = 4_000 * 4_000


def differences(before: Sequence[str], after: Sequence[str], names: tuple[str, str]) -> Iterator[str]:
    """Return the lines of a unified diff; of long texts everything between the first and the last line that differ."""
    if len(before) * len(after) <= MOST:
        return unified_diff(before, after, *names, lineterm="")
    return _all_between(before, after, names)


def _all_between(before: Sequence[str], after: Sequence[str], names: tuple[str, str]) -> Iterator[str]:
    start = _same(before, after)
    end = _same(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if not (old or new):
        return
    yield f"--- {names[0]}"
    yield f"+++ {names[1]}"
    yield f"@@ -{start + 1},{len(old)} +{start + 1},{len(new)} @@"
    for sign, lines in (("-", old), ("+", new)):
        for line in lines:
            yield sign + line


def _same(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many lines at the beginning are the same."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))

"""Asks several far sides at once and keeps the order of the answers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from connectorlib.errors import Failed, Kind
from connectorlib.preflight.findings import Finding, Mark, failed

#: What finds out about one far side, and what it is called.
Group = tuple[str, Callable[[], Iterable[Finding]]]


def run(groups: Sequence[Group]) -> Iterator[Finding]:
    """Run all groups beside each other; yield their findings, group by group in order."""
    if not groups:
        return
    with ThreadPoolExecutor(len(groups), thread_name_prefix="check") as workers:
        for future in [workers.submit(_found, about, group) for about, group in groups]:
            yield from future.result()


def _found(about: str, group: Callable[[], Iterable[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        for each in group():  # one by one: what was found before a failure counts
            found.append(each)
    except Failed as error:
        found.append(failed(about, error.failure))
    except Exception as error:  # a bug of ours: what the others have found must be told all the same
        text = f"{type(error).__name__}: {error}"
        found.append(Finding(Mark.BAD, about, text, "this is a bug of check; please report it", Kind.UNKNOWN, "bug"))
    return found

"""Merges the settings of a division: own keys over those of divisions with the same queue, over the tenant's. Pure.

Objects are merged key by key. Divisions that share a queue share `source`, `batch`, `retry` and `hold_seconds` too; the
rules make sure that they do not contradict each other.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectorlib.config.json_source import Path

Section = Mapping[str, Any]

#: Objects that the tenant may set for all divisions.
FROM_TENANT = ("salesforce", "batch", "lanes", "limits", "retry", "reply")
#: Objects that divisions with the same queue share.
OF_THE_FLOW = ("source", "batch", "retry")
#: A plain value that they share.
HOLD = "hold_seconds"


class Merged:
    """The divisions of a document, which may have mistakes."""

    def __init__(self, data: Section) -> None:
        self.tenant = _section(data, "tenant")
        self.divisions = {name: each for name, each in _section(data, "divisions").items() if isinstance(each, Mapping)}

    def queue(self, name: str) -> str:
        """Return the source queue of a division."""
        return str(_section(self.divisions[name], "source").get("queue", f"sfconnector.{name}"))

    def sharing(self, name: str) -> list[str]:
        """Return the divisions with the same queue, this one included, in the order of the file."""
        return [each for each in self.divisions if self.queue(each) == self.queue(name)]

    def shared(self) -> Iterator[list[str]]:
        """Yield the divisions of each shared queue."""
        for name in self.divisions:
            names = self.sharing(name)
            if len(names) > 1 and names[0] == name:
                yield names

    def section(self, name: str, key: str) -> dict[str, Any]:
        """Return one object of a division, merged."""
        result: dict[str, Any] = {}
        for _, section in reversed(list(self._levels(name, key))):
            result.update(_section(section, key))
        if key == "source":
            result["queue"] = self.queue(name)
        return result

    def lanes(self, name: str) -> int:
        """Return how many lanes the flow of a division has: those of all divisions with the same queue, where one of
        them says how many."""
        counts = [self.section(each, "lanes").get("count", 1) for each in self.sharing(name)]
        return sum(counts) if max(counts) > 1 else 1

    def hold_seconds(self, name: str, default: float) -> float:
        given = (section[HOLD] for _, section in self._levels(name, HOLD) if HOLD in section)
        return float(next(given, default))

    def home(self, name: str, key: str, inner: str) -> Path:
        """Return the path of `inner` in the object where it is set; in the division itself if it is not set."""
        given = (path for path, section in self._levels(name, key) if inner in _section(section, key))
        return (*next(given, ("divisions", name)), key, inner)

    def _levels(self, name: str, key: str) -> Iterator[tuple[Path, Section]]:
        """Yield where this key may be set for a division, with the paths; the first one wins."""
        yield ("divisions", name), self.divisions[name]
        if key in OF_THE_FLOW or key == HOLD:
            for other in self.sharing(name):
                if other != name:
                    yield ("divisions", other), self.divisions[other]
        if key in FROM_TENANT or key == HOLD:
            yield ("tenant",), self.tenant


def paced(size: int, prefetch: int, rate: int, hold_seconds: float, lanes: int = 1, shards: int = 1) -> tuple[int, int]:
    """Return batch size and prefetch reduced for a rate of Cases per minute, so that no message waits longer for
    the rate than it may be held, in whichever lane, although each shard can fill a batch."""
    in_time = int(rate * hold_seconds / 60)
    size = max(1, min(size, rate, in_time // max(2, shards)))
    return size, max(1, min(prefetch, 2 * size * lanes, in_time))


def _section(data: Section, key: str) -> Section:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}

"""What holds for a division: its own keys over those of the divisions that share its queue, over the tenant's. Pure.

Whole objects are merged key by key. Divisions with one queue share its flow, so they say together how its messages are
taken (`source`, `batch`, `retry`, `hold_seconds`); the review makes sure that they do not contradict each other.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectorlib.config.json_source import Path

Section = Mapping[str, Any]

#: Objects that the tenant may say for all.
FROM_TENANT = ("salesforce", "batch", "limits", "retry", "reply")
#: What is about taking messages from a queue, and so about all divisions that share it.
OF_THE_FLOW = ("source", "batch", "retry")
#: The same for a plain value.
HOLD = "hold_seconds"


class Merged:
    """The divisions of one document. Works on whatever is readable of it."""

    def __init__(self, data: Section) -> None:
        self.tenant = _section(data, "tenant")
        self.divisions = {name: each for name, each in _section(data, "divisions").items() if isinstance(each, Mapping)}

    def queue(self, name: str) -> str:
        """Return the queue that a division's messages come from."""
        return str(_section(self.divisions[name], "source").get("queue", f"sfconnector.{name}"))

    def sharing(self, name: str) -> list[str]:
        """Return the divisions that have the same queue, this one included, in the order of the file."""
        return [each for each in self.divisions if self.queue(each) == self.queue(name)]

    def shared(self) -> Iterator[list[str]]:
        """Return the divisions of each queue that has several."""
        for name in self.divisions:
            its = self.sharing(name)
            if len(its) > 1 and its[0] == name:
                yield its

    def section(self, name: str, key: str) -> dict[str, Any]:
        """Return one object of a division with all that holds for it."""
        result: dict[str, Any] = {}
        for _, section in reversed(list(self._speakers(name, key))):
            result.update(_section(section, key))
        if key == "source":
            result["queue"] = self.queue(name)
        return result

    def hold_seconds(self, name: str, default: float) -> float:
        said = (section[HOLD] for _, section in self._speakers(name, HOLD) if HOLD in section)
        return float(next(said, default))

    def home(self, name: str, key: str, inner: str) -> Path:
        """Return the path at which `inner` of this object is said; in the division itself if it is nowhere."""
        said = (path for path, section in self._speakers(name, key) if inner in _section(section, key))
        return (*next(said, ("divisions", name)), key, inner)

    def _speakers(self, name: str, key: str) -> Iterator[tuple[Path, Section]]:
        """Return who may say this key for a division, with their paths; the first one wins."""
        yield ("divisions", name), self.divisions[name]
        if key in OF_THE_FLOW or key == HOLD:
            for other in self.sharing(name):
                if other != name:
                    yield ("divisions", other), self.divisions[other]
        if key in FROM_TENANT or key == HOLD:
            yield ("tenant",), self.tenant


def paced(size: int, prefetch: int, rate: int, hold_seconds: float) -> tuple[int, int]:
    """Given how many messages are taken and how many Cases a minute may be made of them, return what to take instead:
    nothing waits longer for its turn than a message is held."""
    in_time = int(rate * hold_seconds / 60)
    size = max(1, min(size, rate, in_time // 2))
    return size, max(1, min(prefetch, 2 * size, in_time))


def _section(data: Section, key: str) -> Section:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}

"""The loop: change an input, try it, keep it when the kind of answer is new."""

import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from tests.corpus import vectors
from tests.corpus.vectors import Vector
from tests.fuzz.mutation import Mutator
from tests.fuzz.target import Target

#: Of processor time, for one input of a few KB: the worst take milliseconds.
MOST_SECONDS = 2.0
#: Kinds of answers for each target; what is new after that many hardly is.
MOST_KINDS = 2000
#: Of an input that is kept in a file, and of all that are kept for one target.
MOST_BYTES_KEPT = 300
MOST_KEPT = 100


class TooLong(Exception):
    """An input took more processor time than it is worth."""


@dataclass(frozen=True)
class Finding:
    target: str
    data: bytes
    why: str


@dataclass
class Fuzzer:
    """Fuzzes one target. `pool` are the inputs that are changed, `kinds` the answers seen, each with its input."""

    target: Target
    random: Random
    pool: list[bytes] = field(default_factory=list)
    kinds: dict[str, bytes] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    tried: int = 0

    def __post_init__(self) -> None:
        self._mutator = Mutator(self.random, self.target.tokens)
        for data in [*self.target.seeds, *(vector.body for vector in kept(self.target.name))]:
            self.pool.append(data)
            self.attempt(data)

    def step(self) -> None:
        data = self._mutator.change(self.random.choice(self.pool), self.pool)
        if self.attempt(data) and len(self.pool) < MOST_KINDS:
            self.pool.append(data)

    def attempt(self, data: bytes) -> bool:
        """Try one input; return whether its answer is of a new kind."""
        self.tried += 1
        try:
            with limited(MOST_SECONDS):
                kind = self.target.check(data)
        except Exception as error:
            self._note(data, error)
            return False
        is_new = kind not in self.kinds
        if is_new or len(data) < len(self.kinds[kind]):
            self.kinds[kind] = data
        return is_new

    def _note(self, data: bytes, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        known = self.findings.get(where)
        if known is None or len(data) < len(known.data):
            self.findings[where] = Finding(self.target.name, data, f"{where}: {error}")

    def keep(self) -> int:
        """Add the inputs of new kinds to the corpus; return how many."""
        old = {vector.body for vector in kept(self.target.name)} | set(self.target.seeds)
        found = [data for data in self.kinds.values() if len(data) <= MOST_BYTES_KEPT and data not in old]
        new = sorted(found, key=len)[: max(0, MOST_KEPT - len(kept(self.target.name)))]
        for data in new:
            vectors.add(f"fuzz/{self.target.name}", Vector("either", data))
        return len(new)


def kept(target: str) -> list[Vector]:
    """Return what earlier runs have kept for a target."""
    file = f"fuzz/{target}"
    return vectors.read(file) if (vectors.FOLDER / f"{file}.vectors").exists() else []


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong in the block when it takes more processor time than that."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def fuzz(fuzzers: list[Fuzzer], seconds: float) -> None:
    """Give every target the same time, in turns."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fuzzer in fuzzers:
            turn = time.monotonic() + 0.1
            while time.monotonic() < turn:
                fuzzer.step()

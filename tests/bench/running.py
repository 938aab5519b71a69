"""Runs the cases: all contenders in turn, round after round, so that a slow minute of the machine meets all of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.bench.cases import Case
from tests.bench.contenders import Contender
from tests.bench.measuring import Measured, median
from tests.bench.services import Services

Say = Callable[[str], None]
Runs = dict[Contender, list[Measured]]


@dataclass(frozen=True)
class Outcome:
    """All runs of a case's contenders, in the order of the rounds."""

    case: Case
    connector: Sequence[Measured]
    limit: Sequence[Measured]
    naive: Sequence[Measured]

    @property
    def ratio(self) -> float:
        """Return the connector's speed as a share of the limit's."""
        return median(self.connector).rate / median(self.limit).rate

    @property
    def gain(self) -> float:
        """Return how many times as fast as the naive twin the connector is."""
        return median(self.connector).rate / median(self.naive).rate


@dataclass(frozen=True)
class Report:
    messages: int
    rounds: int
    seconds: float
    outcomes: Sequence[Outcome]


def run(cases: Sequence[Case], messages: int, rounds: int, say: Say) -> Report:
    """Measure the cases on services that are gone afterwards."""
    outcomes = []
    with Services() as services:
        for _, group in groupby(cases, key=lambda case: case.limit):
            together = list(group)
            runs = _measured(services, together, messages, rounds, say)
            outcomes += [Outcome(case, runs[case.connector], runs[case.limit], runs[case.naive]) for case in together]
    return Report(messages, rounds, 0.0, outcomes)


def _measured(services: Services, cases: Sequence[Case], messages: int, rounds: int, say: Say) -> Runs:
    order = _unique(it for case in cases for it in (case.limit, case.connector, case.naive))
    runs: Runs = {contender: [] for contender in order}
    for number in range(1, rounds + 1):
        say(f"{cases[0].name}{f' and {len(cases) - 1} more' if len(cases) > 1 else ''}: round {number} of {rounds}")
        for contender in order:
            runs[contender].append(contender.run(services, messages))
    return runs


def _unique(contenders: Iterable[Contender]) -> list[Contender]:
    return list(dict.fromkeys(contenders))

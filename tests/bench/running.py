"""Runs the cases: all contenders in turn, round after round, so that a slow minute of the machine meets all of them."""

import compileall
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.bench.cases import Case
from tests.bench.contenders import Contender
from tests.bench.machine import describe, is_busy
from tests.bench.measuring import ROOT, Measured, median
from tests.bench.services import Services

PACKAGES = ("connectorlib", "dbconnector", "sfconnector", "deadletterqueue")
Say = Callable[[str], None]
Runs = dict[Contender, list[Measured]]


@dataclass(frozen=True)
class Outcome:
    """All runs of a case's contenders, in the order of the rounds."""

    case: Case
    connector: Sequence[Measured]
    limit: Sequence[Measured]
    other: Sequence[Measured]

    @property
    def ratio(self) -> float:
        """Return the connector's speed as a share of the limit's."""
        return median(self.connector).rate / median(self.limit).rate

    @property
    def gain(self) -> float | None:
        """Return how many times as fast as the naive twin the connector is; None if there is none."""
        return median(self.connector).rate / median(self.other).rate if self.other else None

    @property
    def holds(self) -> bool:
        """Return whether it is as fast as it should be."""
        case = self.case
        return self.ratio >= (case.target or 0) and (self.gain or 0) >= (case.gain or 0)


@dataclass(frozen=True)
class Report:
    messages: int
    rounds: int
    seconds: float
    machine: Mapping[str, str]
    outcomes: Sequence[Outcome]


def run(cases: Sequence[Case], messages: int, rounds: int, say: Say) -> Report:
    """Measure the cases on services that are gone afterwards."""
    if is_busy():
        say("other work is going on on this machine: the ratios suffer, the figures even more")
    for package in PACKAGES:  # as pip does; a start may be kept from it (PYTHONDONTWRITEBYTECODE)
        compileall.compile_dir(ROOT / package, quiet=1)
    outcomes = []
    started = time.monotonic()
    with Services() as services:
        for _, group in groupby(cases, key=lambda case: case.limit):
            together = list(group)
            runs = _measured(services, together, messages, rounds, say)
            outcomes += [
                Outcome(case, runs[case.connector], runs[case.limit], runs[case.other] if case.other else [])
                for case in together
            ]
        machine = describe(services)
    return Report(messages, rounds, time.monotonic() - started, machine, outcomes)


def _measured(services: Services, cases: Sequence[Case], messages: int, rounds: int, say: Say) -> Runs:
    order = _unique(it for case in cases for it in (case.limit, case.connector, case.other) if it)
    runs: Runs = {contender: [] for contender in order}
    for number in range(1, rounds + 1):
        others = f" and {len(cases) - 1} more beside the same limit" if len(cases) > 1 else ""
        say(f"round {number} of {rounds}: {cases[0].name}{others}")
        for contender in order:
            runs[contender].append(contender.run(services, messages))
    return runs


def _unique(contenders: Iterable[Contender]) -> list[Contender]:
    return list(dict.fromkeys(contenders))

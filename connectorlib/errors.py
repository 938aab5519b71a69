"""Failures, named by what to do about them. Imports nothing of ours.

    Failed                    something went wrong; `failure` says what kind it is
    ├── ConfigurationError    the configuration file is wrong; `problems` lists every mistake
    └── Stale                 the deliveries in hand belong to a channel that is gone: drop them, settle nothing

Foreign errors (pika, ODBC, HTTP, parsers) become one of these where they enter, with `raise ... from`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What to do about a failure (docs/guarantees.md has the table)."""

    REJECT = "reject"  # this message will never pass: dead-letter at once
    RETRY = "retry"  # the same again may pass: back off, try again, then the blame rule
    UNAVAILABLE = "unavailable"  # the far side is down: pause, nothing is dead-lettered
    REFUSED = "refused"  # a log-in was refused: pause, probe slowly or not at all
    CONFIGURATION = "configuration"  # fails for every message: pause and say it loudly
    UNKNOWN = "unknown"  # not in any table, or a bug of ours: the blame rule


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure as a value, so that deciding about it needs no exception, clock or socket."""

    kind: Kind
    #: SQLSTATE, Salesforce error code, AMQP reply code, or one of our own words such as `not-decodable`.
    code: str
    #: What the far side said, as it said it (bounded where it is written down).
    text: str
    #: What was being done: `format`, `write[0]` or the statement's name. Successes are compared by it.
    place: str = ""
    #: The exact spot, for a person: `write[0].values.device <- device.name: no such field`.
    detail: str = ""

    def __str__(self) -> str:
        spot = f"{self.detail or self.place}: " if self.detail or self.place else ""
        return f"{spot}{self.code} {self.text}".rstrip()


class Failed(Exception):
    """Carries a `Failure` to the place where it is decided."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Stale(Exception):
    """The channel that delivered these messages is gone; the broker will deliver them again."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration file: `line` counts from 1, 0 is unknown."""

    line: int
    path: str
    text: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.path}: {self.text}" if self.path else f"{where}{self.text}"


class ConfigurationError(Failed):
    """The configuration cannot be used; `problems` has all that is wrong, in the order of the file."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        text = "\n".join(f"{file}: {problem}" for problem in problems)
        super().__init__(Failure(Kind.CONFIGURATION, "configuration", text))
        self.file = file
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return self.failure.text


def reject(code: str, text: str, *, place: str = "", detail: str = "") -> Failed:
    """Return the exception that dead-letters one message."""
    return Failed(Failure(Kind.REJECT, code, text, place, detail))

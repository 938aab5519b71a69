"""Failures, named by what to do about them. Imports `dataclass` alone of ours.

    Failed                    something went wrong; `failure` says what kind it is
    └── ConfigurationError    the configuration file is wrong; `problems` lists every mistake
    Stale                     the deliveries in work belong to a channel that is gone: drop them, settle nothing

Foreign errors (pika, ODBC, HTTP, parsers) become one of these where they enter, with `raise ... from`.
"""

from collections.abc import Sequence
from enum import StrEnum

from connectorlib.dataclass import dataclass

#: As `Failure.retry_after`: not before a person asks for it.
NEVER = float("inf")


class Kind(StrEnum):
    """What to do about a failure (docs/guarantees.md has the table)."""

    REJECT = "reject"  # this message will never pass: dead-letter at once
    RETRY = "retry"  # another attempt may pass: back off, try again, then the blame rule
    UNAVAILABLE = "unavailable"  # the target is down: pause, nothing is dead-lettered
    REFUSED = "refused"  # a log-in was refused: pause, probe slowly
    CONFIGURATION = "configuration"  # fails for every message: pause and report it
    FLOOD = "flood"  # a reject like so many before it that the messages are not the cause: pause, try one at a time
    UNKNOWN = "unknown"  # not in any table, or a bug of ours: the blame rule


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure as a value, so that deciding about it needs no exception, clock or socket."""

    kind: Kind
    #: An SQLSTATE, an error code of a target, an AMQP reply code, or a code of ours such as `not-decodable`.
    code: str
    #: The target's own text (bounded where it is written down).
    text: str
    #: Which step failed: `format`, `write[0]` or the name of a statement. Successes are counted by it.
    place: str = ""
    #: Where exactly, for a person: `write[0].values.device <- device.name: no such field`.
    detail: str = ""
    #: Seconds that the target wants to be left alone for; `NEVER`: another try would do harm.
    retry_after: float = 0.0
    #: How many messages were refused alike, in a flood.
    same: int = 0
    #: Whether the target rejects, or what is known of it does: a column, a field. False: the message alone is bad.
    by_target: bool = False

    def __str__(self) -> str:
        spot = f"{self.detail or self.place}: " if self.detail or self.place else ""
        return f"{spot}{self.code} {self.text}".rstrip()


class Failed(Exception):
    """Carries a `Failure` to where it is decided about."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Stale(Exception):
    """The channel that delivered these messages is gone; the broker will deliver them again."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration file; `line` counts from 1, 0 means unknown."""

    line: int
    path: str
    text: str
    #: The included file that it is in; "": the configuration itself.
    file: str = ""

    def __str__(self) -> str:
        where = " ".join([*([self.file] if self.file else []), *([f"line {self.line}"] if self.line else [])])
        where = f"{where}: " if where else ""
        return f"{where}{self.path}: {self.text}" if self.path else f"{where}{self.text}"


class ConfigurationError(Failed):
    """The configuration cannot be used; `problems` lists every mistake, in the order of the file."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        text = "\n".join(f"{file}: {problem}" for problem in problems)
        super().__init__(Failure(Kind.CONFIGURATION, "configuration", text))
        self.file = file
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return self.failure.text


def reject(code: str, text: str, *, place: str = "", detail: str = "", by_target: bool = False) -> Failed:
    """Return the exception that dead-letters one message. `by_target`: another target could take it, so that many alike
    pause the flow (the flood brake)."""
    return Failed(Failure(Kind.REJECT, code, text, place, detail, by_target=by_target))


def unavailable(code: str, text: str, *, place: str = "") -> Failed:
    """Return the exception that pauses a flow until its target is back."""
    return Failed(Failure(Kind.UNAVAILABLE, code, text, place))

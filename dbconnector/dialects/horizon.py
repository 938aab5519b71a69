"""What a database says of its open transactions, so that `follow` knows how far a table is complete.

Each dialect has its own question, with its own traps. This is for a database of which nothing is known: only its clock,
so that the overlap alone covers what is not committed yet.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from connectorlib.dataclass import dataclass
from dbconnector.watermark import Horizon, moment_of

PLACE = "select.follow"
#: By this application_name followers know each other: their own transactions never write to a followed table.
APPLICATION = "dbconnector follow"


class Session(Protocol):
    """A connection outside a transaction; the caller rolls back what is begun."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "") -> int: ...
    def query(
        self, sql: str, parameters: Sequence[Any] = (), *, fetch: int = 1000, place: str = "query"
    ) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]: ...
    def rollback(self) -> None: ...


@dataclass(frozen=True, slots=True)
class HorizonQuestion:
    """How a database is asked for the horizon of a followed column, and how a position is written in its SQL."""

    #: Given the session and the names of applications to ignore; raise Failed.
    ask: Callable[[Session, Sequence[str]], Horizon]
    bound: str = "{}"
    #: Whether moments are bound with their offset.
    zoned: bool = False
    #: Matches the texts that sort like their moments, where a column of any type holds texts.
    texts: str = ""


def rows_of(session: Session, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    return [row for _, rows in session.query(sql, parameters, place=PLACE) for row in rows]


def clock_only(sql: str) -> HorizonQuestion:
    """Return what asks for the time in UTC and nothing else."""

    def ask(session: Session, _ignore: Sequence[str]) -> Horizon:
        now = moment_of(rows_of(session, sql)[0][0])
        return Horizon(now, exact=False, latest=now)

    return HorizonQuestion(ask)


CLOCK = clock_only("SELECT CURRENT_TIMESTAMP")

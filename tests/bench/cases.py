"""What is measured: each case is the connector on some work, its limit, its naive twin, and the ratio it should have.

Cases with the same limit share its runs, and stand together so that they alternate with it.
"""

from dataclasses import dataclass

from tests.bench.contenders import Contender, Selecting, Subscribing
from tests.bench.load import Bad

DATABASES = ("postgresql", "mariadb", "sqlite")
TITLES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "sqlite": "SQLite"}


@dataclass(frozen=True)
class Case:
    name: str
    connector: Contender
    limit: Contender
    naive: Contender
    #: The least ratio to the limit; None where none was set.
    target: float | None = None
    quick: bool = False


def subscribing() -> list[Case]:
    made = []
    for database in DATABASES:
        hand, naive = Subscribing("limit", database), Subscribing("naive", database)
        title = TITLES[database]
        name = f"subscribe, JSON → {title}"
        made.append(
            Case(name, Subscribing("connector", database), hand, naive, 0.85 if database == "postgresql" else 0.8, True)
        )
        if database == "postgresql":
            made += [
                Case(
                    f"{name}, {text}",
                    Subscribing("connector", database, **options),
                    hand,
                    naive,
                    target,
                    target is not None,
                )
                for text, options, target in (
                    ("inbox", {"inbox": True}, 0.6),
                    ("1 % refused", {"bad": Bad("refused", 100)}, 0.35),
                    ("10 % refused", {"bad": Bad("refused", 10)}, None),
                    ("1 % undecodable", {"bad": Bad("undecodable", 100)}, 0.75),
                    ("10 % undecodable", {"bad": Bad("undecodable", 10)}, None),
                )
            ]
    return made


def selecting() -> list[Case]:
    made = []
    for database in DATABASES:
        name, limit = f"select, {TITLES[database]} → JSON", Selecting("limit", "postgresql")
        for text, on_sent, target in (("", False, 0.7), (", on_sent", True, 0.35)):
            quick = database == "postgresql"
            made.append(
                Case(
                    name + text,
                    Selecting("connector", database, on_sent),
                    limit,
                    Selecting("naive", database, on_sent),
                    target,
                    quick,
                )
            )
    return made


CASES: list[Case] = [*subscribing(), *selecting()]

"""How few attempts a batch takes whose bad messages the database names, and that a wrong name costs nobody."""

from collections.abc import Sequence
from typing import Any

import pytest

from connectorlib.messages import DONE, Again, Dead, Outcome
from dbconnector.settings import Write
from tests.integration.test_database_sink import Bench, deliveries

COLUMNS = ("id", "device", "value", "n", "day", "amount", "site", "code")
NAMES = ", ".join(COLUMNS)
INSERT = Write(f"INSERT INTO pump ({NAMES}) VALUES ({', '.join(f':{name}' for name in COLUMNS)})")
BAD = (3, 130, 131, 317, 499)


def row(number: int, **own: Any) -> dict[str, Any]:
    plain = {"device": "p-1", "value": 1.5, "n": 5, "day": "2026-01-01", "amount": 3, "site": 1, "code": f"c{number}"}
    return {"id": number} | plain | own


@pytest.fixture(params=["postgres_db", "maria_db"])
def pump(request: pytest.FixtureRequest) -> Any:
    database: Any = request.getfixturevalue(request.param)
    database.execute("CREATE TABLE site (id integer PRIMARY KEY)")
    database.execute("INSERT INTO site VALUES (1)")
    database.execute(
        "CREATE TABLE pump (id integer NOT NULL PRIMARY KEY, device varchar(10) NOT NULL, value numeric(12,4)"
        " CHECK (value < 1000), n integer, day date, amount numeric(5,2), site integer, code varchar(40) UNIQUE,"
        " FOREIGN KEY (site) REFERENCES site (id))"
    )
    return database


class Counted(Bench):
    """Counts the attempts."""

    tries = 0

    def __init__(self, database: Any, writes: Sequence[Write] = (INSERT,), **config: Any) -> None:
        super().__init__(database, writes, **config)
        execute = self.sink._execute

        def counting(*arguments: Any) -> Any:
            self.tries += 1
            return execute(*arguments)

        self.sink._execute = counting  # type: ignore[assignment,method-assign]


def dead(outcomes: Sequence[Outcome]) -> list[int]:
    return [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Dead)]


def ids(database: Any) -> list[int]:
    return [found for (found,) in database.rows("SELECT id FROM pump ORDER BY id")]


def test_five_bad_messages_of_500_take_few_attempts(pump: Any) -> None:
    pump.execute(f"INSERT INTO pump ({NAMES}) VALUES (9000, 'p', 1, 1, NULL, 1, 1, 'taken')")
    alone: list[tuple[dict[str, Any], int]] = [
        # All of them are found at the first refusal: one attempt for each, and one for the rest.
        ({"device": None}, 7),
        ({"device": "much too long"}, 7),
        ({"amount": 123456.5}, 7),
        ({"n": 99_999_999_999}, 7),
        # In order; what is equal is found at the first refusal.
        ({"site": 99}, 16),
        ({"code": "taken"}, 16),
        ({"day": "2026-13-45"}, 16),
        # One at each refusal: it, those before it, and those after it.
        ({"value": 5000}, 16),
    ]
    found = {}
    for own, most in alone:
        bench = Counted(pump)
        outcomes = bench.write(*deliveries(*[row(n, **(own if n in BAD else {})) for n in range(500)]))
        found[str(own)] = (dead(outcomes) == list(BAD), bench.tries <= most, bench.tries)
        assert ids(pump) == [n for n in range(500) if n not in BAD] + [9000]
        pump.execute("DELETE FROM pump WHERE id < 9000")
        bench.odbc.close()
    assert [own for own, (right, few, _) in found.items() if not (right and few)] == [], found


def test_the_next_batch_begins_with_those_whose_values_do_not_fit(pump: Any) -> None:
    bench = Counted(pump)
    for start in (0, 500, 1000):
        bench.tries = 0
        bodies = [row(start + n, **({"device": "much too long"} if n in BAD else {})) for n in range(500)]
        assert dead(bench.write(*deliveries(*bodies))) == list(BAD)
    assert bench.tries == 6
    assert bench.write(*deliveries(*[row(n) for n in range(2000, 2500)])) == [DONE] * 500


def test_a_message_whose_text_imitates_a_refusal_accuses_no_other(pump: Any) -> None:
    pump.execute(f"INSERT INTO pump ({NAMES}) VALUES (9000, 'p', 1, 1, NULL, 1, 1, 'taken')")
    texts = [
        "Key (id)=(2) already exists",
        'null value in column "id"',
        "' cannot be null at row 3 (1062)",
        "Failing row contains (4, p-1",
    ]
    for text in texts:
        bench = Counted(pump)
        bodies = [row(n, **({"code": text, "value": 5000} if n == 20 else {})) for n in range(40)]
        assert dead(bench.write(*deliveries(*bodies))) == [20]
        bodies = [row(n, **({"code": text} if n in (25, 30) else {})) for n in range(40, 80)]
        bodies[25]["code"] = bodies[30]["code"] = text
        assert dead(bench.write(*deliveries(*bodies))) == [30]
        pump.execute("DELETE FROM pump WHERE id < 9000")
        bench.odbc.close()


def test_the_messages_around_a_named_one_keep_their_order(pump: Any) -> None:
    """Of two rows of one key the first is written, wherever a refusal sees the second."""
    bench = Counted(pump)
    bodies = [row(n % 100, code=f"c{n}", device=None if n == 70 else "p-1") for n in range(120)]
    assert dead(bench.write(*deliveries(*bodies))) == [70, *range(100, 120)]
    assert pump.rows("SELECT code FROM pump WHERE id = 5") == [("c5",)]


def test_one_that_fits_when_it_is_tried_first_still_has_its_turn(pump: Any) -> None:
    """The hint is wrong on purpose: it names a message that passes, and the second row of a key."""
    bench = Counted(pump)
    bench.write(*deliveries(row(1000)))
    hints: Any = bench.sink._hints
    hints.misfits = lambda units, _failure: [3, 4][: len(units)] if len(units) > 1 else []
    bodies = [row(n % 9, code=f"c{n}") for n in range(12)]
    assert dead(bench.write(*deliveries(*bodies))) == [9, 10, 11]
    assert pump.rows("SELECT code FROM pump WHERE id = 0") == [("c0",)]


def test_one_that_is_refused_only_because_it_is_tried_first_still_has_its_turn(pump: Any) -> None:
    """The hint is wrong on purpose: what it names needs a row of the same batch."""
    pump.execute("CREATE TABLE part (id integer PRIMARY KEY, whole integer, FOREIGN KEY (whole) REFERENCES part (id))")
    bench = Counted(pump, [Write("INSERT INTO part (id, whole) VALUES (:id, :whole)")])
    bench.write(*deliveries({"id": 100, "whole": None}))
    hints: Any = bench.sink._hints
    hints.misfits = lambda units, _failure: [1] if len(units) > 1 else []
    bodies = [{"id": 1, "whole": None}, {"id": 2, "whole": 1}, {"id": 3, "whole": 99}, {"id": 4, "whole": 2}]
    assert dead(bench.write(*deliveries(*bodies))) == [2]
    assert pump.rows("SELECT id FROM part ORDER BY id") == [(1,), (2,), (4,), (100,)]


def test_a_flood_of_values_that_do_not_fit_is_one(pump: Any) -> None:
    bench = Counted(pump, flood=10)
    outcomes = bench.write(*deliveries(*[row(n, device="much too long") for n in range(60)]))
    assert len(dead(outcomes)) < 10
    assert isinstance(outcomes[-1], Again)


@pytest.mark.parametrize("every", [7, 5])
def test_as_many_as_a_flood_has_are_none_if_others_pass_between_them(pump: Any, every: int) -> None:
    bench = Counted(pump, flood=10)
    outcomes = bench.write(
        *deliveries(*[row(n, device="too long a text" if n % every == 0 else "p") for n in range(60)])
    )
    assert dead(outcomes) == list(range(0, 60, every))
    assert outcomes.count(DONE) == len(ids(pump)) == 60 - len(dead(outcomes))


def test_a_statement_that_runs_message_by_message_names_the_one_that_failed(pump: Any) -> None:
    for n in range(300):
        pump.execute(f"INSERT INTO pump (id, device, value) VALUES ({n}, 'p', 0)")
    bench = Counted(pump, [Write("UPDATE pump SET value = :value WHERE id = :id", multi_row=False)])
    bodies = [row(n, value=5000 if n in (50, 200) else n) for n in range(300)]
    assert dead(bench.write(*deliveries(*bodies))) == [50, 200]
    assert bench.tries <= 7


def test_a_set_of_updates_with_refused_ones_is_divided(pump: Any) -> None:
    for n in range(300):
        pump.execute(f"INSERT INTO pump (id, device, value) VALUES ({n}, 'p', 0)")
    bench = Counted(pump, [Write("UPDATE pump SET value = :value WHERE id = :id")])
    bodies = [row(n, value=5000 if n in (50, 200) else n) for n in range(300)]
    assert dead(bench.write(*deliveries(*bodies))) == [50, 200]
    assert bench.tries <= 2 * 2 * 9  # two searches in 300, of at most nine halvings each

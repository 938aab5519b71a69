"""An unknown driver is tried: with drivers that alter values in the ways that were seen."""

from decimal import Decimal
from typing import Any

import pyodbc
import pytest

from connectorlib.errors import Failed, Kind
from dbconnector.odbc.driver_trial import try_driver


class Driver:
    """Answers questions of one form, and alters values on the way."""

    def __init__(self, form: str, alter: Any, alter_utf8: Any = None) -> None:
        self._form = form
        self._alter = alter
        self._alter_utf8 = alter_utf8 or alter
        self.utf8 = False

    def ask(self, sql: str, value: Any) -> Any:
        if self._form not in sql:
            raise pyodbc.Error("42000", "what is that?")
        return (self._alter_utf8 if self.utf8 else self._alter)(value)

    def use_utf8(self) -> None:
        self.utf8 = True


def as_it_is(value: Any) -> Any:
    return value


def four_bytes_wide(value: Any) -> Any:
    return value[::2] if isinstance(value, str) else value


def unsupported(value: Any) -> Any:
    if isinstance(value, str):
        raise pyodbc.Error("HYC00", "unknown type of parameter")
    return value


def undecodable(value: Any) -> Any:
    return value.encode("latin-1").decode("utf-8") if isinstance(value, str) else value


@pytest.mark.parametrize("form", ["SELECT CAST(? AS", "FROM DUAL", "VALUES ("])
def test_a_driver_that_alters_nothing_is_used_as_it_is(form):
    driver = Driver(form, as_it_is)
    assert try_driver(driver.ask, driver.use_utf8, "x") == (True, [])
    assert not driver.utf8


@pytest.mark.parametrize(
    "alter", [str, lambda value: f"{value}  ", lambda value: value if isinstance(value, str) else str(value)]
)
def test_blanks_at_the_end_and_numbers_as_text_are_the_same_values(alter):
    driver = Driver("SELECT", alter)
    assert try_driver(driver.ask, driver.use_utf8, "x") == (True, [])


def test_a_form_that_the_server_does_not_understand_proves_nothing():
    driver = Driver("no such form", as_it_is)
    assert not try_driver(driver.ask, driver.use_utf8, "x").understood


@pytest.mark.parametrize(
    "alter", [four_bytes_wide, undecodable, unsupported, lambda value: None if value == "pump-2" else value]
)
def test_text_that_comes_back_changed_goes_as_utf8(alter):
    driver = Driver("SELECT", alter, as_it_is)
    assert try_driver(driver.ask, driver.use_utf8, "x") == (True, [])
    assert driver.utf8


@pytest.mark.parametrize(
    "alter",
    [
        four_bytes_wide,
        lambda value: 0 if isinstance(value, int) else value,
        lambda value: -value if value == 2**31 - 1 else value,
        lambda value: round(value, 2) if isinstance(value, Decimal) else value,
        lambda value: "nonsense" if isinstance(value, Decimal) else value,
    ],
)
def test_a_driver_that_alters_values_is_refused_by_name(alter):
    driver = Driver("SELECT", alter)
    with pytest.raises(Failed) as caught:
        try_driver(driver.ask, driver.use_utf8, "Virtuoso 7")
    failure = caught.value.failure
    assert (failure.kind, failure.code, failure.place) == (Kind.CONFIGURATION, "driver", "database.connection")
    assert failure.text.startswith("Virtuoso 7 gives")

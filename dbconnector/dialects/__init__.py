"""One module per database. Each defines `DIALECT`, by which the package finds it: a new database is one new file."""

import pkgutil
import re
from functools import cache
from importlib import import_module

from dbconnector.dialects.base import GENERIC, UNKNOWN_DRIVER, Dialect, Driver

__all__ = [
    "GENERIC",
    "UNKNOWN_DRIVER",
    "Dialect",
    "Driver",
    "dialect_of_scheme",
    "driver_for",
    "find_driver",
    "find_server",
    "known",
]


@cache
def known() -> tuple[Dialect, ...]:
    """Return the dialects of all modules, in the order that is shown to people."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return tuple(sorted((m.DIALECT for m in modules if hasattr(m, "DIALECT")), key=lambda d: (d.order, d.name)))


def find_driver(name: str) -> tuple[Dialect, Driver]:
    """Given a driver's name as in odbcinst.ini, or the file of its library, return what is known of it."""
    for dialect in known():
        for driver in dialect.drivers:
            if re.search(driver.pattern, name, re.IGNORECASE):
                return dialect, driver
    return GENERIC, UNKNOWN_DRIVER


def find_server(says: str) -> Dialect | None:
    """Given what a server says of itself, return its dialect. The name that comes last counts: a server that speaks the
    protocol of another one says the other's name first."""
    found = [(max(at), dialect) for dialect in known() if (at := _positions(dialect.says, says))]
    return max(found, key=lambda each: each[0])[1] if found else None


def _positions(pattern: str, text: str) -> list[int]:
    return [match.start() for match in re.finditer(pattern, text, re.IGNORECASE)]


def driver_for(dialect: Dialect, driver: Driver, library: str) -> Driver:
    """Return how a driver is used for the server of a dialect, which may not be the one that it was made for."""
    return next((own for own in dialect.drivers if re.search(own.pattern, library, re.IGNORECASE)), driver)


def dialect_of_scheme(scheme: str) -> Dialect | None:
    return next((dialect for dialect in known() if scheme in dialect.schemes), None)

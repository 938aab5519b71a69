"""What an ODBC error means, as tables: the driver's own code first, then the SQLSTATE, then its class. Pure.

A text decides only where drivers give no code. `errors` of the configuration goes before all of it.
"""

import re
from collections.abc import Mapping, Sequence

from connectorlib.errors import Kind
from dbconnector.drivers import Driver

STATES: Mapping[str, Kind] = {
    # retry: serialization, deadlock, lock, cancelled by a time limit
    **dict.fromkeys(("40001", "40P01", "55P03", "55006", "57014", "HY018", "HYT00", "HY008"), Kind.RETRY),
    "40003": Kind.UNAVAILABLE,  # statement completion unknown
    "25006": Kind.UNAVAILABLE,  # read-only: a standby, or a primary just demoted
    "26000": Kind.UNAVAILABLE,  # PostgreSQL: a prepared statement that its pooler or a reset forgot; connect anew
    "HYT01": Kind.UNAVAILABLE,
    "54000": Kind.REJECT,  # PostgreSQL: a limit that this row exceeds, such as the size of an index entry
    **dict.fromkeys(("P0001", "P0002", "P0003", "P0004", "45000"), Kind.REJECT),
    # what pyodbc or the driver manager says of a value that cannot be bound
    **dict.fromkeys(("HY105", "HY004", "HY003", "HY104", "07006"), Kind.REJECT),
    "21S01": Kind.CONFIGURATION,  # as many columns as values: the statement
    "21S02": Kind.CONFIGURATION,
    "23001": Kind.REJECT,
}
CLASSES: Mapping[str, Kind] = {
    "08": Kind.UNAVAILABLE,
    "53": Kind.UNAVAILABLE,  # PostgreSQL: disk full, out of memory, too many connections
    "57": Kind.UNAVAILABLE,  # PostgreSQL: shutting down, crashed, starting up, database dropped
    "58": Kind.UNAVAILABLE,  # PostgreSQL: I/O error
    "21": Kind.REJECT,
    "22": Kind.REJECT,
    "23": Kind.REJECT,
    "27": Kind.REJECT,
    "44": Kind.REJECT,  # WITH CHECK OPTION
    "40": Kind.RETRY,
    "28": Kind.REFUSED,
    "07": Kind.CONFIGURATION,
    "0A": Kind.CONFIGURATION,
    "34": Kind.CONFIGURATION,
    "37": Kind.CONFIGURATION,
    "3D": Kind.CONFIGURATION,
    "3F": Kind.CONFIGURATION,
    "42": Kind.CONFIGURATION,
    "IM": Kind.CONFIGURATION,  # driver manager: no such driver, no such data source
    "HYC": Kind.CONFIGURATION,
}
#: psqlodbc gives 08001 and no SQLSTATE of the server for everything that goes wrong while connecting, so only the
#: text tells them apart. The server speaks the language of its lc_messages: in another one than English all of them
#: count as "unavailable", which pauses and probes as well.
_CONNECT_TEXTS: tuple[tuple[str, Kind], ...] = (
    (r"authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" does not exist", Kind.REFUSED),
    (r"is not permitted to log in|password .*expired|Access denied|Login failed", Kind.REFUSED),
    (r"database \".*\" does not exist|conflicts with other|invalid connection option", Kind.CONFIGURATION),
)
#: The driver manager itself: 01000 when a driver's library is missing.
_MANAGER_TEXTS: tuple[tuple[str, Kind], ...] = (
    (r"\[Driver Manager\].*(Can't open lib|file not found)", Kind.CONFIGURATION),
    (r"Unexpected EOF from the server", Kind.UNAVAILABLE),
    # MariaDB: of one parameter, under a code that means anything (1105).
    (r"longer than 'max_allowed_packet'", Kind.REJECT),
    (r"Attempt to use a closed connection", Kind.UNAVAILABLE),
    # psqlodbc, under HY000, when it finds out before it has asked the server anything.
    (r"connection (has been |is )?(lost|down|broken)|communication (error|down)", Kind.UNAVAILABLE),
    (r"parameter markers, but \d+ parameters were supplied", Kind.CONFIGURATION),
)
#: Characters of a driver's text that are kept.
TEXT = 1000
_KINDS = {kind.value: kind for kind in Kind}
_STATE = re.compile(r"[0-9A-Z]{5}")
_NATIVE = re.compile(r"\((-?\d+)\)\s*(?:\(SQL\w+\))?\s*$")


def read_error(args: Sequence[object]) -> tuple[str, int | None, str]:
    """Given the args of a pyodbc error, return SQLSTATE (may be empty), native code and text.

    Errors of the driver are (state, text), pyodbc's own the other way round or without a state.
    """
    parts = [str(part) for part in args]
    state = next((part for part in parts if _STATE.fullmatch(part)), "")
    text = " ".join(part for part in parts if part != state)
    native = _NATIVE.search(text)
    return state, int(native.group(1)) if native else None, text


def clean(text: str) -> str:
    """Return a driver's text on one line, bounded, without what it wraps around the server's words."""
    text = re.sub(r"\0.*?(?=( \(\d+\))?( \(SQL\w+\))?$)", "", text, flags=re.DOTALL)  # memory behind MariaDB's texts
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"^(\[[^\]]*\] ?)+", "", text)
    text = re.sub(r"(;? Error while (executing the query|preparing parameters))?( \(1\))? \(SQL\w+\)$", "", text)
    text = re.sub(r"( \(\d+\))\1+$", r"\1", text)  # sqliteodbc gives its code twice
    return text[:TEXT]


def classify(driver: Driver, state: str, native: int | None, text: str, *, connecting: bool = False) -> Kind:
    """Given an error as the driver told it, return what to do about it. Code before class, native before state."""
    kind = _by_code(driver, native) or _by_text(text, connecting) or _by_state(state)
    if connecting and (kind is Kind.RETRY or (kind is None and state == "HY000")):
        return Kind.UNAVAILABLE  # a time limit, or no words at all, while connecting: the server was not reached
    return kind or Kind.UNKNOWN


def _by_code(driver: Driver, native: int | None) -> Kind | None:
    return driver.natives.get(native) if driver.native_codes and native is not None else None


def _by_text(text: str, connecting: bool) -> Kind | None:
    for pattern, kind in (*_CONNECT_TEXTS, *_MANAGER_TEXTS) if connecting else _MANAGER_TEXTS:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return None


def _by_state(state: str) -> Kind | None:
    return STATES.get(state) or CLASSES.get(state[:3]) or CLASSES.get(state[:2])


def code_of(driver: Driver, state: str, native: int | None) -> str:
    """Return the code to show: the SQLSTATE, with the native code where the state alone says nothing."""
    vague = state in ("", "HY000", "01000") or (driver.native_codes and native in driver.natives)
    if native and driver.native_codes and vague and state[:2] not in ("22", "23"):
        return f"{state or 'HY000'}/{native}"
    return state or "HY000"


def override(errors: Mapping[str, str], state: str, native: int | None) -> str | None:
    """Return what `errors` of the configuration says: `23000/1062` before `23000` before `23`; None: nothing."""
    for key in (f"{state}/{native}", state, state[:2]):
        if key in errors:
            return errors[key].lower()
    return None


def overridden_kind(word: str | None) -> Kind | None:
    """Return the kind that an override means. `done` is a reject that the writer takes as *already there*."""
    return Kind.REJECT if word == "done" else _KINDS.get(word or "")

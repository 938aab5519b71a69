"""What an ODBC error means: the native code decides first, then the text, the SQLSTATE, and its class. Pure.

`errors` of the configuration takes precedence over all of them.
"""

import re
from collections.abc import Mapping, Sequence

from connectorlib.errors import Kind
from dbconnector.dialects.base import Dialect, Texts

STATES: Mapping[str, Kind] = {
    # retry: serialization, deadlock, lock, cancelled by a time limit
    **dict.fromkeys(("40001", "40P01", "55P03", "55006", "57014", "HY018", "HYT00", "HY008"), Kind.RETRY),
    "40003": Kind.UNAVAILABLE,  # statement completion unknown
    "25006": Kind.UNAVAILABLE,  # read-only: a standby, or a primary just demoted
    "26000": Kind.UNAVAILABLE,  # PostgreSQL: a prepared statement that its pooler or a reset forgot; connect again
    "HYT01": Kind.UNAVAILABLE,
    "54000": Kind.REJECT,  # PostgreSQL: a limit that this row exceeds, such as the size of an index entry
    **dict.fromkeys(("P0001", "P0002", "P0003", "P0004", "45000"), Kind.REJECT),
    # pyodbc and the driver manager: a value that cannot be bound
    **dict.fromkeys(("HY105", "HY004", "HY003", "HY104", "07006"), Kind.REJECT),
    "21S01": Kind.CONFIGURATION,  # as many columns as values: the statement
    "21S02": Kind.CONFIGURATION,
    "23001": Kind.REJECT,
}
CLASSES: Mapping[str, Kind] = {
    # PostgreSQL: 53 disk full, out of memory, too many connections; 57 shutting down, crashed, starting up, database
    # dropped; 58 I/O error.
    **dict.fromkeys(("08", "53", "57", "58"), Kind.UNAVAILABLE),
    **dict.fromkeys(("21", "22", "23", "27", "44"), Kind.REJECT),  # 44: WITH CHECK OPTION
    "40": Kind.RETRY,
    "28": Kind.REFUSED,
    # IM: the driver manager has no such driver or data source.
    **dict.fromkeys(("07", "0A", "34", "37", "3D", "3F", "42", "IM", "HYC"), Kind.CONFIGURATION),
}
#: What a person can do, where the kind alone would give the wrong advice: by SQLSTATE, or by native code after a slash.
_NO_ROOM = "free disk space on the database server"
_NO_MEMORY = "give the database server more memory or less load"
_TOO_MANY = "close unused connections, or raise the server's connection limit"
_READ_ONLY = "this server is read-only: is it a standby? Point database.connection to the primary"
_STARTING = "wait: the server is starting, stopping or recovering"
_POOLER = (
    "a connection pooler in transaction mode (PgBouncer) forgets prepared statements and settings of the session: "
    "connect to the server itself, or set pool_mode = session"
)
_NO_DRIVER = "install the driver, or correct Driver in database.connection: odbcinst -q -d lists the drivers"
ADVICE: Mapping[str, str] = {
    **dict.fromkeys(("53100", "/1021", "/1114", "/1030"), _NO_ROOM),
    **dict.fromkeys(("53200", "/1037", "/1038", "/1041"), _NO_MEMORY),
    **dict.fromkeys(("53300", "/1040", "/1203", "/1226"), _TOO_MANY),
    **dict.fromkeys(("25006", "/1290", "/1792", "/1836"), _READ_ONLY),
    **dict.fromkeys(("57P03", "57P01", "57P02", "/1053"), _STARTING),
    **dict.fromkeys(("26000", "42P05"), _POOLER),
    **dict.fromkeys(("01000", "IM002", "IM003"), _NO_DRIVER),  # 01000 is an error only where a library is missing
}
#: Where a code says too little, while connecting and always. A dialect has texts of its own.
CONNECT_TEXTS: Texts = ((r"Access denied|Login failed", Kind.REFUSED),)
TEXTS: Texts = (
    # The driver manager: 01000 when a driver's library is missing.
    (r"\[Driver Manager\].*(Can't open lib|file not found)", Kind.CONFIGURATION),
    (r"Attempt to use a closed connection", Kind.UNAVAILABLE),
    # psqlodbc, under HY000, when it finds out before it has asked the server anything.
    (r"connection (has been |is )?(lost|down|broken)|communication (error|down)", Kind.UNAVAILABLE),
    (r"parameter markers, but \d+ parameters were supplied", Kind.CONFIGURATION),
)
#: Characters of a driver's text that are kept.
TEXT = 1000
_KINDS = {kind.value: kind for kind in Kind}
_STATE = re.compile(r"[0-9A-Z]{5}")
#: Behind the first of several messages: those after it are less exact, such as that the statement was terminated.
_NATIVE = re.compile(r"\((-?\d+)\)\s*(?:\(SQL\w+\)|$)")


def read_error(args: Sequence[object]) -> tuple[str, int | None, str]:
    """Given the args of a pyodbc error, return SQLSTATE (may be empty), native code and text.

    Errors of the driver are (state, text); pyodbc's own are in the reverse order, or have no state.
    """
    parts = [str(part) for part in args]
    state = next((part for part in parts if _STATE.fullmatch(part)), "")
    text = " ".join(part for part in parts if part != state)
    native = _NATIVE.search(text)
    return state, int(native.group(1)) if native else None, text


def clean(text: str) -> str:
    """Return a driver's text on one line, shortened, without what the driver adds to the server's message."""
    text = re.sub(r"\0.*?(?=( \(\d+\))?( \(SQL\w+\))?$)", "", text, flags=re.DOTALL)  # memory behind MariaDB's texts
    text = re.sub(r"\s+", " ", text)
    # What Microsoft's driver adds: the statement has been terminated, could not be prepared.
    text = re.sub(r" \(SQL\w+\); \[\w{5}\] .* \((3621|8180)\)$", "", text)
    text = re.sub(r"^(\[[^\]]*\] ?)+", "", text)
    text = re.sub(r"(;? Error while (executing the query|preparing parameters))?( \(1\))? \(SQL\w+\)$", "", text)
    text = re.sub(r"( \(\d+\))\1+$", r"\1", text)  # sqliteodbc gives its code twice
    return text[:TEXT]


def classify(dialect: Dialect, state: str, native: int | None, text: str, *, connecting: bool = False) -> Kind:
    """Return what to do about an error: by its native code, else by its text, its SQLSTATE, the class of that."""
    vague = state in dialect.vague_states
    kind = (
        dialect.natives.get(native or 0) or _by_text(dialect, text, connecting) or (None if vague else _by_state(state))
    )
    if connecting and (kind is Kind.RETRY or (kind is None and (vague or state == "HY000"))):
        return Kind.UNAVAILABLE  # a time limit, or no words at all, while connecting: the server was not reached
    return kind or Kind.UNKNOWN


def advice(code: str) -> str:
    """Return what a person can do about the code of a failure, such as `53100` or `HY000/1021`; "" where its kind says
    enough."""
    state, slash, native = code.partition("/")
    return ADVICE.get(slash + native) or ADVICE.get(state, "")


def _by_text(dialect: Dialect, text: str, connecting: bool) -> Kind | None:
    texts = (*dialect.texts, *TEXTS)
    if connecting:
        texts = (*dialect.connect_texts, *CONNECT_TEXTS, *texts)
    return next((kind for pattern, kind in texts if re.search(pattern, text, re.IGNORECASE)), None)


def _by_state(state: str) -> Kind | None:
    return STATES.get(state) or CLASSES.get(state[:3]) or CLASSES.get(state[:2])


def code_of(dialect: Dialect, state: str, native: int | None) -> str:
    """Return the code to show: the SQLSTATE, with the native code where the state alone says too little."""
    vague = state in ("", "HY000", "01000", *dialect.vague_states) or native in dialect.natives
    if native and dialect.natives and vague and state[:2] not in ("22", "23"):
        return f"{state or 'HY000'}/{native}"
    return state or "HY000"


def is_duplicate(dialect: Dialect, state: str, text: str) -> bool:
    """Return whether a unique key refused the row; `text` is clean."""
    return state == "23505" or (dialect.duplicate is not None and re.search(dialect.duplicate, text) is not None)


def override(errors: Mapping[str, str], state: str, native: int | None) -> str | None:
    """Return the word that `errors` of the configuration has for a code: `23000/1062` before `23000` before `23`."""
    for key in (f"{state}/{native}", state, state[:2]):
        if key in errors:
            return errors[key].lower()
    return None


def overridden_kind(word: str | None) -> Kind | None:
    """Return the kind of an override. `done` is a reject that the writer takes as *already there*."""
    return Kind.REJECT if word == "done" else _KINDS.get(word or "")

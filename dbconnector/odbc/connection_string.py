"""The keywords of an ODBC connection: parsed, merged with a driver's defaults, quoted, and hidden. Pure."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from math import ceil

from connectorlib.dataclass import dataclass
from connectorlib.service.redaction import is_secret_name
from dbconnector.dialects.base import BRACED, Driver


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds after which a call must have ended; each longer than the one before it."""

    login: int = 10
    lock: float = 20
    statement: int = 60
    #: Of a silent connection. Longer than a statement, so that the server's clearer error comes first.
    socket: int = 75

    def words(self) -> dict[str, int]:
        """Return the values of `{login_s}`, `{lock_ms}` and so on in the texts of dialects and drivers."""
        seconds = asdict(self)
        whole = {f"{name}_s": ceil(value) for name, value in seconds.items()}
        return whole | {f"{name}_ms": int(value * 1000) for name, value in seconds.items()}


USUAL_LIMITS = TimeLimits()


def quote_value(value: str, braced: str = BRACED) -> str:
    """Return a value for a connection string, in braces only if it needs them (see `Driver.braced`). Raise ValueError
    for characters that no driver accepts."""
    if re.search(r"[\0\r\n]", value):
        raise ValueError("a connection value cannot hold a line break or NUL")
    if value == "" or not re.search(braced, value):
        return value
    return "{" + value.replace("}", "}}") + "}"


def split_connection(text: str) -> dict[str, str]:
    """Given `Driver=x;Pwd={a;b}`, return its keywords. Raise ValueError if it cannot be parsed."""
    pairs: dict[str, str] = {}
    rest = text.strip()
    while rest:
        match = re.match(r"\s*([^={};]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|(?!\{)[^;]*)\s*(?:;|$)", rest)
        if match is None:
            raise ValueError(f"not a keyword=value pair, after {', '.join(pairs) or 'the start'}")
        key, value = match.groups()
        pairs[key] = value[1:-1].replace("}}", "}") if value.startswith("{") else value.strip()
        rest = rest[match.end() :].lstrip("; \t")
    return pairs


def merge_defaults(
    driver: Driver, keywords: Mapping[str, str], limits: TimeLimits = USUAL_LIMITS, *, reading: bool = False
) -> dict[str, str]:
    """Return the connection's keywords with the driver's defaults under them; keywords are case-insensitive."""
    words = limits.words()
    forced = {key.lower() for key in driver.forced}
    kept = {key: str(value) for key, value in keywords.items() if key.lower() not in forced}
    given = {key.lower() for key in kept}
    table = {**driver.defaults, **(driver.reading if reading else {})}
    defaults = {key: value.format(**words) for key, value in table.items() if key.lower() not in given}
    return {**kept, **defaults, **driver.forced}


def join_connection(pairs: Mapping[str, str], braced: str = BRACED) -> str:
    """Return the connection string. Raise ValueError for a value that it cannot contain."""
    return ";".join(f"{key}={quote_value(value, braced)}" for key, value in pairs.items())


def secrets(keywords: Mapping[str, str]) -> list[str]:
    """Return the values among connection keywords that must not be shown."""
    return [value for key, value in keywords.items() if value and is_secret_name(key)]


def hide_in(text: str, keywords: Mapping[str, str]) -> str:
    """Return a text without the secrets among the keywords, replaced as whole words: one may be a single letter."""
    for value in secrets(keywords):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "***", text)
    return text


def hide_secrets(keywords: Mapping[str, str]) -> dict[str, str]:
    """Return the keywords fit to be printed."""
    return {key: "***" if is_secret_name(key) else value for key, value in keywords.items()}

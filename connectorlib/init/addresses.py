"""Addresses that a person writes in one line, as the configuration has them in several. Pure."""

import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_TLS_PORT = 5671
_EXAMPLE = "amqp://guest@127.0.0.1/"


class Address(NamedTuple):
    """`scheme://user@host:port/name`; missing parts are empty, or None."""

    scheme: str
    user: str
    host: str
    port: int | None
    name: str


def address(text: str, example: str) -> Address:
    """Return the parts of an address. Raise ValueError that shows the example; a password is refused."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"expected an address such as {example}") from error
    if parts.password is not None:
        raise ValueError("leave the password out: the configuration only says where it is found")
    if not parts.scheme or parts.query or parts.fragment:
        raise ValueError(f"expected an address such as {example}")
    return Address(parts.scheme.lower(), unquote(parts.username or ""), _host(parts), port, unquote(parts.path[1:]))


def broker(text: str) -> dict[str, Any]:
    """Return the broker's section of a configuration for `amqp://user@host/vhost`, without the password."""
    parts = address(text, _EXAMPLE)
    if parts.scheme not in ("amqp", "amqps") or not parts.host:
        raise ValueError(f"expected an address such as {_EXAMPLE}")
    tls = parts.scheme == "amqps"
    port = parts.port if parts.port is not None else _TLS_PORT if tls else None
    optional = {"tls": tls or None, "port": port}
    found = {"host": parts.host, **{key: value for key, value in optional.items() if value is not None}}
    return found | {"virtual_host": parts.name or "/", "username": parts.user or "guest"}


def identifier(text: str) -> str:
    """Return a name that SQL takes without quotes. Raise ValueError for another: quoting differs between databases."""
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r}: expected letters, digits and _ (put other names into the file afterwards)")
    return text


def _host(parts: SplitResult) -> str:
    """Return the host as it was written: urlsplit makes it lower case, which a DSN need not be."""
    host = re.sub(r":\d*$", "", parts.netloc.rpartition("@")[2])
    return unquote(host.removeprefix("[").removesuffix("]") if host.startswith("[") else host)

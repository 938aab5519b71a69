"""Addresses that a person writes in one line, as what the configuration says in several. Pure."""

import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_TLS_PORT = 5671


class Address(NamedTuple):
    """`scheme://user@host:port/name`, each part as it is meant; missing parts are empty, or None."""

    scheme: str
    user: str
    host: str
    port: int | None
    name: str


def address(text: str, example: str) -> Address:
    """Given an address, return its parts. Raise ValueError that shows the example; a password is refused."""
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
    """Given `amqp://user@host/vhost`, return what a configuration says of the broker, without the password."""
    example = "amqp://guest@127.0.0.1/"
    its = address(text, example)
    if its.scheme not in ("amqp", "amqps") or not its.host:
        raise ValueError(f"expected an address such as {example}")
    found: dict[str, Any] = {"host": its.host}
    if its.port is not None:
        found["port"] = its.port
    if its.scheme == "amqps":
        found["tls"] = True
        found.setdefault("port", _TLS_PORT)
    return found | {"virtual_host": its.name or "/", "username": its.user or "guest"}


def identifier(text: str) -> str:
    """Return a name that SQL takes without quotes. Raise ValueError for another: quoting differs between databases."""
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r}: expected letters, digits and _ (put other names into the file afterwards)")
    return text


def _host(parts: SplitResult) -> str:
    """Return the host as it was written: urlsplit makes it lower case, which a DSN need not be."""
    place = parts.netloc.rpartition("@")[2]
    host = re.sub(r":\d*$", "", place)
    return unquote(host.removeprefix("[").removesuffix("]") if host.startswith("[") else host)

"""Broker addresses: `name`, `name:port`, `10.0.0.5:5671`, `[::1]:5672`, `::1`. Pure."""

import re
from ipaddress import ip_address

_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.%\w]+)\](?::(.*))?")
#: A reference that offline commands leave as it is written.
_REFERENCE = re.compile(r"\$\{[^}]*\}")
_NAME = re.compile(r"[^\s/@:\[\]]+")


def parse_host(text: str) -> tuple[str, int | None]:
    """Return name and port (None when not given, or for a text with a reference). Raise ValueError for any other
    text."""
    if _REFERENCE.search(text):
        return text, None
    if "://" in text or "@" in text or "/" in text:
        raise ValueError("expected only the host: port, virtual_host, username and password have keys of their own")
    if "," in text or ";" in text:
        raise ValueError('several hosts are a list, such as ["rabbit1", "rabbit2"]')
    bracketed = _BRACKETS.fullmatch(text)
    if bracketed:
        return bracketed[1], _port(bracketed[2])
    if text.count(":") > 1:
        return _address(text), None
    name, _, port = text.partition(":")
    if _NAME.fullmatch(name) is None:
        raise ValueError("expected a host name or address, such as rabbit1 or rabbit1:5672")
    return name, _port(port if ":" in text else None)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_link_local(host: str) -> bool:
    """Return whether an address leads to what only this machine's network has, such as a cloud's metadata service."""
    try:
        return ip_address(host.partition("%")[0]).is_link_local
    except ValueError:
        return False


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:
        raise ValueError("expected a port from 1 to 65535 behind the colon")
    return int(text)


def _address(text: str) -> str:
    if "[" in text or "]" in text or re.fullmatch(r"[0-9A-Fa-f:.]+(%\w+)?", text) is None:
        raise ValueError("expected an IPv6 address in brackets, such as [2001:db8::5]:5672")
    return text

"""Where a browser's request comes from: whether its `Host` is ours, and whether a page of ours sent its form. Pure."""

import ipaddress
from collections.abc import Container
from urllib.parse import urlsplit

#: The name that a browser on this machine uses.
LOCAL = "localhost"


def is_strange_host(host: str | None, names: Container[str] = (LOCAL,)) -> bool:
    """Return whether the header Host is neither an address nor one of `names` (lower case). A foreign name that
    resolves to this server (DNS rebinding) would make another site share our origin."""
    name = urlsplit(f"//{host or ''}").hostname if _is_host(host) else None
    return name is None or (name not in names and not _is_address(name))


def is_foreign_form(host: str | None, origin: str | None, site: str | None) -> bool:
    """Return whether a form was sent by a foreign page, given the headers Host, Origin and Sec-Fetch-Site. Old browsers
    and other clients send neither of the latter; then it is not known to be foreign."""
    if site not in (None, "same-origin", "none"):
        return True
    return origin is not None and _authority(origin) != (host or "").lower()


def _authority(origin: str) -> str | None:
    """Return the host and port of an origin; None for what is none, such as `http://[`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_host(host: str | None) -> bool:
    try:
        return bool(host) and urlsplit(f"//{host}").netloc == host and "@" not in str(host)
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

"""What a schema cannot express of the broker, of TLS files and of addresses, such as rules for two values at once."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from connectorlib.config import file_modes
from connectorlib.config.json_source import Path
from connectorlib.config.review import Review
from connectorlib.config.sections import (
    PLAIN_PORT,
    TLS_PORT,
    host_texts,
    in_folder,
)
from connectorlib.values.hosts import is_loopback, parse_host

_OTHER_PORTS: Mapping[int | None, str] = {
    15672: "the management API",
    15671: "the management API",
    1883: "MQTT",
    8883: "MQTT",
}


def review_broker(review: Review, path: Path) -> None:
    section = review.section(*path)
    found = [_review_host(review, path, section, at, text) for at, text in enumerate(host_texts(section))]
    for port in {*found, section.get("port")} & _OTHER_PORTS.keys():
        text = f"{port} is the port of {_OTHER_PORTS[port]}; that of AMQP is {PLAIN_PORT}, with TLS {TLS_PORT}"
        review.warn((*path, "port" if port == section.get("port") else "host"), text)
    if None not in found:
        _review_tls(review, path, section, {port for port in found if port})
    if section.get("auth") == "external":
        _review_external(review, path, section)
    if isinstance(section.get("token"), dict):
        _review_token(review, path, section)
    for key in ("exchange", "queue"):
        if str(section.get("dead_letter", {}).get(key, "")).startswith("amq."):
            review.problem((*path, "dead_letter", key), "names that begin with amq. are reserved by the broker")
    if len({section[key] for key in ("virtual_host", "vhost") if key in section}) > 1:
        review.problem((*path, "vhost"), "differs from virtual_host; remove one of the two")
    if section.get("heartbeat", 20) < 5:
        review.warn((*path, "heartbeat"), "below 5 seconds, a busy network is mistaken for a dead connection")


def _review_host(review: Review, path: Path, section: Mapping[str, Any], at: int, text: str) -> int | None:
    """Return the port of a host, 0 if it has none, None if the host is wrong."""
    where: Path = (*path, "host", at) if isinstance(section.get("host"), list) else (*path, "host")
    host = review.attempt(where, lambda: parse_host(text))
    return None if host is None else host[1] or section.get("port", 0)


def _review_tls(review: Review, path: Path, section: Mapping[str, Any], ports: set[int]) -> None:
    tls = section.get("tls")
    if tls is None and TLS_PORT in ports and len(ports | {section.get("port", TLS_PORT)}) > 1:
        review.missing(path, "tls", f": some hosts have port {TLS_PORT}, others not; say true or false")
    if tls is False and ports == {TLS_PORT}:
        review.warn((*path, "tls"), f"off, although {TLS_PORT} is the port for TLS")
    if (tls is True or isinstance(tls, dict)) and ports == {PLAIN_PORT}:
        review.warn((*path, "tls"), f"on, although {PLAIN_PORT} is the port without TLS")
    if isinstance(tls, dict):
        _review_tls_files(review, (*path, "tls"), tls)


def _review_external(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    tls = section.get("tls")
    if not isinstance(tls, dict):
        review.missing(path, "tls", ': "auth": "external" logs in with the certificate that tls.cert names')
    elif "cert" not in tls:
        review.missing((*path, "tls"), "cert", ': "auth": "external" logs in with it')
    for key, other in (("username", "password"), ("password", "username")):
        if key in section and other not in section:
            review.missing(path, other, f': with "auth": "external", {key} is for the management API, which needs both')


def _review_token(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    for key in ("password", "username"):
        if key in section:
            review.problem((*path, key), "the token is used to log in; remove this")
    if section.get("auth") == "external":
        review.problem((*path, "token"), 'no token with "auth": "external", where the certificate is the login')
    token, here = section["token"], (*path, "token")
    if "url" in token:
        review_address(review, (*here, "url"), token["url"], "https://login.example.com/oauth2/token")
    if "ca" in token.get("tls", {}):
        review_ca(review, (*here, "tls", "ca"), token["tls"]["ca"])


def review_address(review: Review, path: Path, url: str, example: str) -> SplitResult | None:
    """Return the parts of an address to which secrets are sent; add a problem and return None if it is not one. It is
    not quoted, for it may come from a secret."""
    if path in review.document.pending:
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a bad port
    except ValueError:
        review.problem(path, f"expected an address such as {example}")
        return None
    if not parts.hostname or parts.username is not None or parts.fragment:
        review.problem(path, f"expected only the address, such as {example}")
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        review.problem(path, "expected https://; http:// only for this machine (127.0.0.1)")
    else:
        return parts
    return None


def _review_tls_files(review: Review, path: Path, tls: Mapping[str, Any]) -> None:
    if "key" in tls and "cert" not in tls:
        review.missing(path, "cert", ": a key needs its certificate")
    if tls.get("verify") is False:
        review.warn(
            (*path, "verify"),
            "the broker's certificate is not verified: anyone on the network path can read everything",
        )
    if "ca" in tls:
        review_ca(review, (*path, "ca"), tls["ca"])
    for key in ("cert", "key"):
        if key in tls:
            review_file(review, (*path, key), tls[key])
    private = "key" if "key" in tls else "cert"  # a certificate's file may hold its key too
    if private in tls:
        file = in_folder(tls[private], review.document.folder)
        if file_modes.holds_key(file) and file_modes.is_open(file):
            review.problem((*path, private), f"a private key in a file that is not private: {file_modes.advice(file)}")


def review_ca(review: Review, path: Path, file: str) -> None:
    """Add a problem for a file that cannot be read, or is not one of certificates."""
    name = in_folder(file, review.document.folder)
    if review_file(review, path, file):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(name)
        except ssl.SSLError:
            review.problem(path, f"{name} holds no certificates as PEM text, which begins with -----BEGIN CERTIFICATE")


def review_file(review: Review, path: Path, file: str) -> bool:
    """Return whether a file can be read; add a problem if it cannot, unless its name is not known."""
    if path in review.document.pending:
        return False
    name = in_folder(file, review.document.folder)
    try:
        with open(name, "rb", opener=file_modes.regular):
            return True
    except OSError as error:
        review.problem(path, f"{name} cannot be read: {error.strerror}")
        return False

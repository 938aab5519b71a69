"""Certificates: when that of a server, or one in a PEM file, expires, and its key. The only module that parses them."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from connectorlib.preflight.findings import Finding, bad, good, odd
from connectorlib.shared_settings import Tls

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: The time left that is worth a warning; automatic renewal happens earlier.
SOON = timedelta(days=21)
TIMEOUT_S = 5.0
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def of_server(host: str, port: int, tls: Tls) -> datetime | None:
    """Return when a server's certificate expires; None if it has none. Verifies nothing, and sends no secret."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=tls.server_name or host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
        return None if shown is None else _end(_loaded(shown))
    except (OSError, ValueError):
        return None


def in_pem(text: str) -> datetime | None:
    """Return when the first of the certificates in a PEM text expires; None without a readable one."""
    blocks = [_BEGIN + part.partition(_END)[0] + _END for part in text.split(_BEGIN)[1:]]
    try:
        return min((_end(_loaded(block)) for block in blocks), default=None)
    except ValueError:
        return None


def subject_in_pem(text: str) -> str:
    """Return the subject of the first certificate in a PEM text, such as CN=connector,O=plant; "" without one."""
    try:
        return _loaded(text).subject.rfc4514_string()
    except ValueError:
        return ""


def public_key(pem: str) -> str:
    """Return the public key of a certificate as PEM; a text that is no certificate is returned as it is. Raise
    ValueError if it cannot be read."""
    if _BEGIN not in pem:
        return pem
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # late, as below

    key = _loaded(pem).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _loaded(certificate: str | bytes) -> "Certificate":
    """Return a certificate given as PEM or as DER."""
    from cryptography import x509  # late: it takes time, and most connections do without certificates

    if isinstance(certificate, bytes):
        return x509.load_der_x509_certificate(certificate)
    return x509.load_pem_x509_certificate(certificate.encode())


def _end(certificate: "Certificate") -> datetime:
    aware: datetime | None = getattr(certificate, "not_valid_after_utc", None)  # new in cryptography 42
    return aware or certificate.not_valid_after.replace(tzinfo=UTC)


def finding(about: str, end: datetime, do: str, now: datetime | None = None) -> Finding:
    """Return the finding about a certificate that expires then; `do` says how to renew it."""
    left = end - (now or datetime.now(UTC))
    day = f"{end:%Y-%m-%d}"
    if left <= timedelta(0):
        return bad(about, f"expired on {day}", do)
    if left < SOON:
        return odd(about, f"expires on {day}, in {left.days} days", do)
    return good(about, f"good until {day}")

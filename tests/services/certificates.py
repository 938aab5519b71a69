"""A private certificate authority, and certificates of it as files."""

import ipaddress
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, as names of PEM files."""

    cert: str
    key: str


class Authority:
    """Issues certificates; `ca` is the file of its own."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        own = self._builder(self._name, self._key.public_key(), timedelta(days=2))
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        own = own.add_extension(_SIGNS, critical=True)
        file = folder / "ca.pem"
        file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        self.ca = str(file)

    def issue(self, host: str, *others: str, client: bool = False, valid: timedelta = timedelta(days=2)) -> Certificate:
        """Return a certificate for host names or addresses, for servers or for clients; `valid` from now on."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        builder = self._builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key.public_key(), valid
        ).add_extension(x509.SubjectAlternativeName([_general_name(each) for each in (host, *others)]), critical=False)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        stem = f"{next(self._numbers)}"
        cert, private = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form, kept = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, kept))
        for file in (cert, private):
            file.chmod(0o644)  # the broker may run as another user
        return Certificate(str(cert), str(private))

    def _builder(self, name: x509.Name, key: rsa.RSAPublicKey, valid: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        # Python 3.13 insists on both.
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        return builder.not_valid_before(now - timedelta(days=30)).not_valid_after(now + valid)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

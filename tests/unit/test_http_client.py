"""Which proxy a URL is reached through, and whose certificates are trusted."""

import ssl
import subprocess
from pathlib import Path

import pytest

from connectorlib.errors import Kind
from connectorlib.service.http_client import NotSent, Session, advice, proxy_of, tls_context
from connectorlib.service.redaction import secrets
from tests.services.certificates import Authority, Certificate

HOST = "acme.my.salesforce.com"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.lower, PROXIES), *BUNDLES, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, f"https://{HOST}", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, f"https://{HOST}", "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128"}, f"https://{HOST}", "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy:3128"}, f"https://{HOST}", "http://proxy:3128"),
        ({"HTTPS_PROXY": "u:p@proxy:3128"}, f"https://{HOST}", "http://u:p@proxy:3128"),
        ({"HTTPS_PROXY": "https://u:p@proxy"}, f"https://{HOST}", "https://u:p@proxy"),
        ({"ALL_PROXY": "http://proxy:3128"}, f"https://{HOST}", "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, f"https://{HOST}", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://broker.plant.example", "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": HOST}, f"https://{HOST}", None),
        ({"HTTPS_PROXY": "http://proxy", "no_proxy": ".salesforce.com"}, f"https://{HOST}", None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "plant.example, salesforce.com"}, f"https://{HOST}", None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "*"}, f"https://{HOST}", None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "10.0.0.0/8"}, "https://10.1.2.3", None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "force.com"}, f"https://{HOST}", "http://proxy"),
        ({"HTTPS_PROXY": "http://proxy"}, "https://127.0.0.1:8080", None),
        ({"HTTPS_PROXY": "http://proxy", "ALL_PROXY": "http://proxy"}, "https://[::1]:8080", None),
        ({"HTTPS_PROXY": "http://proxy"}, "https://localhost", None),
        ({"HTTPS_PROXY": ""}, f"https://{HOST}", None),
    ],
)
def test_the_environment_says_which_proxy_is_used(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy


@pytest.mark.parametrize(
    "address", ["socks5://proxy:1080", "http://", "http://plant:pa#ss@proxy", "http://[::1", "http://proxy:port"]
)
def test_what_is_no_address_of_a_proxy_is_a_mistake_of_the_configuration(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    session = Session("test")
    with pytest.raises(NotSent) as raised:
        session.request("GET", f"https://{HOST}", timeout=1)
    assert (raised.value.code, raised.value.kind) == ("proxy-address", Kind.CONFIGURATION)
    assert "pa#ss" not in raised.value.text
    assert "HTTPS_PROXY" in advice(raised.value.code)


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_password_of_a_proxy_is_a_secret(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}plant:pass%40word@proxy:3128")
    Session("test")
    try:
        assert secrets.redact("pass@word and pass%40word") == "[secret] and [secret]"
    finally:
        secrets.clear()


# -- certificates


def trusts(context: ssl.SSLContext, certificate: Certificate) -> bool:
    """Whether a client with this context takes a server with this certificate for `HOST`, without any socket."""
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate.cert, certificate.key)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (context.wrap_bio(down, up, server_hostname=HOST), own.wrap_bio(up, down, server_side=True))
    for each in (*ends, *ends):
        try:
            each.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "another authority")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue(HOST)


def test_an_authority_that_was_added_to_the_system_is_trusted(
    authority: Authority, other: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(authority.ca).parent))
    assert not trusts(tls_context(), certificate)
    subprocess.run(["openssl", "rehash", Path(authority.ca).parent], check=True, capture_output=True)
    assert trusts(tls_context(), certificate)
    assert not trusts(tls_context(), other.issue(HOST))


def test_a_system_without_authorities_has_those_of_certifi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", "")
    assert len(tls_context().get_ca_certs()) > 50


@pytest.mark.parametrize("variable", BUNDLES)
def test_a_file_that_the_environment_names_replaces_the_systems_authorities(
    variable: str, authority: Authority, other: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, other.ca)
    assert not trusts(tls_context(), certificate)
    assert len(tls_context().get_ca_certs()) == 1
    monkeypatch.setenv(variable, authority.ca)
    assert trusts(tls_context(), certificate)


def test_requests_ca_bundle_wins_and_may_be_a_folder(
    authority: Authority, other: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["openssl", "rehash", Path(authority.ca).parent], check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Path(authority.ca).parent))
    monkeypatch.setenv("SSL_CERT_FILE", other.ca)
    assert trusts(tls_context(), certificate)


def test_tls_ca_is_trusted_besides_all_others(
    authority: Authority, other: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.ca)
    context = tls_context(authority.ca)
    assert trusts(context, certificate)
    assert trusts(context, other.issue(HOST))


def test_an_authority_need_be_neither_a_root_nor_strictly_formed(certificate: Certificate) -> None:
    """Those of proxies often are neither."""
    context = tls_context(certificate.cert)
    assert trusts(context, certificate)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_certificate_for_another_host_or_one_that_has_ended_is_not_accepted(authority: Authority) -> None:
    assert not trusts(tls_context(authority.ca), authority.issue("elsewhere.example"))


@pytest.mark.parametrize("name", ["tls.ca", *BUNDLES])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_that_is_none_of_certificates_is_named(
    name: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "company.pem"
    if content is not None:
        file.write_text(content)
    if name != "tls.ca":
        monkeypatch.setenv(name, str(file))
    with pytest.raises(NotSent) as raised:
        tls_context(str(file) if name == "tls.ca" else None)
    assert (raised.value.code, raised.value.kind) == ("ca", Kind.CONFIGURATION)
    assert raised.value.text.startswith(f"{name}: {file} ")

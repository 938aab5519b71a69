"""TLS to the broker: client certificates, and what is refused, with words that say why."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from connectorlib.amqp import Broker
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import BrokerSettings, Tls
from tests.services.certificates import Authority, Certificate

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue(HOST)


@pytest.fixture
def strict(vhost, authority):
    """Settings for a listener that wants a client's certificate; the running node is given it for this test."""
    port = vhost.node.tls_listener(authority, client_certificate=True)
    return vhost.broker_settings(hosts=((HOST, port),))


def refusal(settings: BrokerSettings, tls: Tls) -> Failure:
    with Broker(replace(settings, tls=tls), name="tls") as broker, pytest.raises(Failed) as caught:
        broker.wait_connected(15, give_up_on_refused=True)
    failure = caught.value.failure
    assert (failure.kind, failure.code) == (Kind.CONFIGURATION, "tls"), failure
    return failure


def test_a_broker_that_wants_a_certificate_gets_it(strict, authority, tmp_path):
    own = authority.issue("connector", client=True)
    with Broker(replace(strict, tls=Tls(ca=authority.ca, cert=own.cert, key=own.key)), name="with") as broker:
        assert broker.wait_connected(15)
    assert "client certificate" in refusal(strict, Tls(ca=authority.ca)).text
    foreign = Authority(tmp_path, "another authority").issue("connector", client=True)
    assert "client certificate" in refusal(strict, Tls(ca=authority.ca, cert=foreign.cert, key=foreign.key)).text


@contextlib.contextmanager
def serving(certificate: Certificate | None, **limits: ssl.TLSVersion) -> Iterator[BrokerSettings]:
    """Answer on a port with this certificate, and only with these versions of TLS; with None, without any TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL itself would refuse the old versions
    for name, version in limits.items():
        setattr(context, name, version)
    if certificate:
        context.load_cert_chain(certificate.cert, certificate.key)
    with socket.create_server((HOST, 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed: the test is over
                    return
                with contextlib.suppress(OSError), connection:
                    if certificate is None:
                        connection.recv(1000)
                        connection.sendall(b"AMQP\0\0\x09\x01")
                    else:
                        context.wrap_socket(connection, server_side=True).recv(1000)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield BrokerSettings(hosts=((HOST, server.getsockname()[1]),))
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_a_certificate_that_has_expired_is_refused(authority):
    with serving(authority.issue(HOST, valid=timedelta(days=-1))) as settings:
        assert refusal(settings, Tls(ca=authority.ca)).text.endswith(
            "certificate not accepted: certificate has expired"
        )


def test_a_certificate_for_another_host_is_refused_and_both_are_told(authority, certificate):
    with serving(authority.issue("rabbit1.example")) as settings:
        assert f"not valid for '{HOST}'" in refusal(settings, Tls(ca=authority.ca)).text
    with serving(certificate) as settings:
        named = refusal(settings, Tls(ca=authority.ca, server_name="rabbit1.example"))
        assert "not valid for 'rabbit1.example'" in named.text


def test_a_certificate_for_clients_is_none_of_a_server(authority):
    with serving(authority.issue(HOST, client=True)) as settings:
        assert "certificate not accepted" in refusal(settings, Tls(ca=authority.ca)).text


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_tls_older_than_1_2_is_refused(certificate, authority):
    old = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    with serving(certificate, **old) as settings:
        assert "TLS 1.2" in refusal(settings, Tls(ca=authority.ca)).text
        assert "TLS 1.2" in refusal(settings, Tls(verify=False)).text


def test_a_port_without_tls_is_told_as_such(authority):
    with serving(None) as settings:
        assert "no TLS" in refusal(settings, Tls(ca=authority.ca)).text

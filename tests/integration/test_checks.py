"""The broker's certificate and its policies, as `check` sees them. The rest is in tests/e2e/test_check.py."""

import socket
import ssl
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from connectorlib.amqp import Broker
from connectorlib.amqp.management import Management, basic
from connectorlib.errors import Kind
from connectorlib.preflight.check_broker import Needs, findings
from connectorlib.preflight.check_topology import Sending, TopologyCheck
from connectorlib.preflight.findings import Mark
from connectorlib.shared_settings import BrokerSettings, Journal, Source, Tls
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import private_key
from tests.services.selfsigned import certificate
from tests.services.waiting import eventually


@contextmanager
def tls_server(folder: Path, days: int) -> Iterator[BrokerSettings]:
    """A server that shows a certificate which ends in so many days, and hangs up; as settings that trust its issuer."""
    key = private_key()
    pem, chain = certificate(key, days), folder / "chain.pem"
    chain.write_text(key + pem)
    (folder / "ca.pem").write_text(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(client, server_side=True) as secured:
                    secured.recv(64)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    tls = Tls(ca=str(folder / "ca.pem"), server_name="localhost")
    try:
        yield BrokerSettings(hosts=(("127.0.0.1", listener.getsockname()[1]),), tls=tls)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_a_certificate_that_has_expired_is_what_is_wrong_with_the_broker(tmp_path: Path) -> None:
    with tls_server(tmp_path, -3) as settings:
        (found,) = findings(Needs(settings, "test"))
    assert (found.mark, found.text[:10], found.do) == (Mark.BAD, "expired on", "renew the broker's certificate")
    assert found.about == f"certificate of 127.0.0.1:{settings.hosts[0][1]}"


@pytest.mark.parametrize("server_name", ["elsewhere"])
def test_a_certificate_for_another_name_is_told_as_that(tmp_path: Path, server_name: str) -> None:
    with tls_server(tmp_path, 100) as settings:
        tls = Tls(ca=settings.tls.ca if settings.tls else None, server_name=server_name)
        (found,) = findings(Needs(BrokerSettings(hosts=settings.hosts, tls=tls), "test"))
    assert (found.mark, found.kind, found.code) == (Mark.BAD, Kind.CONFIGURATION, "tls")
    assert "server_name" in found.do


def test_something_that_never_answers_is_told_with_the_time_that_was_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectorlib.preflight.check_broker.CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (found,) = findings(Needs(BrokerSettings(hosts=(("127.0.0.1", listener.getsockname()[1]),)), "test"))
    assert (found.mark, found.code, found.text) == (Mark.BAD, "timeout", "timeout no answer within 0.5 s")
    assert "are host and port correct" in found.do


def test_what_a_policy_sets_for_a_queue_counts_as_its_own_argument(
    vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # not for the broker
    vhost.declare_queue("q", arguments={"x-single-active-consumer": True})
    api = Management(f"http://{vhost.host}:{vhost.node.management_port}", basic(vhost.username, vhost.password))

    def said() -> list[str]:
        return [found.text for found in TopologyCheck(broker, vhost.broker_settings(), api).source(Source("q", None))]

    with Broker(vhost.broker_settings(), name="test", publishing=False) as broker:
        broker.wait_connected(10)
        no_exchange, few = said()
        assert "has no dead-letter exchange" in no_exchange
        assert "has a single active consumer" in few
        for exchange, limit, left in (("dead-letter", 20, ["is dead-lettered after 20 times"]), ("mine", 1_000, [])):
            definition = {"dead-letter-exchange": exchange, "delivery-limit": limit}
            vhost.api("PUT", "/api/policies/{vhost}/p", {"pattern": "^q$", "definition": definition})
            eventually(lambda: api.queue(vhost.name, "q").get("effective_policy_definition") == definition)  # noqa: B023
            wrong = [text for text in said() if "waiting" not in text and "is unavailable" not in text]
            assert len(wrong) == len(left)
            assert all(part in text for part, text in zip(left, wrong, strict=True))


@pytest.mark.parametrize("type", ["all", "returned", "failed"])
def test_a_policy_that_keeps_back_what_comes_back_is_told(vhost: Vhost, type: str) -> None:
    vhost.declare_queue("q")
    policy = {"pattern": "^q$", "definition": {"delayed-retry-type": type, "delayed-retry-min": 1_000}}
    with Broker(vhost.broker_settings(), name="test", publishing=False) as broker:
        broker.wait_connected(10)
        delays = broker.server_version >= (4, 3)
        with suppress(urllib.error.HTTPError) if not delays else nullcontext():  # older ones do not know the keys
            vhost.api("PUT", "/api/policies/{vhost}/p", policy)
        api = Management(f"http://{vhost.host}:{vhost.node.management_port}", basic(vhost.username, vhost.password))

        def warned() -> bool:
            found = TopologyCheck(broker, vhost.broker_settings(), api).source(Source("q", None))
            return any(f"delayed-retry-type is {type}" in each.text and each.mark is Mark.ODD for each in found)

        assert eventually(warned, 15) if delays else not warned()


@pytest.mark.usefixtures("alarm")
def test_a_broker_that_is_short_of_memory_is_told_as_that(vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectorlib.preflight.check_topology.CHANNEL_S", 0.5)
    sends = Sending("destination", "amq.topic"), Sending("reply", "amq.direct")
    needs = Needs(vhost.broker_settings(), "test", sends=sends)
    wrong = [each for each in findings(needs) if each.mark is Mark.BAD]
    assert wrong
    for each in wrong:
        assert each.kind is Kind.UNAVAILABLE
        assert "blocks publishers, it is low on memory" in each.text
        assert "rabbitmq-diagnostics alarms" in each.do


def test_the_journal_has_to_be_a_stream(vhost: Vhost) -> None:
    def about_the_journal() -> list[tuple[Mark, str]]:
        needs = Needs(vhost.broker_settings(), "test", journal=Journal(stream="log"))
        return [(each.mark, each.text) for each in findings(needs) if each.about == "journal log"]

    assert about_the_journal() == [(Mark.ODD, "does not exist yet")]
    vhost.declare_queue("log", type="stream")
    assert about_the_journal() == [(Mark.GOOD, "stream")]
    with vhost.channel() as channel:
        channel.queue_delete("log")
        channel.queue_declare("log", durable=True)
    assert about_the_journal() == [(Mark.BAD, "is a queue, not a stream")]

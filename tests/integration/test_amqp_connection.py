"""Connecting, losing the connection, coming back, and saying what is wrong meanwhile."""

import threading
import time
from dataclasses import replace

import pytest

from connectorlib.amqp import Broker, reconnect
from connectorlib.errors import Failed, Kind
from connectorlib.shared_settings import Tls
from connectorlib.values.backoff import Backoff
from tests.services.certificates import Authority
from tests.services.server import free_port
from tests.services.waiting import eventually


def wait_failed(broker, **options):
    with pytest.raises(Failed) as raised:
        broker.wait_connected(15, **options)
    return raised.value.failure


def test_both_connections_carry_the_connectors_name(vhost):
    with Broker(vhost.broker_settings(), name="pumps") as broker:
        assert broker.wait_connected(10)
        assert broker.failure is None
        assert broker.connected_since is not None
        assert vhost.connection_names() == {"pumps consuming", "pumps publishing"}


def break_down() -> None:
    raise KeyError("a bug")


def test_it_comes_back_after_the_broker_closed_its_connections(vhost):
    with Broker(vhost.broker_settings(), name="back") as broker:
        broker.wait_connected(10)
        since = broker.connected_since
        assert vhost.close_connections() == 2
        eventually(lambda: broker.connected_since not in (None, since))
        assert broker.failure is None


def test_it_comes_back_after_an_error_in_its_own_thread(vhost):
    with Broker(vhost.broker_settings(), name="bug") as broker:
        broker.wait_connected(10)
        since = broker.connected_since
        broker._io.post(break_down)
        assert eventually(lambda: broker.connected_since not in (None, since))


def test_it_comes_back_after_an_error_in_the_event_loop(vhost):
    with Broker(vhost.broker_settings(), name="loop") as broker:
        broker.wait_connected(10)
        since = broker.connected_since
        broker._io.loop.add_callback_threadsafe(break_down)
        eventually(lambda: broker.connected_since not in (None, since))
        ticked = broker.ticked
        assert eventually(lambda: broker.ticked > ticked)


@pytest.mark.parametrize("attempt", range(3))
def test_a_dead_host_in_the_list_does_not_matter(vhost, attempt):
    hosts = (("127.0.0.1", free_port()), ("127.0.0.1", free_port()), (vhost.host, vhost.port))
    with Broker(vhost.broker_settings(hosts=hosts), name="hosts") as broker:
        assert broker.wait_connected(10)


def test_nobody_there_is_unavailable_and_names_the_address(vhost):
    port = free_port()
    with Broker(vhost.broker_settings(hosts=(("127.0.0.1", port),)), name="nobody") as broker:
        with pytest.raises(Failed) as raised:
            broker.wait_connected(1)
        assert raised.value.failure.kind is Kind.UNAVAILABLE
        assert f"127.0.0.1:{port}: connection refused" in raised.value.failure.text


def test_a_host_that_never_answers_is_unavailable(vhost):
    with Broker(vhost.broker_settings(hosts=(("127.0.0.1", free_port()),)), name="stopping") as broker:
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        before = time.monotonic()
        assert broker.wait_connected(60, stop) is False
        assert time.monotonic() - before < 60


def test_a_wrong_password_is_refused_and_not_shown(vhost, caplog):
    with Broker(vhost.broker_settings(password="wrong-one"), name="refused") as broker:
        failure = wait_failed(broker, give_up_on_refused=True)
    assert (failure.kind, failure.code) == (Kind.REFUSED, "403")
    assert "wrong-one" not in caplog.text + str(failure)


def test_a_refused_login_is_tried_at_once_when_nudged(vhost, monkeypatch):
    monkeypatch.setitem(reconnect._REFUSALS, Kind.REFUSED, Backoff(600.0, 600.0))  # which nobody here waits for
    settings = vhost.broker_settings(username="late", password="late")
    try:
        with Broker(settings, name="late") as broker:
            assert wait_failed(broker, give_up_on_refused=True).kind is Kind.REFUSED
            vhost.node.api("PUT", "/api/users/late", {"password": "late", "tags": ""})
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            vhost.api("PUT", "/api/permissions/{vhost}/late", everything)
            broker.reconnect_now()
            assert broker.wait_connected(30)
    finally:
        vhost.node.api("DELETE", "/api/users/late")


def test_a_missing_virtual_host_is_a_matter_of_configuration(vhost):
    with Broker(replace(vhost.broker_settings(), virtual_host="nowhere"), name="nowhere") as broker:
        failure = wait_failed(broker, give_up_on_refused=True)
    assert (failure.kind, failure.code) == (Kind.CONFIGURATION, "530")
    assert "vhost nowhere not found" in failure.text


def test_stop_leaves_no_thread_and_no_connection(vhost):
    broker = Broker(vhost.broker_settings(), name="ending")
    broker.start()
    broker.wait_connected(10)
    assert broker.stop(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "amqp ending"]
    eventually(lambda: vhost.connection_names() == set())
    with pytest.raises(Failed, match="stopping"), broker.channel():
        pass


def test_stop_is_prompt_while_there_is_no_broker(vhost):
    broker = Broker(vhost.broker_settings(hosts=(("127.0.0.1", free_port()),)), name="alone")
    broker.start()
    assert broker.stop(10)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_settings(vhost, authority):
    """Settings for a TLS listener that the running node is given for this test."""
    port = vhost.node.tls_listener(authority, "broker.example", client_certificate=False)
    return vhost.broker_settings(hosts=(("127.0.0.1", port),))


def test_tls_with_a_private_authority(tls_settings, authority):
    trusting = replace(tls_settings, tls=Tls(ca=authority.ca))
    with Broker(trusting, name="tls") as broker:
        assert broker.wait_connected(15)
        with broker.channel() as channel:
            assert channel.queue_declare("over-tls") == (0, 0)

    named = replace(tls_settings, tls=Tls(ca=authority.ca, server_name="broker.example"))
    with Broker(named, name="named") as broker:
        assert broker.wait_connected(15)

    unknown = replace(tls_settings, tls=Tls())
    with Broker(unknown, name="unknown authority") as broker:
        failure = wait_failed(broker, give_up_on_refused=True)
    assert (failure.kind, failure.code) == (Kind.CONFIGURATION, "tls")
    assert "certificate not accepted" in failure.text

    other = replace(tls_settings, tls=Tls(ca=authority.ca, server_name="other.example"))
    with Broker(other, name="other name") as broker:
        assert "certificate not accepted" in wait_failed(broker, give_up_on_refused=True).text

    blind = replace(tls_settings, tls=Tls(verify=False))
    with Broker(blind, name="blind") as broker:
        assert broker.wait_connected(15)


def test_tls_files_that_cannot_be_used_are_named(vhost, tmp_path):
    with pytest.raises(Failed, match=r"missing\.pem"):
        Broker(vhost.broker_settings(tls=Tls(ca=str(tmp_path / "missing.pem"))), name="files")

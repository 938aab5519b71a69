"""HTTP as it is on the wire; over TLS, also through a proxy that is reached by TLS itself: TLS within TLS."""

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from connectorlib.service.http_client import Lost, NotSent, Session
from tests.services import scripted
from tests.services.certificates import Authority
from tests.services.forward_proxy import forward_proxy
from tests.services.scripted import Scripted, as_json
from tests.services.waiting import eventually

HOST = "acme.my.salesforce.com"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def served(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    return Scripted([as_json(200, {"good": True})], tls=context)


@pytest.fixture
def server(authority):
    """A server that answers as `HOST`; only the proxy finds it."""
    with served(authority.issue(HOST)) as server:
        yield server


@pytest.fixture
def proxy(authority, server, monkeypatch):
    with forward_proxy({HOST: ("127.0.0.1", server.port)}, own=authority.issue("localhost")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://{proxy.address}")
        yield proxy


def test_an_answer_comes_through_a_proxy_that_is_reached_by_tls(authority, proxy):
    session = Session("test", authority.ca)
    assert session.request("GET", f"https://{HOST}/x", timeout=10).json() == {"good": True}
    assert proxy.asked == [HOST]


def test_an_answer_that_trickles_is_ended_through_such_a_proxy_too(authority, proxy, server):
    slow = scripted.Trickle(as_json(200, {"good": True}), fast=5)
    server.api = [slow]
    with pytest.raises(Lost) as raised:
        Session("test", authority.ca).request("GET", f"https://{HOST}/x", timeout=0.6)
    assert raised.value.timed_out
    assert not slow.finished


def test_a_proxy_whose_certificate_nobody_knows_is_not_used(proxy):
    with pytest.raises(NotSent) as raised:
        Session("test").request("GET", f"https://{HOST}/x", timeout=10)
    assert (raised.value.code, "tls.ca" in raised.value.text) == ("tls", True)
    assert proxy.asked == []


def test_the_authorities_that_come_with_requests_are_not_trusted_besides_the_systems(authority, monkeypatch):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", authority.ca)
    with served(authority.issue("localhost")) as server, pytest.raises(NotSent) as raised:
        Session("test").request("GET", f"{server.url}/x", timeout=10)
    assert (raised.value.code, server.requests) == ("tls", [])


def test_no_cookie_is_kept():
    with Scripted([as_json(200, {}, "Set-Cookie: sid=secret; Path=/")]) as server, Session("test") as session:
        for _ in range(2):
            assert not session.request("GET", server.url, timeout=10).history
        assert [call.headers.get("cookie") for call in server.calls] == [None, None]


def test_headers_and_body_are_sent_at_once():
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as server:

        def first_piece():
            with listener.accept()[0] as connection:
                piece = connection.recv(1 << 16)
                connection.sendall(as_json(200, {}))
                return piece

        piece = server.submit(first_piece)
        with Session("test") as session:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
            session.request("POST", url, headers={"user-agent": "mine"}, params={"a": "b c"}, data=b"{}", timeout=10)
        head, _, body = piece.result(10).partition(b"\r\n\r\n")
        assert body == b"{}"
        assert head.startswith(b"POST /x?a=b+c HTTP/1.1\r\n")
        lines = head.lower().split(b"\r\n")
        assert [line for line in lines if line.startswith(b"user-agent")] == [b"user-agent: mine"]
        assert b"content-length: 2" in lines


def test_there_is_work_until_the_answer_comes_and_what_fails_in_it_costs_no_answer():
    answer, at_work = threading.Event(), []

    def meanwhile(is_answered):
        at_work.append(is_answered())
        answer.set()
        eventually(is_answered)
        raise ValueError("a bug")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as server:

        def answer_later():
            with listener.accept()[0] as connection:
                connection.recv(1 << 16)
                assert answer.wait(10)
                connection.sendall(as_json(200, {"a": 1}))

        done = server.submit(answer_later)
        with Session("test") as session:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
            assert session.request("GET", url, timeout=10, meanwhile=meanwhile).json() == {"a": 1}
        done.result(10)
    assert at_work == [False]

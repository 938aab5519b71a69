"""Notices reach an HTTP server, an SMTP server with and without TLS, and an exchange, or the failure is told."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from connectorlib.amqp import Broker
from connectorlib.monitoring import notifier
from connectorlib.monitoring.notice_channels import Undelivered, exchange, mail, webhook
from connectorlib.preflight import check_notices
from connectorlib.preflight.findings import line, run
from connectorlib.shared_settings import HttpTls, Mail, NoticeExchange, Notify, Webhook
from connectorlib.values.backoff import Backoff
from tests.services.certificates import Authority
from tests.services.rabbitmq import Vhost
from tests.services.scripted import Scripted, answer, hang_up, page
from tests.services.server import free_port

TOLD = {"event": "paused", "text": "dbconnector readings: paused for 5 min", "flow": "readings"}


def smtp_settings(server: Any, **more: Any) -> Mail:
    values = {"host": "127.0.0.1", "port": server.port, "sender": "c@example.com", "to": ("ops@example.com",)} | more
    return Mail(**values)


@contextmanager
def mailbox(**options: Any) -> Iterator[Any]:
    """An SMTP server that keeps what it gets."""
    kept: list[Any] = []

    async def handle_DATA(server: Any, session: Any, envelope: Any) -> str:
        kept.append(envelope)
        return "250 OK"

    port = free_port()
    handler = type("Handler", (), {"handle_DATA": staticmethod(handle_DATA)})()
    controller = Controller(handler, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield SimpleNamespace(port=port, kept=kept)
    finally:
        controller.stop()


def checked(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    given = isinstance(data, LoginPassword) and (data.login, data.password) == (b"connector", b"s3cret")
    return AuthResult(success=given, handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    own = authority.issue("127.0.0.1", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    return context, str(authority.ca)


def test_a_webhook_gets_json_with_its_headers() -> None:
    with Scripted([answer(204)]) as server:
        webhook(Webhook(f"{server.url}/hooks/42", {"authorization": "Bearer t"}))(TOLD)
    (request,) = server.calls
    assert (request.method, request.path, request.headers["authorization"]) == ("POST", "/hooks/42", "Bearer t")
    assert request.json == TOLD


@pytest.mark.parametrize(
    ("reply", "text"), [(page(503), "127.0.0.1: HTTP 503"), (answer(302), "HTTP 302"), (hang_up, "127.0.0.1: ")]
)
def test_a_webhook_that_does_not_take_it_is_told_without_its_path(reply: Any, text: str) -> None:
    with Scripted([reply]) as server, pytest.raises(Undelivered) as caught:
        webhook(Webhook(f"{server.url}/hooks/s3cret"))(TOLD)
    assert text in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_mail_goes_out_by_starttls_with_a_login(certificate: tuple[ssl.SSLContext, str]) -> None:
    context, ca = certificate
    with mailbox(tls_context=context, require_starttls=True, authenticator=checked, auth_required=True) as server:
        mail(smtp_settings(server, ca=ca, username="connector", password="s3cret"))(TOLD)
        with pytest.raises(Undelivered, match=r"127\.0\.0\.1: 535 "):
            mail(smtp_settings(server, ca=ca, username="connector", password="wrong"))(TOLD)
        with pytest.raises(Undelivered, match="certificate verify failed"):
            mail(smtp_settings(server, username="connector", password="s3cret"))(TOLD)
    (envelope,) = server.kept
    assert envelope.rcpt_tos == ["ops@example.com"]
    assert b"Subject: dbconnector readings: paused for 5 min" in envelope.content


def test_a_mail_goes_out_by_tls_and_without_it_where_that_is_asked_for(certificate: tuple[ssl.SSLContext, str]) -> None:
    context, ca = certificate
    with mailbox(ssl_context=context) as server:
        mail(smtp_settings(server, tls="tls", ca=ca))(TOLD)
    assert len(server.kept) == 1
    with mailbox() as plain:
        mail(smtp_settings(plain, tls="none"))(TOLD)
        with pytest.raises(Undelivered, match="STARTTLS"):  # never in the clear by itself
            mail(smtp_settings(plain))(TOLD)
    assert len(plain.kept) == 1


def test_a_mail_server_that_is_away_or_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Undelivered, match=r"127\.0\.0\.1: .*refused"):
        mail(smtp_settings(SimpleNamespace(port=free_port())))(TOLD)
    monkeypatch.setattr("connectorlib.monitoring.notice_channels.LIMIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Undelivered, match="timed out"):
        mail(smtp_settings(SimpleNamespace(port=silent.getsockname()[1])))(TOLD)


def test_an_exchange_is_made_and_gets_json_by_event(vhost: Vhost) -> None:
    settings = vhost.broker_settings()
    with Broker(settings, name="notices", consuming=False) as broker:
        assert broker.wait_connected(20.0, threading.Event())
        _check_exchange(vhost, exchange(NoticeExchange("alerts"), broker, settings))


def _check_exchange(vhost: Vhost, send: Any) -> None:
    with pytest.raises(Undelivered, match=r"exchange alerts: .*NO_ROUTE"):
        send(TOLD)
    vhost.declare_queue("mine")
    with vhost.channel() as channel:
        channel.queue_bind("mine", "alerts", "connector.paused")
    send(TOLD)
    ((_, properties, body),) = vhost.get_all("mine")
    assert (json.loads(body), properties.content_type) == (TOLD, "application/json")


def test_what_a_channel_does_not_take_stays_in_its_order_until_it_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notifier, "RETRY", Backoff(10.0, 10.0, jitter=0.0))
    second = TOLD | {"event": "resumed"}
    with Scripted([page(503), answer(200)]) as server:
        outbox = notifier.Outbox("webhook", webhook(Webhook(server.url)))
        outbox.add(TOLD)
        outbox.deliver(100.0)
        outbox.add(second)
        outbox.deliver(109.0)  # not due
        outbox.deliver(110.0)
        outbox.deliver(120.0)
        assert [call.json for call in server.calls] == [TOLD, TOLD, second]
    assert [vars(record)["fields"]["text"] for record in caplog.records] == ["127.0.0.1: HTTP 503"]


def test_of_too_many_that_wait_the_oldest_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "MOST_WAITING", 2)
    with Scripted([answer(200)]) as server:
        outbox = notifier.Outbox("webhook", webhook(Webhook(server.url)))
        for number in range(5):
            outbox.add(TOLD | {"number": number})
        outbox.deliver(0.0)
        assert [call.json["number"] for call in server.calls] == [3, 4]


def test_an_authority_that_is_not_there_is_told_and_not_a_bug() -> None:
    with pytest.raises(Undelivered, match="no-such-file"):
        webhook(Webhook("https://localhost:1/", tls=HttpTls("/no-such-file.pem")))(TOLD)


def test_check_sends_a_test_notice_through_every_channel_if_asked_to(vhost: Vhost) -> None:
    settings = vhost.broker_settings()
    with Scripted([answer(200)]) as chat, mailbox() as box:
        letters = smtp_settings(box, tls="none")
        notify = Notify(webhook=Webhook(chat.url), mail=letters, exchange=NoticeExchange("alerts"))

        def found(*, test: bool) -> list[str]:
            return [
                line(each) for each in run(check_notices.groups(notify, settings, "dbconnector", "readings", test=test))
            ]

        assert found(test=False) == ["✔ notify: by webhook, mail, exchange; `check --notify` sends a test notice"]
        assert (chat.calls, box.kept) == ([], [])
        assert found(test=True) == [
            "✔ notify.webhook: a test notice was delivered",
            "✔ notify.mail: a test notice was delivered",
            "✘ notify.exchange: a test notice was not delivered: exchange alerts: 312 NO_ROUTE: exchange 'alerts', "
            "routing key 'connector.test'",
        ]
        vhost.declare_queue("ops", "alerts", "connector.#")
        assert found(test=True)[2] == "✔ notify.exchange: a test notice was delivered"
    assert [call.json["event"] for call in chat.calls] == ["test", "test"]
    assert b"no action needed" in box.kept[0].content
    assert json.loads(vhost.get_all("ops")[0][2])["connector"] == "dbconnector"
    (missing,) = run(check_notices.groups(None, settings, "dbconnector", "readings", test=True))
    assert "leave out --notify" in line(missing)
    assert check_notices.groups(None, settings, "dbconnector", "readings", test=False) == []


def test_a_broker_that_is_down_leaves_the_other_channels_tested(vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_notices, "CONNECT_S", 0.5)
    down = vhost.broker_settings(hosts=(("127.0.0.1", free_port()),))
    with Scripted([answer(200)]) as chat:
        notify = Notify(webhook=Webhook(chat.url), exchange=NoticeExchange("alerts"))
        hook, exchange = run(check_notices.groups(notify, down, "dbconnector", "readings", test=True))
    assert line(hook) == "✔ notify.webhook: a test notice was delivered"
    assert line(exchange).startswith("✘ notify.exchange: a test notice was not delivered: exchange alerts: ")
    assert [(call.json["event"], call.json["name"]) for call in chat.calls] == [("test", "readings")]

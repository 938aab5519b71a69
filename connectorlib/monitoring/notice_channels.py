"""Where notices go: a webhook, a mailbox, an exchange. Each sends one notice, and raises Undelivered if it cannot."""

import json
import smtplib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connectorlib.amqp import topology
from connectorlib.errors import Failed
from connectorlib.messages import Outgoing
from connectorlib.service.http_client import Lost, NotSent, Session, tls_context
from connectorlib.shared_settings import BrokerSettings, Destination, Mail, NoticeExchange, Notify, Webhook

if TYPE_CHECKING:
    from connectorlib.amqp import Broker

#: Seconds for one request to a webhook, for each answer of a mail server, and for a confirm.
LIMIT_S = 10.0
MOST_BYTES = 65536  # of the answer of a webhook
AGENT = "amqp-connectors"

Message = Mapping[str, Any]
#: Sends one notice: its event, its sentence (`text`), and its other fields.
Send = Callable[[Message], None]


class Undelivered(Exception):
    """A notice could not be delivered. The text says why, without addresses that are secret."""


def channels(settings: Notify, broker: "Broker", broker_settings: BrokerSettings) -> dict[str, Send]:
    """Return the channels of a configuration by their names."""
    found: dict[str, Send] = {}
    if settings.webhook:
        found["webhook"] = webhook(settings.webhook)
    if settings.mail:
        found["mail"] = mail(settings.mail)
    if settings.exchange:
        found["exchange"] = exchange(settings.exchange, broker, broker_settings)
    return found


def webhook(settings: Webhook) -> Send:
    """Return what posts a notice as JSON. Its `text` is what chat tools show."""
    host = urlsplit(settings.url).hostname

    def send(message: Message) -> None:
        try:
            with Session(AGENT, settings.tls.ca) as session:
                answer = session.request(
                    "POST", settings.url, json=message, headers=dict(settings.headers), timeout=LIMIT_S, most=MOST_BYTES
                )
        except (NotSent, Lost) as error:
            raise Undelivered(f"{host}: {error.text}") from None
        if not 200 <= answer.status_code < 300:
            raise Undelivered(f"{host}: HTTP {answer.status_code}")

    return send


def mail(settings: Mail) -> Send:
    """Return what sends a notice as a mail. STARTTLS is required with `tls` starttls."""

    def send(message: Message) -> None:
        try:
            with _smtp(settings) as server:
                if settings.tls == "starttls":
                    server.starttls(context=tls_context(settings.ca))
                if settings.username:
                    server.login(settings.username, settings.password)
                server.send_message(letter(settings, message))
        except NotSent as error:  # the file of authorities
            raise Undelivered(error.text) from None
        except smtplib.SMTPResponseException as error:
            said = (
                error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
            )
            raise Undelivered(f"{settings.host}: {error.smtp_code} {said}") from None
        except smtplib.SMTPRecipientsRefused as error:
            raise Undelivered(f"{settings.host}: refused recipients: {', '.join(error.recipients)}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise Undelivered(f"{settings.host}: {error or type(error).__name__}") from None

    return send


def _smtp(settings: Mail) -> AbstractContextManager[smtplib.SMTP]:
    if settings.tls == "tls":
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=LIMIT_S, context=tls_context(settings.ca))
    return smtplib.SMTP(settings.host, settings.port, timeout=LIMIT_S)


def letter(settings: Mail, message: Message) -> EmailMessage:
    """Return the mail: the sentence as subject and first line, then every field."""
    made = EmailMessage()
    made["From"] = settings.sender
    made["To"] = ", ".join(settings.to)
    made["Subject"] = " ".join(str(message["text"]).split())[:200]
    made["Date"] = formatdate(localtime=True)
    made["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2] or None)
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation replies
    shown = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in message.items()}
    lines = [f"{key}: {value}" for key, value in shown.items() if key != "text"]
    made.set_content("\n".join([str(message["text"]), "", *lines, ""]))
    return made


def exchange(settings: NoticeExchange, broker: "Broker", broker_settings: BrokerSettings) -> Send:
    """Return what publishes a notice as JSON. The routing key defaults to `connector.EVENT`."""
    destination = Destination(settings.exchange, settings.exchange_type)

    def send(message: Message) -> None:
        try:
            topology.ensure(broker, broker_settings, None, destination, look=False)
        except Failed as failed:
            raise Undelivered(f"exchange {settings.exchange}: {failed.failure.text}") from None
        key = settings.routing_key or f"connector.{message['event']}"
        body = json.dumps(message, ensure_ascii=False).encode()
        properties = {"content_type": "application/json", "type": "notice"}
        ticket = broker.publisher.submit([Outgoing(settings.exchange, key, body, properties)])
        if not ticket.wait(LIMIT_S):
            ticket.abandon()
            raise Undelivered(f"exchange {settings.exchange}: no confirm within {LIMIT_S:.0f} s")
        if failure := ticket.results[0]:
            raise Undelivered(f"exchange {settings.exchange}: {failure.text}")

    return send

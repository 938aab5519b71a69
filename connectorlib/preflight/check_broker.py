"""Checks a broker for `check`: whether it answers, has everything as configured, and this user may use it. Consumes,
publishes and makes nothing."""

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

from connectorlib.amqp import Broker
from connectorlib.amqp.broker_user import grant_all, refused_advice, user_of
from connectorlib.amqp.inspection import Exchange
from connectorlib.amqp.management import NO_LOG_IN, PLACE, PORTS, Management, management_of
from connectorlib.amqp.token_source import TokenSource
from connectorlib.amqp.token_source import advice as token_advice
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.preflight import certificates
from connectorlib.preflight.broker_versions import out_of_support
from connectorlib.preflight.check_topology import Sending, TopologyCheck
from connectorlib.preflight.findings import Finding, Mark, bad, failed, good, odd
from connectorlib.shared_settings import BrokerSettings, Journal, Notify, Source, TokenSettings

#: Limit for one host, short because a person waits for the result.
CONNECT_S = 8.0
STOP_S = 2.0
PROBE_S = 1.0
LOOK_S = 0.2

#: Bytes of a token that leave room for the rest of the first frame, which may have 4,096 before RabbitMQ 4.1.
LARGE_TOKEN = 3500
_FRAME = "set initial_frame_max = 16384 in rabbitmq.conf, or have the token server put less into it"
_UNAVAILABLE = "is it running, are host and port correct, does a firewall block it?"
_MANAGEMENT_USER = "give username and password of a user with the tag management, to have bindings and policies checked"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a configuration needs of its broker."""

    settings: BrokerSettings
    #: The name of the connection.
    name: str
    sources: tuple[Source, ...] = ()
    #: Where it publishes, apart from the dead letters.
    sends: tuple[Sending, ...] = ()
    journal: Journal | None = None
    notify: Notify | None = None
    #: The configuration file.
    file: str = ""


def findings(needs: Needs, management_url: str | None = None) -> Iterator[Finding]:
    """Yield the findings; raise Failed for settings that cannot even be tried."""
    settings = needs.settings
    if settings.token:
        token = _token(settings.token)
        yield token
        if token.mark is Mark.BAD:
            return
    with contextlib.ExitStack() as stack:
        brokers = {}
        for host in settings.hosts:
            broker = Broker(replace(settings, hosts=(host,)), name=f"{needs.name} check", publishing=False)
            stack.callback(broker.stop, STOP_S)
            broker.start()
            brokers[host] = broker
        failures = {host: _connect(broker) for host, broker in brokers.items()}
        reached = next((broker for host, broker in brokers.items() if failures[host] is None), None)
        for host, broker in brokers.items():
            yield from _connection(settings, broker, host, failures[host], others=reached is not None)
        yield from _support({broker.server_version for broker in brokers.values()})
        yield from _own_certificate(settings)
        if reached is not None:
            yield from _topology(needs, reached, management_url)


def _token(settings: TokenSettings) -> Finding:
    """Return whether the token server gives a token, and for how long."""
    about = f"token server {urlsplit(settings.url).netloc}"
    try:
        token = TokenSource(settings).get()
    except Failed as error:
        return failed(about, error.failure, token_advice(error.failure))
    if len(token.secret) > LARGE_TOKEN:
        return odd(about, f"a token of {len(token.secret):,} bytes, which may be too large for a login", _FRAME)
    if token.life == inf:
        return good(about, f"a token for client {settings.client_id}, which does not say when it expires")
    end = datetime.now().astimezone() + timedelta(seconds=token.life)
    return good(about, f"a token for client {settings.client_id}, good for {token.life:.0f} s, until {end:%H:%M:%S}")


def _connect(broker: Broker) -> Failure | None:
    """Return why the first attempt failed, without waiting for a second one; None if it did not."""
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            broker.wait_connected(LOOK_S, give_up_on_refused=True)
        except Failed as error:
            if broker.failure is not None:
                return error.failure
            if time.monotonic() > deadline:
                return replace(error.failure, text=f"no answer within {CONNECT_S:g} s")
        else:
            return None


def _connection(
    settings: BrokerSettings, broker: Broker, host: tuple[str, int], failure: Failure | None, *, others: bool
) -> Iterator[Finding]:
    about = f"broker {host[0]}:{host[1]}"
    end = certificates.of_server(*host, settings.tls) if settings.tls and _may_have_one(failure) else None
    renew = "renew the broker's certificate"
    if failure is None:
        version = ".".join(map(str, broker.server_version)) or "of unknown version"
        yield good(about, f'RabbitMQ {version}, virtual host "{settings.virtual_host}", as {_user(settings)}')
        if end is not None:
            yield certificates.finding(f"certificate of {host[0]}:{host[1]}", end, renew)
    elif end is not None and end <= datetime.now(UTC):
        yield certificates.finding(f"certificate of {host[0]}:{host[1]}", end, renew)
    elif others and failure.kind is Kind.UNAVAILABLE:
        yield odd(about, f"{failure.code} {failure.text}; another host responds", _UNAVAILABLE)
    else:
        yield failed(about, failure, _do(settings, failure))


def _user(settings: BrokerSettings) -> str:
    subject = _subject(settings)
    return f"{user_of(settings)}, {subject}" if subject else user_of(settings)


def _subject(settings: BrokerSettings) -> str:
    """Return the subject of the certificate that is the log-in, "" if another is."""
    return certificates.subject_in_pem(_own_pem(settings)) if settings.auth == "external" else ""


def _support(versions: Iterable[tuple[int, ...]]) -> Iterator[Finding]:
    today = datetime.now(UTC).date()
    for version in sorted(versions):
        if over := out_of_support(version, today):
            do = "upgrade it, unless its distribution still maintains it"
            yield odd(f"RabbitMQ {'.'.join(map(str, version))}", over, do)


def _may_have_one(failure: Failure | None) -> bool:
    return failure is None or failure.code == "tls"


def _do(settings: BrokerSettings, failure: Failure) -> str:
    if failure.kind is Kind.UNAVAILABLE:
        return _UNAVAILABLE
    if failure.kind is Kind.REFUSED:
        advice = {"403": refused_advice(settings, _subject(settings)), "530": grant_all(settings)}
        return advice.get(failure.code, "")
    if failure.code == "530":
        return f"create the virtual host (rabbitmqctl add_vhost {settings.virtual_host}), or correct virtual_host"
    if failure.code == "tls":
        return "correct tls: ca must contain the issuer of the broker's certificate, server_name its name"
    return "correct host, port and tls"


def _own_certificate(settings: BrokerSettings) -> Iterator[Finding]:
    end = certificates.in_pem(_own_pem(settings))
    if settings.tls and end is not None:
        yield certificates.finding(
            f"certificate {settings.tls.cert}", end, "renew it, and let the broker trust its issuer"
        )


def _own_pem(settings: BrokerSettings) -> str:
    """Return the text of this client's certificate, "" without a readable one: the connection has a finding for it."""
    file = settings.tls.cert if settings.tls else None
    try:
        return Path(file).read_text(encoding="utf-8") if file else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _topology(needs: Needs, broker: Broker, management_url: str | None) -> Iterator[Finding]:
    api, problem = _management(needs.settings, management_url)
    if problem is not None:
        yield problem
    check = TopologyCheck(broker, needs.settings, api, needs.file)
    if needs.sources:
        yield from check.dead_letters(sorted({queue for each in needs.sources for queue in each.queues}))
    exchanges = {each.exchange: each for each in needs.sources if each.exchange}
    for source in exchanges.values():
        yield from check.exchange(Exchange(source.exchange or "", source.exchange_type))
    queues = {each.queue: each for each in needs.sources}
    for source in queues.values():
        yield from check.source(source)
    for sending in needs.sends:
        yield from check.sending(sending)
    if needs.notify is not None and (notices := needs.notify.exchange):
        yield from check.sending(Sending("notify", notices.exchange, notices.exchange_type))
    if needs.journal is not None:
        yield from check.journal(needs.journal.stream)
    yield from check.rights()


def _management(settings: BrokerSettings, url: str | None) -> tuple[Management | None, Finding | None]:
    """Return the management API if it answers, and a finding if its address was given and it does not."""
    host = settings.hosts[0][0]
    port = PORTS[bool(settings.tls)]
    if url is None and not _listens(host, port):
        return None, None
    api = management_of(settings, url)
    try:
        api.bindings(settings.virtual_host, "amq.topic", settings.dead_letter.queue)
    except Failed as error:
        if error.failure.code == "404":
            return api, None
        if error.failure is NO_LOG_IN:
            return None, odd(PLACE, error.failure.text, _MANAGEMENT_USER)
        if url is None:
            return None, None
        return None, bad(PLACE, error.failure.text, "correct --management-url", error.failure.kind)
    return api, None


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=PROBE_S):
            return True
    except OSError:
        return False

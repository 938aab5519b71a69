"""pika's parameters for a connection: address, log-in, time limits, TLS, and a name that an operator recognises."""

import logging
import platform
import socket
import ssl
from typing import Any

import pika

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import BrokerSettings, Tls
from connectorlib.version import VERSION

logger = logging.getLogger(__name__)

SOCKET_SECONDS = 5.0
#: Limit of TCP, TLS and AMQP handshake together, for one address.
STACK_SECONDS = 10.0


def tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    """Return the TLS context for these settings; raise Failed when a file cannot be used."""
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(file for file in (tls.ca, tls.cert, tls.key) if file)
        raise Failed(Failure(Kind.CONFIGURATION, "tls", f"cannot use {files}: {error}", "broker")) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        logger.warning("TLS to the broker is NOT verified: anyone on the network path can read and change everything")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def connection_parameters(
    settings: BrokerSettings,
    address: tuple[str, int],
    credentials: Any,
    *,
    name: str,
    context: ssl.SSLContext | None,
    user_timeout: bool,
) -> pika.ConnectionParameters:
    """Return the parameters for one attempt at one host, with pika's credentials."""
    host, port = address
    server_name = settings.tls.server_name if settings.tls else None
    return pika.ConnectionParameters(
        host=host,
        port=port,
        virtual_host=settings.virtual_host,
        credentials=credentials,
        heartbeat=settings.heartbeat,
        socket_timeout=SOCKET_SECONDS,
        stack_timeout=STACK_SECONDS,
        connection_attempts=1,
        ssl_options=pika.SSLOptions(context, server_name or host) if context else None,
        tcp_options=_tcp_options(settings.heartbeat, user_timeout),
        client_properties={
            "product": "amqp-connectors",
            "version": VERSION,
            "platform": f"Python {platform.python_version()}, pika {pika.__version__}",
            "information": "",
            "connection_name": name,
        },
    )


def _tcp_options(heartbeat: int, user_timeout: bool) -> dict[str, int]:
    """Return the TCP options that notice a dead peer without heartbeats; not every system has all of them."""
    options = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    if user_timeout:
        # Not for publishing: in a broker alarm the peer's window stays closed as long as the alarm lasts, which to this
        # option looks like a dead peer.
        options["TCP_USER_TIMEOUT"] = max(2 * heartbeat, 30) * 1000
    return {key: value for key, value in options.items() if hasattr(socket, key)}

"""What pika raises, as a failure that says what to do. The exceptions are built as pika 1.4 builds them."""

import socket
import ssl

import pytest
from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from connectorlib.amqp.reply_codes import from_error, from_reply
from connectorlib.errors import Kind


def unreachable(error):
    connector = workflow.AMQPConnectorSocketConnectError(error)
    return exceptions.AMQPConnectionError(workflow.AMQPConnectionWorkflowFailed([connector]))


def handshake(error):
    return workflow.AMQPConnectionWorkflowFailed([workflow.AMQPConnectorTransportSetupError(error)])


def hung_up(kind, code, text):
    return kind(repr(exceptions.ConnectionClosedByBroker(code, text)))


certificate = ssl.SSLCertVerificationError(1, "certificate verify failed")
certificate.verify_message = "unable to get local issuer certificate"


@pytest.mark.parametrize(
    ("error", "kind", "code", "text"),
    [
        (unreachable(ConnectionRefusedError(111, "Connection refused")), Kind.UNAVAILABLE, "unreachable", "refused"),
        (unreachable(TimeoutError("timed out")), Kind.UNAVAILABLE, "unreachable", "within the time limit"),
        (
            workflow.AMQPConnectionWorkflowFailed([socket.gaierror(-2, "Name or service not known")]),
            Kind.UNAVAILABLE,
            "unreachable",
            "host name unknown",
        ),
        (
            hung_up(exceptions.ProbableAuthenticationError, 403, "ACCESS_REFUSED - Login was refused"),
            Kind.REFUSED,
            "403",
            "Login was refused",
        ),
        (
            hung_up(exceptions.ProbableAccessDeniedError, 530, "NOT_ALLOWED - vhost nope not found"),
            Kind.CONFIGURATION,
            "530",
            "vhost nope not found",
        ),
        (
            hung_up(
                exceptions.ProbableAccessDeniedError, 530, "NOT_ALLOWED - access to vhost 'x' refused for user 'y'"
            ),
            Kind.REFUSED,
            "530",
            "refused for user 'y'",
        ),
        (
            hung_up(exceptions.ProbableAccessDeniedError, 530, "NOT_ALLOWED - connection limit (1) is reached"),
            Kind.UNAVAILABLE,
            "530",
            "limit",
        ),
        (
            exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - New secret was refused by one of the backends"),
            Kind.REFUSED,
            "530",
            "New secret",
        ),
        (
            exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - Secret update failed"),  # RabbitMQ 4.3
            Kind.REFUSED,
            "530",
            "Secret update",
        ),
        (exceptions.AuthenticationError("EXTERNAL"), Kind.REFUSED, "mechanism", "no login by certificate"),
        (exceptions.AuthenticationError("PLAIN"), Kind.REFUSED, "mechanism", "(PLAIN)"),
        (exceptions.ProbableAuthenticationError("StreamLostError"), Kind.UNAVAILABLE, "unreachable", "closed the"),
        (exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"), Kind.UNAVAILABLE, "320", "FORCED"),
        (exceptions.StreamLostError("Transport indicated EOF"), Kind.UNAVAILABLE, "unreachable", "EOF"),
        (exceptions.AMQPHeartbeatTimeout("no heartbeat"), Kind.UNAVAILABLE, "heartbeat", "heartbeats"),
        (exceptions.IncompatibleProtocolError("?"), Kind.CONFIGURATION, "protocol", "no AMQP 0-9-1"),
        (handshake(certificate), Kind.CONFIGURATION, "tls", "local issuer certificate"),
        (handshake(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")), Kind.CONFIGURATION, "tls", ""),
        (exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'q'"), Kind.CONFIGURATION, "404", "no queue"),
        (RuntimeError("odd"), Kind.UNAVAILABLE, "unreachable", "odd"),
        (None, Kind.UNAVAILABLE, "unreachable", "connection lost"),
    ],
)
def test_every_error_says_what_to_do(error, kind, code, text):
    failure = from_error(error)
    assert (failure.kind, failure.code) == (kind, code)
    assert text in failure.text


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (312, "NO_ROUTE", Kind.REJECT),
        (403, "ACCESS_REFUSED", Kind.REFUSED),
        (404, "NOT_FOUND", Kind.CONFIGURATION),
        (405, "RESOURCE_LOCKED", Kind.UNAVAILABLE),
        (406, "PRECONDITION_FAILED - inequivalent arg", Kind.CONFIGURATION),
        (406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out", Kind.UNAVAILABLE),
        (406, "PRECONDITION_FAILED - unknown delivery tag 7", Kind.UNAVAILABLE),
        (503, "COMMAND_INVALID - unknown exchange type 'x'", Kind.CONFIGURATION),
        (541, "INTERNAL_ERROR", Kind.UNAVAILABLE),
    ],
)
def test_every_reply_code_has_a_kind(code, text, kind):
    assert from_reply(code, text).kind is kind

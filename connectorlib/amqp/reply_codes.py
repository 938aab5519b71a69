"""Translates errors of AMQP and pika into failures, most specific first. Pure."""

import re
import socket
import ssl
from collections.abc import Iterator

from pika import exceptions

from connectorlib.errors import Failed, Failure, Kind

#: What a reply code means when the text does not say more (AMQP 0-9-1 §1.2 and RabbitMQ's use of it).
_KINDS = {
    311: Kind.REJECT,  # CONTENT_TOO_LARGE
    312: Kind.REJECT,  # NO_ROUTE
    320: Kind.UNAVAILABLE,  # CONNECTION_FORCED: a shutdown, or closed by an operator
    402: Kind.CONFIGURATION,  # INVALID_PATH
    403: Kind.REFUSED,  # ACCESS_REFUSED
    404: Kind.CONFIGURATION,  # NOT_FOUND
    405: Kind.UNAVAILABLE,  # RESOURCE_LOCKED: in use elsewhere, and may be free again
    406: Kind.CONFIGURATION,  # PRECONDITION_FAILED
    530: Kind.CONFIGURATION,  # NOT_ALLOWED
    540: Kind.CONFIGURATION,  # NOT_IMPLEMENTED
}

#: The text decides where RabbitMQ uses one code for several causes.
_TEXTS = (
    (406, re.compile(r"acknowledgement on channel \d+ timed out"), Kind.UNAVAILABLE),
    (406, re.compile(r"unknown delivery tag"), Kind.UNAVAILABLE),
    (503, re.compile(r"unknown exchange type"), Kind.CONFIGURATION),
    (530, re.compile(r"refused for user|New secret was refused|Secret update failed"), Kind.REFUSED),
    (530, re.compile(r"limit .*reached|is down|being deleted", re.IGNORECASE), Kind.UNAVAILABLE),
)

#: The code of a queue that two processes could read at the same time, where only one may.
SEVERAL_READERS = "several-readers"
#: The code of a stream where a queue is needed, and how RabbitMQ names one when it refuses an argument.
STREAM = "stream"
_STREAM = re.compile(r"for queue '(?P<queue>.*)' in vhost .* of queue type rabbit_stream_queue", re.DOTALL)

#: By the way to log in that was asked for.
_NOT_OFFERED = {
    "PLAIN": "the broker offers no supported login mechanism (PLAIN)",
    "EXTERNAL": "the broker offers no login by certificate: it needs the plugin rabbitmq_auth_mechanism_ssl, "
    "EXTERNAL in auth_mechanisms, and ssl_options.verify = verify_peer",
}

#: pika keeps only the repr of the broker's close when a handshake fails.
_ALERT = re.compile(r"\[SSL: (\w+_ALERT_\w+)\]")
_CLOSED = re.compile(r"ConnectionClosedByBroker: \((\d+)\) (['\"])(.*)\2")


def from_reply(code: int, text: str, *, place: str = "broker", detail: str = "") -> Failure:
    """Return the failure for the code and the text of a close or a return."""
    if code == 406 and (stream := _STREAM.search(text)):
        return Failure(Kind.CONFIGURATION, STREAM, stream_text(stream["queue"]), place, detail)
    kind = next((kind for known, pattern, kind in _TEXTS if known == code and pattern.search(text)), None)
    return Failure(kind or _KINDS.get(code, Kind.UNAVAILABLE), str(code), text, place, detail)


def from_error(error: BaseException | None, *, place: str = "broker", tls: bool = False) -> Failure:
    """Return the failure for an error with which a connection (over TLS or not) or a channel ended or did not open."""
    if isinstance(error, Failed):
        return error.failure
    causes = list(_unfold(error))
    for cause in causes:
        failure = _specific(cause, place, tls)
        if failure is not None:
            return failure
    text = _words(causes[-1]) if causes else "connection lost"
    return Failure(Kind.UNAVAILABLE, "unreachable", text, place)


def stream_text(queue: str) -> str:
    """Say why messages are not read from a stream, and what to do."""
    return (
        f"queue {queue!r} is a stream: nothing is taken out of it, and who reads begins with what comes next, so what "
        "came meanwhile would be lost. Bind a quorum queue to the exchange that feeds it, and name that queue instead"
    )


def describe(error: Exception) -> str:
    """Return pika's error about a value that it cannot encode, shortened: it quotes the whole value."""
    return f"{type(error).__name__}: {error}"[:300]


def _unfold(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it wraps, in any of pika's three ways; the last is the most specific."""
    if error is None:
        return
    yield error
    inner = [*getattr(error, "exceptions", ())[-1:], getattr(error, "exception", None), *error.args[:1]]
    for cause in inner:
        if isinstance(cause, BaseException):
            yield from _unfold(cause)


def _specific(error: BaseException, place: str, tls: bool) -> Failure | None:
    if isinstance(error, exceptions.ConnectionClosedByBroker | exceptions.ChannelClosedByBroker):
        return from_reply(error.reply_code, error.reply_text, place=place)
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError):
        return _from_handshake(error, place)
    if isinstance(error, exceptions.AuthenticationError):
        return Failure(Kind.REFUSED, "mechanism", _NOT_OFFERED.get(str(error), _NOT_OFFERED["PLAIN"]), place)
    if isinstance(error, exceptions.IncompatibleProtocolError):
        if tls and "connection lost" in str(error):
            return Failure(Kind.CONFIGURATION, "tls", _hung_up(str(error)), place)
        return Failure(Kind.CONFIGURATION, "protocol", "no AMQP 0-9-1 broker answers there", place)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(Kind.CONFIGURATION, "tls", f"certificate not accepted: {error.verify_message}", place)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Failure(Kind.CONFIGURATION, "tls", _tls_words(getattr(error, "reason", None) or _words(error)), place)
    if isinstance(error, socket.gaierror):
        return Failure(Kind.UNAVAILABLE, "unreachable", f"host name unknown ({error.strerror})", place)
    if isinstance(error, exceptions.AMQPHeartbeatTimeout):
        return Failure(Kind.UNAVAILABLE, "heartbeat", "the broker stopped answering heartbeats", place)
    return None


#: Explanations of OpenSSL's reasons, by a part of the reason; others are shown as they are.
_TLS_WORDS = {
    "PROTOCOL_VERSION": "the broker knows only versions of TLS before TLS 1.2, which are not safe",
    "UNSUPPORTED_PROTOCOL": "the broker knows only versions of TLS before TLS 1.2, which are not safe",
    "WRONG_VERSION_NUMBER": "there is no TLS on that port (5671 is the usual one)",
    "RECORD_LAYER_FAILURE": "there is no TLS on that port (5671 is the usual one)",
    "CERTIFICATE_REQUIRED": "the broker requires a client certificate: set tls.cert",
    "ALERT_UNKNOWN_CA": "the broker does not accept the client certificate: another authority has signed it",
    "ALERT_BAD_CERTIFICATE": "the broker does not accept the client certificate",
    "ALERT_CERTIFICATE_EXPIRED": "the broker does not accept the client certificate: it has expired",
}


def _tls_words(reason: str) -> str:
    return next((f"{words} ({reason})" for part, words in _TLS_WORDS.items() if part in reason), reason)


def _hung_up(text: str) -> str:
    """Explain a hang-up after the TLS handshake, when a broker with TLS 1.3 refuses a client's certificate. pika keeps
    the repr of the alert, or of the end of the connection if that was seen first."""
    alert = _ALERT.search(text)
    return (
        _tls_words(alert[1])
        if alert
        else "the broker closed the connection after the TLS handshake: check the client certificate in tls.cert"
    )


def _from_handshake(error: BaseException, place: str) -> Failure:
    closed = _CLOSED.search(str(error.args[0]) if error.args else "")
    if closed:
        return from_reply(int(closed[1]), closed[3], place=place)
    if isinstance(error, exceptions.ProbableAuthenticationError):
        return Failure(Kind.UNAVAILABLE, "unreachable", "the broker closed the connection during the login", place)
    text = "the broker closed the connection while the virtual host was opened"
    return Failure(Kind.UNAVAILABLE, "unreachable", text, place)


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no connection within the time limit"
    if isinstance(error, exceptions.ConnectionOpenAborted):
        return "no AMQP answer within the time limit"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    texts = [str(part) for part in error.args if not isinstance(part, BaseException)]
    return " ".join(texts) or type(error).__name__

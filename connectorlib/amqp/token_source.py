"""Access tokens from a token server, by OAuth 2 client credentials (RFC 6749, 4.4). Thread-safe; its calls block.

A token is renewed early enough to fail a few times. How long it lasts is known from the answer, else from the token.
"""

import base64
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import field
from math import inf
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import TokenSettings
from connectorlib.values.text import shorten

PLACE = "token server"
#: The part of its life after which a token is renewed.
RENEWAL = 0.8
TIME_LIMIT = 10.0  # seconds for one request
MOST_BYTES = 1024 * 1024  # of an answer, which has a few thousand

#: Errors by which a token server judges the client (RFC 6749, 5.2) or the request; others may pass.
_REFUSALS = frozenset({"invalid_client", "invalid_grant", "unauthorized_client", "access_denied"})
_MISTAKES = frozenset({"invalid_request", "invalid_scope", "unsupported_grant_type"})
_KINDS = {401: Kind.REFUSED, 403: Kind.REFUSED, 404: Kind.CONFIGURATION, 405: Kind.CONFIGURATION}


@dataclass(frozen=True, slots=True)
class Token:
    secret: str = field(repr=False)
    #: time.monotonic() of the request for it.
    asked: float
    #: Seconds, `inf` if it does not say.
    life: float

    @property
    def renewal(self) -> float:
        """time.monotonic() from which on it should be renewed."""
        return self.asked + RENEWAL * self.life

    @property
    def end(self) -> float:
        """time.monotonic() from which on it is of no use."""
        return self.asked + self.life


class TokenSource:
    """The token of one client, and how to get the next one."""

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        #: The latest; None before the first, and when the broker has refused it.
        self.token: Token | None = None

    def get(self) -> Token:
        """Return a token that need not be renewed yet. Raise Failed."""
        with self._lock:
            if self.token is None or time.monotonic() >= self.token.renewal:
                self.token = self._request()
            return self.token

    def _request(self) -> Token:
        from connectorlib.service.http_client import Lost, NotSent, Session  # late: takes time, and few have a token

        settings = self._settings
        form = {"grant_type": "client_credentials", "client_id": settings.client_id}
        form |= {"client_secret": settings.client_secret, **({"scope": settings.scope} if settings.scope else {})}
        asked = time.monotonic()
        try:
            with Session("amqp-connectors", settings.tls.ca) as session:
                answer = session.request("POST", settings.url, data=form, timeout=TIME_LIMIT, most=MOST_BYTES)
        except NotSent as error:
            failure = Failure(error.kind, error.code, self._named(error.text), PLACE, retry_after=error.retry_after)
            raise Failed(failure) from None
        except Lost as error:
            raise Failed(Failure(Kind.UNAVAILABLE, "no-answer", self._named(error.text), PLACE)) from None
        found = read_answer(answer.status_code, answer.content, asked)
        if isinstance(found, Failure):
            raise Failed(Failure(found.kind, found.code, self._named(found.text), PLACE))
        return found

    def _named(self, text: str) -> str:
        return f"{self._settings.url}, client {self._settings.client_id}: {text}"


def read_answer(status: int, content: bytes, asked: float) -> Token | Failure:
    """Return the token of an answer, or why there is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    answer: Mapping[str, Any] = value if isinstance(value, dict) else {}
    secret = answer.get("access_token")
    if status == 200 and isinstance(secret, str) and secret:
        return Token(secret, asked, _life(answer.get("expires_in")) or _life_within(secret) or inf)
    error = answer.get("error")
    if not isinstance(error, str):
        text = "there is no access_token in the answer" if status == 200 else f"HTTP {status} without an OAuth error"
        return Failure(_kind(status), f"http-{status}", text)
    description = answer.get("error_description")
    kind = Kind.REFUSED if error in _REFUSALS else Kind.CONFIGURATION if error in _MISTAKES else Kind.UNAVAILABLE
    return Failure(kind, shorten(error), shorten(description) if isinstance(description, str) else "")


def _kind(status: int) -> Kind:
    return Kind.CONFIGURATION if 200 <= status < 400 else _KINDS.get(status, Kind.UNAVAILABLE)


def _life(value: object) -> float:
    """Return the seconds of `expires_in`, which some servers write as text; 0.0 if it is missing or none."""
    try:
        return max(0.0, float(value))  # type: ignore[arg-type]  # anything may be in an answer
    except (TypeError, ValueError):
        return 0.0


def _life_within(secret: str) -> float:
    """Return how long a JSON Web Token lasts, by its own claims; 0.0 if they do not say, or it is none."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(secret.split(".")[1] + "=="))
        return _life(claims["exp"] - claims.get("iat", time.time()))
    except (LookupError, ValueError, TypeError, AttributeError):
        return 0.0


def advice(failure: Failure) -> str:
    """Return what a person can do about a token server that gives no token."""
    from connectorlib.service.http_client import advice as of_the_way  # late, as above

    if failure.kind is Kind.REFUSED:
        return "correct client_id and client_secret, here or at the token server"
    if failure.kind is Kind.CONFIGURATION:
        return "correct url and scope of broker.token"
    return of_the_way(failure.code) or "is it running, is broker.token.url correct, does a firewall block it?"

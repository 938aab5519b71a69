"""Access tokens. A refused password is not sent again by itself, because wrong ones lock the user.

One log-in at a time, only when a token is needed; such a refusal lasts until `forgive`. The requests are made here and
not by simple_salesforce, which logs in without end when every token is refused.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any
from urllib.parse import urlsplit

from connectorlib.dataclass import dataclass
from connectorlib.errors import NEVER, Failed, Failure, Kind
from connectorlib.expressions import shorten
from connectorlib.service.http_client import Lost, NotSent, Session, host_of
from connectorlib.service.redaction import secrets
from connectorlib.values.backoff import Backoff
from connectorlib.values.hosts import is_link_local, is_loopback
from sfconnector.salesforce import login_errors
from sfconnector.salesforce.responses import decode, moment_of, wait_of, without_answer
from sfconnector.settings import Salesforce

logger = logging.getLogger(__name__)

PLACE = "salesforce"
TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path
TIME_LIMIT = 30.0  # seconds for one log-in, which waits for no lock and no trigger
MOST_BYTES = 1024 * 1024  # of an answer, which has about a thousand
#: Seconds between log-ins that are answered, but not with a token.
RETRIES = Backoff(5.0, 300.0, jitter=0.25)
JWT_SECONDS = 180  # the longest lifetime that Salesforce accepts

GRANTS = {
    "password": "password",
    "client_credentials": "client_credentials",
    "jwt": "urn:ietf:params:oauth:grant-type:jwt-bearer",
}
#: A token is sent to hosts below these without being asked.
_DOMAINS = ("salesforce.com", "force.com", "salesforce.mil")
#: No user, query or backslash, about which readers of addresses disagree.
_ADDRESS = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?")
_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")


@dataclass(frozen=True, slots=True)
class Token:
    """The result of a log-in. The ids are "" if the answer lacks them."""

    access_token: str = field(repr=False)
    instance_url: str
    user_id: str = ""
    org_id: str = ""


def session_for(settings: Salesforce) -> Session:
    """Return a session for the log-ins or the calls of a division."""
    return Session("sfconnector", settings.tls.ca)


class TokenProvider:
    """The access token of one division. Thread-safe."""

    def __init__(self, settings: Salesforce, division: str, *, session: Session | None = None) -> None:
        self._settings = settings
        self._division = division
        self._session = session or session_for(settings)
        self._lock = threading.Lock()
        self._token: Token | None = None
        #: A refused password: `get` raises it without another log-in.
        self.refused: Failure | None = None
        #: Log-ins in a row that were answered without a token.
        self._turned_down = 0
        #: Log-in requests so far.
        self.logins = 0
        #: How many log-ins have ended, and why the last one failed.
        self._ended = 0
        self._unanswered: Failure | None = None
        both = f"{settings.password}{settings.security_token}" if settings.password else ""  # as they are sent
        for secret in (settings.password, settings.security_token, both, settings.client_secret, settings.private_key):
            secrets.add(secret or "")

    def __repr__(self) -> str:
        return f"<TokenProvider {self._division}>"

    def get(self, stale: Token | None = None) -> Token:
        """Return a token; log in if there is none, or if it is still the stale one. Who comes while somebody logs in
        shares what comes of it, for lanes that log in one after the other would wait for each other's time limits.

        Raise Failed; with `retry_after` NEVER the failure lasts until `forgive`, because another try may lock the user.
        """
        before = self._ended
        with self._lock:
            if self.refused is not None:
                raise Failed(self.refused)
            if self._token is not None and self._token is not stale:
                return self._token
            if self._ended != before and self._unanswered is not None:
                raise Failed(self._unanswered)
            self._token = self._unanswered = None
            try:
                self._token = self._log_in()
            except Failed as failed:
                self._unanswered = failed.failure
                if self._unanswered.retry_after == NEVER:
                    self.refused = failed.failure
                raise
            finally:
                self._ended += 1
            self._turned_down = 0
            return self._token

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def forgive(self) -> None:
        """Let the next `get` log in again. Does not wait for a log-in in progress: a signal handler may call it."""
        self.refused, self._turned_down = None, 0

    def close(self) -> None:
        """Close the connections. The token stays valid: other processes of the same user may share the session."""
        self._session.close()

    def _log_in(self) -> Token:
        form = self._form()
        self.logins += 1
        self._session.freshen(idle=0.0)  # log-ins are rare: a kept connection would be dead
        try:
            answer = self._session.request(
                "POST",
                self._settings.login_url.rstrip("/") + TOKEN_PATH,
                data=form,
                timeout=TIME_LIMIT,
                most=MOST_BYTES,
            )
        except NotSent as error:
            failure = self._failure(error.kind, error.code, error.text)
            raise Failed(replace(failure, retry_after=error.retry_after)) from None
        except Lost as error:
            raise Failed(self._failure(Kind.UNAVAILABLE, "no-answer", error.text)) from None
        value = decode(answer.content)
        if answer.status_code == 200 and isinstance(value, Mapping) and (token := token_of(value)) is not None:
            secrets.add(token.access_token)
            self._check(token)
            return token
        failure = self._failure_of(answer.status_code, answer.content, value, answer.headers)
        wait = max(RETRIES.delay(self._turned_down, random.random()), wait_of(answer.headers, time.time()))  # noqa: S311
        self._turned_down += 1
        raise Failed(replace(failure, retry_after=max(failure.retry_after, wait)))

    # -- what is sent

    def _form(self) -> dict[str, str]:
        settings = self._settings
        if (grant := GRANTS.get(settings.auth)) is None:
            raise Failed(self._failure(Kind.CONFIGURATION, "auth", f"there is no auth {settings.auth!r}"))
        if settings.auth == "jwt":
            return {"grant_type": grant, "assertion": self._assertion()}
        form = {"grant_type": grant, "client_id": settings.client_id, "client_secret": settings.client_secret or ""}
        if settings.auth == "password":
            form["username"] = settings.username or ""
            form["password"] = (settings.password or "") + settings.security_token
        return form

    def _assertion(self) -> str:
        import jwt  # late: it brings cryptography, which two of three flows do without

        settings = self._settings
        claims = {
            "iss": settings.client_id,
            "sub": settings.username or "",
            "aud": settings.audience or audience_of(settings.login_url),
            "exp": int(time.time()) + JWT_SECONDS,
        }
        try:
            return jwt.encode(claims, settings.private_key or "", algorithm="RS256")
        except Exception as error:  # the libraries raise another type for each kind of bad key
            logger.debug("private_key: %s", type(error).__name__)
            text = f"private_key cannot be used to sign with RS256: {_why_not(settings.private_key)}"
            # Not chained: the texts of these libraries may quote the key.
            raise Failed(self._failure(Kind.CONFIGURATION, "private-key", text)) from None

    # -- what came back

    def _check(self, token: Token) -> None:
        """Refuse an address that the token must not be sent to. Raise Failed."""
        why_not = unfit(token.instance_url, self._settings)
        if why_not:
            text = f"the login answer named {shorten(token.instance_url)} for the API, {why_not}"
            raise Failed(self._failure(Kind.CONFIGURATION, "instance-url", text))

    def _failure_of(self, status: int, body: bytes, value: Any, headers: Mapping[str, str]) -> Failure:
        if 300 <= status < 400:
            host = host_of(headers.get("Location"))
            text = f"it answers with a redirect to {shorten(host)}: login_url must be the address of the login itself"
            return self._failure(Kind.UNAVAILABLE, "redirect", text)
        error = value.get("error") if isinstance(value, Mapping) else None
        if not isinstance(error, str) or not error:
            return self._failure(Kind.UNAVAILABLE, f"http-{status}", without_answer(status, body))
        given = value.get("error_description")
        description = secrets.redact(given) if isinstance(given, str) else ""
        skew = _skew(headers) if self._settings.auth == "jwt" else 0.0
        kind = login_errors.kind_of(error, description, status)
        if kind is Kind.UNAVAILABLE:
            return self._failure(kind, error, description or "no description")
        if abs(skew) > login_errors.MUCH_SKEW:
            kind = Kind.UNAVAILABLE  # until the clock is set: perhaps the machine has just been started
        causes = login_errors.causes(self._settings.auth, error, description, skew=skew)
        found = self._failure(kind, error, description or "no description", causes)
        return replace(found, retry_after=NEVER) if login_errors.may_lock(self._settings.auth, error) else found

    def _failure(self, kind: Kind, code: str, text: str, causes: str = "") -> Failure:
        text = f"{text} ({self._who()})" + (f"; {causes}" if causes else "")
        return Failure(kind, shorten(code), shorten(text, 1000), PLACE)

    def _who(self) -> str:
        host = urlsplit(self._settings.login_url).netloc.rpartition("@")[2]
        user = f", user {self._settings.username}" if self._settings.username else ""
        return f"division {self._division}{user}, login at {host}"


def token_of(value: Mapping[str, Any]) -> Token | None:
    """Given the answer to a log-in, return the token; None if it lacks the token or the address.

    `id` is `https://login.salesforce.com/id/<org>/<user>`.
    """
    access_token, instance_url, identity = (value.get(key) for key in ("access_token", "instance_url", "id"))
    if not (isinstance(access_token, str) and access_token.isascii() and access_token.isprintable() and access_token):
        return None
    if not isinstance(instance_url, str) or not _is_address(instance_url):
        return None
    parts = urlsplit(identity).path.strip("/").split("/") if isinstance(identity, str) else []
    org, user = parts[1:] if len(parts) == 3 and parts[0] == "id" else ("", "")
    return Token(access_token, instance_url.rstrip("/"), user, org)


def unfit(instance_url: str, settings: Salesforce) -> str:
    """Return why a token must not be sent to the address that a log-in named, "" if it may: whoever can forge the
    answer to a log-in would get it, and with it the org."""
    address = urlsplit(instance_url)
    host, own = (address.hostname or "").lower(), (urlsplit(settings.login_url).hostname or "").lower()
    if is_link_local(host):
        return "which is no address of an org"
    if address.scheme != "https" and not is_loopback(host):
        return "which is not https"
    known = host == own or host in map(str.lower, settings.instance_hosts)
    if known or host.endswith(tuple(f".{domain}" for domain in _DOMAINS)):
        return ""
    return "which is neither Salesforce's nor that of login_url; if it is right, add it to instance_hosts"


def _is_address(url: str) -> bool:
    if not _ADDRESS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def audience_of(login_url: str) -> str:
    """Return the audience of an assertion: Salesforce accepts two names of its own, and an org's My Domain.

    A sandbox is recognised by the form of the address (`acme--uat.sandbox.my.salesforce.com`).
    """
    parts = urlsplit(login_url)
    host = (parts.hostname or "").lower()
    if host == "test.salesforce.com" or ".sandbox." in host:
        return _AUDIENCES[1]
    if host.endswith(".salesforce.com"):
        return _AUDIENCES[0]
    return login_url.rstrip("/")


def _why_not(key: str | None) -> str:
    text = (key or "").strip()
    if not text:
        return "it is empty"
    if not text.startswith("-----BEGIN "):
        return "it is not PEM text, which begins with -----BEGIN PRIVATE KEY-----"
    if "ENCRYPTED" in text:
        return "it is encrypted: store it without a passphrase, as a credential of the service"
    if "PUBLIC KEY" in text or "CERTIFICATE" in text:
        return "it is the public half"
    return "it is damaged, or not an RSA key"


def _skew(headers: Mapping[str, str]) -> float:
    """Return by how many seconds this clock is behind the server's, 0.0 if unknown."""
    server = moment_of(headers.get("Date", ""))
    return 0.0 if server is None else server - time.time()

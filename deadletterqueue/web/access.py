"""Who may see the page and change something through it. Pure, except for the clock and random numbers.

- The `Host` has to be an address or a known name, and a form has to come from our own origin
  (connectorlib/service/form_origin.py).
- A form has to contain a token that only pages of this session have.
- With an access token there is no session without it.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable

from connectorlib.service import form_origin

#: How long a session lasts before the access token is needed again.
SESSION_S = 12 * 3600
#: A shorter access token could be guessed.
SHORTEST_TOKEN = 16


class Access:
    """Sessions and form tokens. They are signed, not stored, except for ended sessions; all end with the process."""

    def __init__(self, token: str | None, names: Iterable[str] = (), *, clock: Callable[[], float] = time.time) -> None:
        """`names` are those by which the page is reached, besides addresses and localhost."""
        self._token = token
        self._names = {form_origin.LOCAL, *(name.lower() for name in names)}
        self._clock = clock
        self._key = secrets.token_bytes(32)
        #: When sessions were ended; kept until they would have expired.
        self._ended: dict[str, float] = {}

    @property
    def needs_token(self) -> bool:
        return self._token is not None

    def strange_host(self, host: str | None) -> bool:
        """Return whether a request is for a name that is not ours."""
        return form_origin.is_strange_host(host, self._names)

    def admits(self, token: str) -> bool:
        return self._token is None or hmac.compare_digest(token.encode(), self._token.encode())

    def new_session(self) -> str:
        session = f"{int(self._clock())}.{secrets.token_urlsafe(16)}"
        return f"{session}.{self._sign('session', session)}"

    def is_session(self, cookie: str | None) -> bool:
        session, _, signature = (cookie or "").rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", session).encode()):
            return False
        if session in self._ended:
            return False
        return self._token is None or self._clock() - int(session.partition(".")[0]) < SESSION_S

    def end(self, cookie: str) -> None:
        """End a session, so that copies of the cookie are no longer valid."""
        now = self._clock()
        known = {session: at for session, at in self._ended.items() if now - at < SESSION_S}
        self._ended = known | {cookie.rpartition(".")[0]: now}

    def form_token(self, session: str) -> str:
        return self._sign("form", session)

    def is_form_token(self, session: str, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.form_token(session).encode())

    def _sign(self, what: str, text: str) -> str:
        return hmac.new(self._key, f"{what} {text}".encode(), hashlib.sha256).hexdigest()

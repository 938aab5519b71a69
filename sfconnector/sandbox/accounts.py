"""Apps, users and sessions of the org. Without HTTP; oauth.py decides who gets a token."""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, field, fields
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.sandbox import ids
from sfconnector.sandbox.refusals import ApiError, refused
from sfconnector.sandbox.switches import Switches

ORG_ID = ids.make("00D", 1)
FLOWS = ("password", "client_credentials", "jwt")


@dataclass(slots=True)
class App:
    """A connected app. `certificate` (PEM) verifies the JWTs, `run_as` is the user of client credentials."""

    client_id: str
    client_secret: str = field(default="", repr=False)
    flows: list[str] = field(default_factory=lambda: list(FLOWS))
    run_as: str | None = None
    certificate: str | None = None
    approved: bool = True  # by the users, which JWTs require
    admin_approved: bool = True
    scope: str = "api"  # without api, the REST API refuses the tokens


@dataclass(slots=True)
class User:
    username: str
    password: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    id: str = ""
    active: bool = True
    api_enabled: bool = True
    password_expired: bool = False
    failures: int = 0  # bad passwords in a row


@dataclass(slots=True)
class UserSession:
    number: int
    user: User
    app: App
    used_at: float
    issued_at: int  # seconds since 1970


class Accounts:
    """Thread-safe. `make_user` creates a User record in the org and returns the id."""

    def __init__(
        self,
        switches: Switches,
        make_user: Callable[[Mapping[str, Any]], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.switches = switches
        self.apps: dict[str, App] = {}
        self.users: dict[str, User] = {}
        self._make_user = make_user
        self._clock = clock
        self._sessions: dict[str, UserSession] = {}
        self._opened = 0
        self._lock = threading.RLock()

    def put_app(self, given: Mapping[str, Any]) -> App:
        """Create an app, or change the given attributes of one. Raise TypeError for an unknown key, ValueError
        for an unknown flow."""
        with self._lock:
            if not set(given.get("flows", ())) <= set(FLOWS):
                raise ValueError(f"flows: expected some of {', '.join(FLOWS)}")
            client_id = given["client_id"]
            app = self.apps.get(client_id) or App(client_id)
            _set(app, given)
            self.apps[client_id] = app
            return app

    def put_user(self, given: Mapping[str, Any]) -> User:
        """Create a user, or change the given attributes of one; `name` is the full name of a new user. Raise TypeError
        for an unknown key."""
        values = dict(given)
        full_name = str(values.pop("name", ""))
        with self._lock:
            known = self.users.get(str(values.get("username", "")).lower())
            user = known or User(values["username"])
            _set(user, values)
            if not user.id:
                user.id = self._make_user({"username": user.username, "name": full_name or user.username})
            self.users[user.username.lower()] = user
            return user

    def user(self, username: str) -> User | None:
        return self.users.get(username.lower())

    def open_session(self, user: User, app: App) -> str:
        """Return a new access token."""
        token = f"{ORG_ID[:15]}!AQ{secrets.token_urlsafe(64)}"
        with self._lock:
            self._opened += 1
            self._sessions[token] = UserSession(self._opened, user, app, self._clock(), int(time.time()))
        return token

    def session(self, token: str, *, use: bool = True) -> UserSession | None:
        """Return the session of a valid token, None for another; `use` extends the session."""
        now = self._clock()
        with self._lock:
            session = self._sessions.get(token)
            if session is None or not session.user.active:
                return None
            if now - session.used_at >= self.switches.session_seconds:
                del self._sessions[token]
                return None
            if use:
                session.used_at = now
            return session

    def end_sessions(self, username: str | None = None, token: str | None = None) -> int:
        """End all sessions, those of one user, or one; return how many."""
        with self._lock:
            ended = [
                each
                for each, session in self._sessions.items()
                if token in (None, each) and username in (None, session.user.username)
            ]
            for each in ended:
                del self._sessions[each]
            return len(ended)

    def authorise(self, header: str | None) -> User:
        """Given an Authorization header, return the user. Raise ApiError."""
        kind, _, token = (header or "").partition(" ")
        if header and (kind.lower() not in ("bearer", "oauth") or not token.strip()):
            raise refused("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", None, 401)
        session = self.session(token.strip())
        if session is None:
            raise _no_session("Session expired or invalid")
        if "api" not in session.app.scope.split() and "full" not in session.app.scope.split():
            raise _no_session("This session is not valid for use with the REST API")
        if not self.switches.api_enabled:
            raise refused("API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.", None, 403)
        if not session.user.api_enabled:
            raise refused("API_CURRENTLY_DISABLED", "API is disabled for this User", None, 403)
        if session.user.password_expired:
            text = (
                "The users password has expired, you must call SetPassword before attempting any other API operations"
            )
            raise refused("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", text, None, 403)
        return session.user

    def export(self) -> dict[str, Any]:
        """Return apps and users, with their passwords, as JSON. Sessions end with the process."""
        with self._lock:
            return {
                "apps": [asdict(app) for app in self.apps.values()],
                "users": [asdict(user) for user in self.users.values()],
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        with self._lock:
            self.apps = {app["client_id"]: App(**app) for app in state["apps"]}
            self.users = {user["username"].lower(): User(**user) for user in state["users"]}


def _set(target: App | User, values: Mapping[str, Any]) -> None:
    if unknown := values.keys() - {each.name for each in fields(target)}:
        raise TypeError(f"no such key: {', '.join(sorted(unknown))}")
    for name, value in values.items():
        setattr(target, name, value)


def _no_session(text: str) -> ApiError:
    return refused("INVALID_SESSION_ID", text, None, 401)

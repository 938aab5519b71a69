"""The token endpoint: who gets a token, and how the others are refused (source: help.salesforce.com).

As at Salesforce, none of these flows issues a refresh token.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import jwt

from connectorlib.preflight import certificates
from sfconnector.sandbox.accounts import ORG_ID, Accounts, App, User

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOGIN_HOSTS = ("https://login.salesforce.com", "https://test.salesforce.com")
LONGEST_JWT = 180.0 + 120.0  # seconds: the allowed lifetime, and the allowed difference of clocks


class Refused(Exception):
    """A refused request: an answer with status 400."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description

    def body(self) -> dict[str, str]:
        return {"error": self.error, "error_description": self.description}


def give_token(accounts: Accounts, form: Mapping[str, str], basic: tuple[str, str] | None, url: str) -> dict[str, str]:
    """Given the form, user and password of a Basic header, and the address of the request, return the answer.

    Raise Refused if no token is issued.
    """
    grant = form.get("grant_type", "")
    if grant == "password":
        app = _app(accounts, form, None, "password")
        user = _by_password(accounts, form)
    elif grant == "client_credentials":
        if not accounts.switches.my_domain:
            raise Refused("invalid_grant", "request not supported on this domain")
        app = _app(accounts, form, basic, "client_credentials")
        user = _run_as(accounts, app)
    elif grant == JWT_GRANT:
        app, user = _by_assertion(accounts, form, url)
    elif grant == "refresh_token":
        _app(accounts, form, basic, None)
        raise Refused("invalid_grant", "expired access/refresh token")
    else:
        raise Refused("unsupported_grant_type", "grant type not supported")
    return _answer(accounts, app, user, url, scoped=grant != "password")


def asked_by(form: Mapping[str, str], basic: tuple[str, str] | None) -> str:
    """Return a name for the journal: the user's if the form has it, else the app's."""
    claims = _unchecked(form.get("assertion", ""))
    name = form.get("username") or claims.get("sub") or form.get("client_id") or (basic[0] if basic else "")
    return str(name)


def introspect(accounts: Accounts, form: Mapping[str, str], basic: tuple[str, str] | None) -> dict[str, Any]:
    """Return the answer of RFC 7662. Raise Refused for an unknown app."""
    app = _app(accounts, form, basic, None)
    session = accounts.session(form.get("token", ""), use=False)
    if session is None:
        return {"active": False}
    return {
        "active": True,
        "scope": session.app.scope,
        "client_id": app.client_id,
        "username": session.user.username,
        "sub": f"https://login.salesforce.com/id/{ORG_ID}/{session.user.id}",
        "token_type": "access_token",
        "iat": session.issued_at,
        "nbf": session.issued_at,
        "exp": int(time.time() + accounts.switches.session_seconds),
    }


def revoke(accounts: Accounts, token: str) -> None:
    """End a session. Raise Refused if there is none."""
    if not token or not accounts.end_sessions(token=token):
        raise Refused("unsupported_token_type", "this token type is not supported or the token is invalid")


def _app(accounts: Accounts, form: Mapping[str, str], basic: tuple[str, str] | None, flow: str | None) -> App:
    client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
    app = accounts.apps.get(client_id)
    if app is None:
        raise Refused("invalid_client_id", "client identifier invalid")
    if not hmac.compare_digest(app.client_secret.encode(), secret.encode()):
        raise Refused("invalid_client", "invalid client credentials")
    _allow(app, flow)
    return app


def _allow(app: App, flow: str | None) -> None:
    if flow is not None and flow not in app.flows:
        raise Refused("unsupported_grant_type", "grant type not supported")


def _by_password(accounts: Accounts, form: Mapping[str, str]) -> User:
    for name in ("username", "password"):
        if not form.get(name):
            raise Refused("invalid_request", f"missing required parameter: {name}")
    user = accounts.user(form["username"])
    # The same text for a wrong name, a wrong password, a missing security token, a blocked flow and a locked user.
    refused = Refused("invalid_grant", "authentication failure")
    if user is None or not accounts.switches.password_flow:
        raise refused
    if user.failures >= accounts.switches.lockout_after:
        raise refused
    allowed = [user.password + user.security_token]
    if accounts.switches.ip_trusted:
        allowed.append(user.password)
    if not any(hmac.compare_digest(each.encode(), form["password"].encode()) for each in allowed):
        user.failures += 1
        raise refused
    if not user.active:
        raise Refused("invalid_grant", "inactive user")
    user.failures = 0
    return user


def _run_as(accounts: Accounts, app: App) -> User:
    user = accounts.user(app.run_as) if app.run_as else None
    if user is None:
        raise Refused("invalid_grant", "no client credentials user enabled")
    if not user.active:
        raise Refused("invalid_grant", "inactive user")
    return user


def _by_assertion(accounts: Accounts, form: Mapping[str, str], url: str) -> tuple[App, User]:
    if not form.get("assertion"):
        raise Refused("invalid_request", "missing required parameter: assertion")
    app = accounts.apps.get(str(_unchecked(form["assertion"]).get("iss", "")))
    if app is None:
        raise Refused("invalid_client_id", "client identifier invalid")
    _allow(app, "jwt")
    claims = _claims(app, form["assertion"], [*LOGIN_HOSTS, url])
    user = accounts.user(str(claims["sub"]))
    if user is None or not app.approved:
        raise Refused("invalid_grant", "user hasn't approved this consumer")
    if not app.admin_approved:
        raise Refused("invalid_app_access", "user is not admin approved to access this app")
    if not user.active:
        raise Refused("invalid_grant", "inactive user")
    return app, user


def _claims(app: App, assertion: str, audiences: list[str]) -> dict[str, Any]:
    if app.certificate is None:
        raise Refused("invalid_grant", "invalid assertion")
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion,
            certificates.public_key(app.certificate),
            algorithms=["RS256"],
            audience=audiences,
            options={"require": ["iss", "sub", "aud", "exp"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise Refused("invalid_grant", "expired authorization code") from error
    except jwt.InvalidAudienceError as error:
        raise Refused("invalid_grant", "audience is invalid") from error
    except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError) as error:
        raise Refused("invalid_grant", "invalid assertion") from error
    if claims["exp"] > time.time() + LONGEST_JWT:
        raise Refused("invalid_grant", "invalid assertion")
    return claims


def _unchecked(assertion: str) -> dict[str, Any]:
    try:
        return dict(jwt.decode(assertion, options={"verify_signature": False}))
    except jwt.InvalidTokenError:
        return {}


def _answer(accounts: Accounts, app: App, user: User, url: str, *, scoped: bool) -> dict[str, str]:
    identity = f"{url}/id/{ORG_ID}/{user.id}"
    issued_at = str(int(time.time() * 1000))
    signed = hmac.new(app.client_secret.encode(), f"{identity}{issued_at}".encode(), hashlib.sha256)
    answer = {
        "access_token": accounts.open_session(user, app),
        "instance_url": accounts.switches.instance_url or url,
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued_at,
        "signature": base64.b64encode(signed.digest()).decode(),
    }
    return answer | {"scope": app.scope} if scoped else answer

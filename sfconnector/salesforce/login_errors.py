"""The meaning of a refused log-in and the likely causes, as tables. Pure.

Only a wrong password can lock a user, so only that is never tried again by itself; everything else is, ever more
slowly. The exact cause is in the Login History of the org; the client mostly gets "authentication failure", so the
message lists what it can be.
"""

import re

from connectorlib.errors import Kind

#: Seconds of clock skew above which a signed assertion may count as expired.
MUCH_SKEW = 60.0

#: What the endpoint says when it judges the log-in and turns it down (lower case). Any other error is not about it.
_REFUSALS = frozenset(
    {
        "access_denied",
        "inactive_org",
        "inactive_user",
        "invalid_app_access",
        "invalid_client",
        "invalid_client_id",
        "invalid_client_credentials",
        "invalid_grant",
        "invalid_login",
        "oauth_approval_error_generic",
        "oauth_ec_app_not_found",
        "org_locked",
        "password_lockout",
        "unauthorized_client",
    }
)
_CONFIGURATION = frozenset({"invalid_request", "unsupported_grant_type", "unsupported_response_type", "invalid_scope"})
#: The refusals of a wrong password: another one may lock the user.
_LOCKING = frozenset({"invalid_grant", "invalid_login", "password_lockout"})
#: Too many log-ins an hour, whatever the error is.
_TOO_MANY = re.compile(r"rate[ _]?(limit)?[ _]?exceeded|number of login requests exceeded", re.IGNORECASE)
#: The endpoint asks for another try, whatever the error is.
_AGAIN = re.compile(r"retry your request|try again", re.IGNORECASE)

_WRONG_HOST = "a wrong login_url (sandboxes: https://test.salesforce.com)"
_BLOCKED_FLOW = "the username-password flow blocked in the org (Setup: OAuth and OpenID Connect Settings)"
_NOT_INSTALLED = (
    "the app is not installed in this org: an administrator must install it (Setup: Connected Apps OAuth Usage), or "
    "make an External Client App in the org itself"
)
_PASSWORD = (
    f"likely causes: a wrong password or user, a missing or outdated security_token, {_BLOCKED_FLOW}, {_WRONG_HOST}, "
    "an IP address that the org refuses; Login History in Setup names the cause"
)
_ANY_USER = (
    f"likely causes: the user is locked, inactive or may not use this app, {_WRONG_HOST}, an IP address that the org "
    "refuses; Login History in Setup names the cause"
)

#: (flow or "", error or "", pattern of the description or "", likely causes); the first that fits applies.
_CAUSES: tuple[tuple[str, str, str, str], ...] = (
    ("", "invalid_client_id", "", f"likely causes: a wrong client_id, a new app (wait 10 minutes), {_WRONG_HOST}"),
    ("", "", "must be installed", _NOT_INSTALLED),
    ("", "oauth_approval_error_generic", "", _NOT_INSTALLED),
    ("", "oauth_ec_app_not_found", "", "the External Client App is not in this org, or not enabled for it: likely "
     f"causes: a client_id of another org, {_WRONG_HOST}"),
    ("", "invalid_client", "", f"likely causes: a wrong client_secret or client_id, {_WRONG_HOST}"),
    ("", "", "not supported on this domain", "client credentials need the org's own My Domain as login_url"),
    ("", "", "no client credentials user", "the app has no user to run as: set it in the app's OAuth policies"),
    ("", "", "hasn't approved|not admin approved", "let an administrator approve the app for this user beforehand"),
    ("", "", "audience", f"set audience, or correct {_WRONG_HOST}"),
    ("jwt", "", "expired|assertion", "likely causes: this machine's clock is wrong, the certificate of the app is not "
     "that of private_key, a wrong client_id or username"),
    ("", "", "inactive user", "the user is inactive in this org"),
    ("", "", "inactive org", "the org is inactive: a sandbox that was deleted or refreshed, or a trial that has ended"),
    ("", "inactive_user", "", "the user is inactive in this org"),
    ("", "inactive_org", "", "the org is inactive: a sandbox that was deleted or refreshed, or a trial that has ended"),
    ("", "unsupported_grant_type", "", "the app does not allow this flow: enable it there, or choose another auth"),
    ("", "invalid_request", "", "something that the flow needs is missing in the division's salesforce section"),
    ("password", "", "", _PASSWORD),
    ("", "", "", _ANY_USER),
)  # fmt: skip


def kind_of(error: str, description: str, status: int = 400) -> Kind:
    """Given the answer to a log-in, return what to do: an error that does not turn the log-in down is an outage."""
    if status >= 500 or status in (407, 420, 429):
        return Kind.UNAVAILABLE
    if _TOO_MANY.search(description) or _AGAIN.search(description):
        return Kind.UNAVAILABLE
    if error.lower() in _CONFIGURATION:
        return Kind.CONFIGURATION
    return Kind.REFUSED if error.lower() in _REFUSALS else Kind.UNAVAILABLE


def may_lock(auth: str, error: str) -> bool:
    """Return whether another try of a refused log-in may lock the user: only a password is counted."""
    return auth == "password" and error.lower() in _LOCKING


def causes(auth: str, error: str, description: str, *, skew: float = 0.0) -> str:
    """Return the likely causes of a refusal. `skew`: seconds by which this clock is behind."""
    found = next(
        text
        for flow, code, words, text in _CAUSES
        if flow in ("", auth) and code in ("", error.lower()) and re.search(words, description, re.IGNORECASE)
    )
    if auth == "jwt" and abs(skew) > MUCH_SKEW:
        behind = "behind" if skew > 0 else "ahead of"
        found += f"; the clock of this machine is {abs(skew):.0f} s {behind} the server's"
    return found

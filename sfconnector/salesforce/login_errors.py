"""The meaning of a refused log-in and the likely causes, as tables. Pure.

The exact cause is in the Login History of the org; the client mostly gets "authentication failure", so the message
lists what it can be.
"""

import re

from connectorlib.errors import Kind

#: Seconds of clock skew above which a signed assertion may count as expired.
MUCH_SKEW = 60.0

_TEMPORARY = frozenset({"rate_limit_exceeded", "server_error", "temporarily_unavailable", "login_rate_exceeded"})
_CONFIGURATION = frozenset({"invalid_request", "unsupported_grant_type", "unsupported_response_type", "invalid_scope"})
#: Too many log-ins an hour, whatever the error is.
_TOO_MANY = re.compile(r"rate[ _]?(limit)?[ _]?exceeded|number of login requests exceeded", re.IGNORECASE)

_WRONG_HOST = "a wrong login_url (sandboxes: https://test.salesforce.com)"
_BLOCKED_FLOW = "the username-password flow blocked in the org (Setup: OAuth and OpenID Connect Settings)"
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
    """Given the answer to a log-in, return what to do.

    Everything that is not known to be temporary counts as refused and is not tried again: repeating it could lock the
    user.
    """
    if status >= 500 or status in (420, 429):
        return Kind.UNAVAILABLE
    if error.lower() in _TEMPORARY or _TOO_MANY.search(description):
        return Kind.UNAVAILABLE
    return Kind.CONFIGURATION if error in _CONFIGURATION else Kind.REFUSED


def causes(auth: str, error: str, description: str, *, skew: float = 0.0) -> str:
    """Return the likely causes of a refusal. `skew`: seconds by which this clock is behind."""
    found = next(
        text
        for flow, code, words, text in _CAUSES
        if flow in ("", auth) and code in ("", error) and re.search(words, description, re.IGNORECASE)
    )
    if auth == "jwt" and abs(skew) > MUCH_SKEW:
        behind = "behind" if skew > 0 else "ahead of"
        found += f"; the clock of this machine is {abs(skew):.0f} s {behind} the server's"
    return found

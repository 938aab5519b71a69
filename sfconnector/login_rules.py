"""Rules for log-ins beyond the schema: what each OAuth flow needs, and valid addresses."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from connectorlib.config import Review
from connectorlib.config.broker_rules import review_address, review_ca
from connectorlib.config.json_source import Path
from connectorlib.values.text import listed
from sfconnector.config_merge import Merged
from sfconnector.settings import Salesforce

#: Required and optional keys of each flow.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "password": ("client_id", "client_secret", "username", "password"),
    "client_credentials": ("client_id", "client_secret"),
    "jwt": ("client_id", "username", "private_key"),
}
TAKES: Mapping[str, tuple[str, ...]] = {"password": ("security_token",), "client_credentials": (), "jwt": ("audience",)}
WHY = {
    "client_id": ": consumer key of the connected app",
    "client_secret": ": consumer secret of the connected app, such as ${SF_SECRET}",
    "username": ": the user that creates the Cases",
    "password": ": of the user, such as ${SF_PASSWORD}",
    "private_key": ": PEM text, such as ${credential:sf-key}",
}
#: Hosts that serve all orgs. Client credentials need the host of the org.
COMMON_HOSTS = ("login.salesforce.com", "test.salesforce.com")
_FOR_BROWSERS = (".lightning.force.com", ".my.salesforce-setup.com", ".my.site.com", ".vf.force.com")
#: Earlier versions cannot upsert several Cases in one call, or do not report which existed.
OLDEST_API = 46
END_OF_PASSWORDS = "2027-02-20"  # release notes of Winter '27


def review_logins(found: Review, merged: Merged) -> None:
    """Check the log-in of each division, and of all of them together."""
    with_password = []
    for name in merged.divisions:
        section = merged.section(name, "salesforce")
        auth = _auth(found, merged, name)
        if auth is not None:
            _review_needs(found, merged, name, auth)
            _review_unused(found, name, auth)
        if auth == "password":
            with_password.append(name)
        for key in ("login_url", "audience"):
            if key in section:
                _review_login_url(found, merged.home(name, "salesforce", key), section[key])
        _review_version(found, merged.home(name, "salesforce", "api_version"))
        if "ca" in (tls := section.get("tls", {})):
            review_ca(found, (*merged.home(name, "salesforce", "tls"), "ca"), tls["ca"])
    if with_password:
        text = (
            f"Salesforce ends the username-password flow on {END_OF_PASSWORDS}; jwt and client_credentials "
            f"stay. It is used by {listed(with_password)}"
        )
        found.warn(merged.home(with_password[0], "salesforce", "auth")[:-1], text)
    _review_same_user(found, merged)


def _auth(found: Review, merged: Merged, name: str) -> str | None:
    """Return the flow of a division; None if it is unknown because of another mistake."""
    for path in (("divisions", name, "salesforce"), ("tenant", "salesforce")):
        if path in found.document.refused or (*path, "auth") in found.document.refused:
            return None
    where = merged.home(name, "salesforce", "auth")
    auth = str(merged.section(name, "salesforce").get("auth", Salesforce().auth))
    return None if where in found.document.pending else auth


def _review_needs(found: Review, merged: Merged, name: str, auth: str) -> None:
    section = merged.section(name, "salesforce")
    path: Path = ("divisions", name, "salesforce")
    for key in NEEDS[auth]:
        if key not in section and ("tenant", "salesforce", key) not in found.document.refused:
            found.missing(path, key, WHY[key])
    where = merged.home(name, "salesforce", "private_key")
    given = auth == "jwt" and "private_key" in section and where not in found.document.pending
    if given and "PRIVATE KEY-----" not in section["private_key"]:
        found.problem(where, "expected a private key as PEM text, which begins with -----BEGIN PRIVATE KEY-----")
    if auth == "client_credentials":
        _review_my_domain(found, merged, name)


def _review_my_domain(found: Review, merged: Merged, name: str) -> None:
    where = merged.home(name, "salesforce", "login_url")
    url = merged.section(name, "salesforce").get("login_url")
    hint = "client_credentials needs the org's My Domain, such as https://acme.my.salesforce.com"
    if url is None and not found.document.refused & {where, ("tenant", "salesforce", "login_url")}:
        found.missing(where[:-1], "login_url", f": {hint}")
    elif url is not None and _host(url) in COMMON_HOSTS:
        found.problem(where, hint)


def _review_unused(found: Review, name: str, auth: str) -> None:
    """Warn of keys that the flow ignores: often another user is expected than the one that is used."""
    known = {*NEEDS[auth], *TAKES[auth]}
    path: Path = ("divisions", name, "salesforce")
    for key in found.section(*path):
        if key in {*WHY, "security_token", "audience"} - known:
            more = ": the app says which user it is" if auth == "client_credentials" and key == "username" else ""
            found.warn((*path, key), f"is not used by auth {auth}{more}")


def _review_login_url(found: Review, path: Path, url: str) -> None:
    parts = review_address(found, path, url, "https://login.salesforce.com")
    if parts is None:
        return
    if (parts.hostname or "").endswith(_FOR_BROWSERS):
        found.problem(path, "this address is for browsers; My Domain is such as https://acme.my.salesforce.com")
    elif "/services" in parts.path:
        found.problem(path, "expected only the address; /services/oauth2/token is added to it")
    elif parts.query:
        found.problem(path, "expected only the address, such as https://login.salesforce.com")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _review_version(found: Review, path: Path) -> None:
    version = found.get(*path)
    if version is not None and path not in found.document.pending and float(version) < OLDEST_API:
        found.problem(path, f'expected "{OLDEST_API}.0" or newer')


def _review_same_user(found: Review, merged: Merged) -> None:
    """Warn of divisions with one app: with client credentials the user belongs to the app."""
    seen: dict[tuple[object, object], str] = {}
    for name in merged.divisions:
        section = merged.section(name, "salesforce")
        if section.get("auth") != "client_credentials" or "client_id" not in section:
            continue
        first = seen.setdefault((section.get("login_url"), section["client_id"]), name)
        if first != name:
            text = f"the same app as {first}, so the same user creates the Cases of both"
            found.warn(merged.home(name, "salesforce", "client_id"), text)

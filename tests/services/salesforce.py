"""The sandbox as a process of the run's own, with what a test does to an org: set it up, break it, look into it."""

import functools
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.services.server import Server, answers

CLIENT_ID, CLIENT_SECRET = "test-app", "test-app/secret;1"
PASSWORD, SECURITY_TOKEN = "pass/word;1", "TOKEN1"
COMMAND = Path(sys.executable).with_name("sfconnector")
JSON = {"Content-Type": "application/json"}


class Salesforce(Server):
    """The installed command. Its org is made anew for each test by `reset`."""

    name = "salesforce"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.url = f"http://{self.host}:{self.port}"

    def commands(self) -> Sequence[Sequence[str]]:
        return [[str(COMMAND), "sandbox", "--empty", "--port", str(self.port), *self.options()]]

    def options(self) -> Sequence[str]:
        return ()

    def is_ready(self) -> bool:
        return answers(self.host, self.port, b"HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200")


class Org:
    """The org that a test has for itself: its own users, records, faults and log."""

    def __init__(self, server: Salesforce) -> None:
        self.server = server
        self.url = server.url
        self.reset()

    def reset(self, *, demo: bool = False) -> None:
        """A fresh org with one app for all flows, without users and records; or the command's demo org."""
        self.ask("POST", "/_sim/reset", {"demo": demo})
        self.key = ""
        if not demo:
            self.app(CLIENT_ID, CLIENT_SECRET)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Call the sandbox's own administration; raise AssertionError with its answer when it says no."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.server.host}:{self.server.port}{path}"
        request = urllib.request.Request(url, data, JSON, method=method)
        try:
            with _opener.open(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    # Who may log in

    def app(self, client_id: str, client_secret: str = "", **more: Any) -> None:
        """Make a connected app, or change one: flows, run_as, certificate, approved, admin_approved, scope."""
        self.ask("POST", "/_sim/apps", {"client_id": client_id, "client_secret": client_secret, **more})

    def user(self, username: str, password: str = PASSWORD, security_token: str = SECURITY_TOKEN, **more: Any) -> str:
        """Make a user, or change one: name, active, api_enabled, password_expired, failures. Return the id."""
        given = {"username": username, "password": password, "security_token": security_token, **more}
        return str(self.ask("POST", "/_sim/users", given)["id"])

    def login(self, division: str, auth: str = "password") -> dict[str, Any]:
        """Make the division's user `<division>@example.com`; return the `salesforce` section of its configuration."""
        username = f"{division}@example.com"
        self.user(username)
        section = {"login_url": self.url, "auth": auth, "client_id": CLIENT_ID}
        if auth == "password":
            return section | {
                "client_secret": CLIENT_SECRET,
                "username": username,
                "password": PASSWORD,
                "security_token": SECURITY_TOKEN,
            }
        if auth == "jwt":
            self.key = _key()
            self.app(CLIENT_ID, CLIENT_SECRET, certificate=public_key(self.key))
            return section | {"username": username, "private_key": self.key}
        self.app(f"{division}-app", CLIENT_SECRET, run_as=username)
        return section | {"client_id": f"{division}-app", "client_secret": CLIENT_SECRET}

    def expire_tokens(self, username: str | None = None) -> None:
        """End all sessions, or one user's."""
        self.ask("POST", "/_sim/expire", {"user": username})

    # What is in it

    def seed(self, sobject: str, *records: Mapping[str, Any]) -> list[str]:
        """Put records in as they are; return their ids."""
        return list(self.ask("POST", f"/_sim/records/{sobject}", records))

    def contacts(self, number: int) -> list[str]:
        """Make contacts with the addresses `c0@example.com`, `c1@example.com`, …; return their ids."""
        made = [{"LastName": f"Contact {each}", "Email": f"c{each}@example.com"} for each in range(number)]
        return self.seed("Contact", *made)

    def records(self, sobject: str) -> list[dict[str, Any]]:
        return list(self.ask("GET", f"/_sim/records/{quote(sobject)}"))

    def cases(self) -> list[dict[str, Any]]:
        """Return all Cases with all fields, oldest first."""
        return self.records("Case")

    def delete(self, sobject: str, record_id: str, user: str, *, into: str | None = None) -> None:
        """Delete a record as a user does, or merge it into another."""
        self.ask("DELETE", f"/_sim/records/{quote(sobject)}", {"id": record_id, "user": user, "into": into})

    def add_field(self, sobject: str, name: str, **keys: Any) -> None:
        """Add a field; `keys` as a describe answer has them (type is string unless said)."""
        self.ask("POST", f"/_sim/fields/{sobject}", {"name": name, "type": "string", "length": 255, **keys})

    def rules(self, **rules: Any) -> None:
        """Set validation and assignment rules, locked records and the like: see sfconnector/sandbox/org_rules.py."""
        self.ask("PATCH", "/_sim/org", rules)

    # What goes wrong

    def switch(self, **switches: Any) -> None:
        """Set what an administrator can switch: see sfconnector/sandbox/switches.py."""
        self.ask("PATCH", "/_sim/switches", switches)

    def latency(self, milliseconds: float, per_record: float = 0.0) -> None:
        self.switch(latency_ms=milliseconds, latency_per_record_ms=per_record)

    def maintenance(self, kind: str = "down") -> None:
        """`down` (an HTML page with 503), `read-only`, or the end of it: an empty text."""
        self.switch(maintenance=kind)

    def limit(self, maximum: int | None = None, used: int | None = None) -> None:
        """Set how many API calls there may be in 24 hours, and how many there were."""
        self.ask("PATCH", "/_sim/limits", {"max": maximum, "used": used})

    def fault(
        self,
        *,
        match: Mapping[str, Any] | None = None,
        times: int | None = 1,
        skip: int = 0,
        probability: float = 1.0,
        **action: Any,
    ) -> None:
        """Make calls fail: see sfconnector/sandbox/faults.py. `times` None is for ever."""
        rule = {"match": match or {}, "times": times, "skip": skip, "probability": probability, "action": action}
        self.ask("POST", "/_sim/faults", rule)

    def no_faults(self) -> None:
        self.ask("DELETE", "/_sim/faults")

    # What was asked of it

    def requests(self, path: str = "") -> list[dict[str, Any]]:
        """Return the requests below /services, oldest first; only those whose path holds a text, if one is given."""
        return [each for each in self.ask("GET", "/_sim/requests") if path in each["path"]]

    def calls(self, username: str | None = None) -> int:
        """Return how many API calls were made; log-ins are none."""
        counted: dict[str, int] = self.ask("GET", "/_sim/counts")["calls"]
        return sum(counted.values()) if username is None else counted.get(username, 0)

    def logins(self, username: str) -> int:
        """Return how often somebody tried to log in as this user."""
        return sum(self.ask("GET", "/_sim/counts")["logins"].get(username, {}).values())

    def most_at_a_time(self, username: str) -> int:
        """Return the largest number of this user's requests that ran beside each other."""
        return int(self.ask("GET", "/_sim/counts")["most_at_a_time"].get(username, 0))

    def forget_requests(self) -> None:
        """Begin to count anew."""
        self.ask("DELETE", "/_sim/requests", {})


def private_key() -> str:
    """Return a new RSA key as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, kept = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, kept).decode()


@functools.cache  # reading a key checks it, which takes a while too
def public_key(private: str) -> str:
    """Return what a connected app checks the JWTs of a private key with."""
    key = serialization.load_pem_private_key(private.encode(), None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


_key = functools.cache(private_key)  # making one takes a while
#: Whatever proxy the environment names, the sandbox is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

"""RabbitMQ's management API, for what AMQP cannot do: read bindings and policies, and set a policy."""

import base64
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from connectorlib.amqp.token_source import TokenSource
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import BrokerSettings

#: The default port, by whether it uses TLS.
PORTS = {False: 15672, True: 15671}
TIMEOUT_S = 5.0
PLACE = "management API"
NO_LOG_IN = Failure(
    Kind.CONFIGURATION,
    "no-log-in",
    "takes no client certificate, and there are no username and password for it",
    PLACE,
)

#: Returns the header `Authorization`; raises Failed without a log-in.
Authorization = Callable[[], str]


def management_of(settings: BrokerSettings, url: str | None = None) -> "Management":
    """Return the API of the broker's first host, or at another address, with the log-in that the broker has too."""
    from connectorlib.amqp.connection_parameters import tls_context  # late: pika is not needed for everything

    host = settings.hosts[0][0]
    scheme = "https" if settings.tls else "http"
    name = f"[{host}]" if ":" in host else host
    address = url or f"{scheme}://{name}:{PORTS[bool(settings.tls)]}"
    return Management(address, _authorization(settings), tls_context(settings.tls))


def _authorization(settings: BrokerSettings) -> Authorization:
    if settings.token:
        source = TokenSource(settings.token)
        return lambda: f"Bearer {source.get().secret}"
    if settings.username:
        return basic(settings.username, settings.password)

    def refuse() -> str:
        raise Failed(NO_LOG_IN)

    return refuse


def basic(username: str, password: str) -> Authorization:
    header = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    return lambda: header


class Management:
    """Talks to one node. Every method raises Failed: refused, missing, not reachable."""

    def __init__(self, url: str, authorization: Authorization, context: ssl.SSLContext | None = None) -> None:
        """`url` is the address of the API without `/api`, such as http://rabbit1:15672."""
        self.url = url.rstrip("/")
        self._authorization = authorization
        # A redirect could send the password elsewhere; so could a proxy, and the broker is reached without one too.
        direct = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context), _NoRedirect)

    def queue(self, virtual_host: str, name: str) -> dict[str, Any]:
        """Return the API's description of a queue: `type`, `arguments`, `effective_policy_definition`, …"""
        answer = self._call("GET", "queues", virtual_host, name)
        return answer if isinstance(answer, dict) else {}

    def bindings(
        self, virtual_host: str, exchange: str, destination: str, *, to_exchange: bool = False
    ) -> list[dict[str, Any]]:
        """Return the bindings between an exchange and a queue, or another exchange."""
        answer = self._call("GET", "bindings", virtual_host, "e", exchange, "e" if to_exchange else "q", destination)
        if to_exchange:  # the broker tells those of both directions
            return [each for each in answer or () if each.get("source") == exchange]
        return answer if isinstance(answer, list) else []

    def consumers(self, virtual_host: str) -> list[dict[str, Any]]:
        """Return the consumers of a virtual host: each with `queue`, `consumer_tag` and whether it is `active`."""
        answer = self._call("GET", "consumers", virtual_host)
        return answer if isinstance(answer, list) else []

    def policies(self, virtual_host: str) -> list[dict[str, Any]]:
        """Return the policies of a virtual host."""
        answer = self._call("GET", "policies", virtual_host)
        return answer if isinstance(answer, list) else []

    def set_policy(self, virtual_host: str, name: str, policy: Mapping[str, Any]) -> None:
        """Make a policy, or replace the one with this name."""
        self._call("PUT", "policies", virtual_host, name, body=policy)

    def _call(self, method: str, *path: str, body: object = None) -> Any:
        address = "/".join([self.url, "api", *(urllib.parse.quote(part, safe="") for part in path)])
        try:
            request = urllib.request.Request(  # noqa: S310  # http and https only, see below
                address,
                method=method,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Authorization": self._authorization(), "Content-Type": "application/json"},
            )
            if request.type not in ("http", "https"):
                raise ValueError("expected an address that begins with http:// or https://")
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                content = answer.read()
            return json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            with error:
                raise Failed(_failure(error, address)) from error
        except ValueError as error:  # not an address, or the answer is not JSON
            text = f"{self.url}: no management API there ({error})"
            raise Failed(Failure(Kind.CONFIGURATION, "management", text, PLACE)) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            text = f"{self.url} cannot be reached: {reason}"
            raise Failed(Failure(Kind.UNAVAILABLE, "unreachable", text, PLACE)) from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _failure(error: urllib.error.HTTPError, address: str) -> Failure:
    kinds = {401: Kind.REFUSED, 403: Kind.REFUSED, 404: Kind.CONFIGURATION}
    try:
        reason = json.loads(error.read(4096)).get("reason", "")
    except (ValueError, AttributeError, OSError):
        reason = ""
    text = f"{address}: {error.code} {reason or error.reason}"
    if error.code in (401, 403):
        text += " (the management API takes users with the tag management, monitoring, policymaker or administrator)"
    kind = kinds.get(error.code, Kind.UNAVAILABLE if error.code >= 500 else Kind.CONFIGURATION)
    return Failure(kind, str(error.code), text, PLACE)

"""Settings of the whole sandbox: latency, maintenance and what an administrator can switch."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from connectorlib.dataclass import dataclass

MAINTENANCE = ("", "down", "read-only")


@dataclass(slots=True)
class Switches:
    """Settings that PATCH /_sim/switches changes."""

    latency_ms: float = 0.0  # of every call
    latency_per_record_ms: float = 0.0
    maintenance: str = ""  # down: an HTML page with 503 for everything; read-only: no writes
    api_enabled: bool = True
    # Log-ins
    password_flow: bool = True  # False: blocked, as in orgs created since Summer '23
    ip_trusted: bool = False  # True: passwords need no security token
    my_domain: bool = True  # False: like login.salesforce.com, without client credentials
    instance_url: str = ""  # in the answer to a log-in; empty: the address of the request
    session_seconds: float = 7200.0  # without a call until a token expires
    lockout_after: int = 10  # bad passwords in a row

    def change(self, given: Mapping[str, Any]) -> None:
        """Raise ValueError for an unknown name or a value of another type."""
        types = {each.name: type(getattr(self, each.name)) for each in fields(self)}
        for name, value in given.items():
            if name not in types:
                raise ValueError(f"{name}: no such switch; here are {', '.join(types)}")
            numbers = types[name] is float and isinstance(value, int) and not isinstance(value, bool)
            if not numbers and type(value) is not types[name]:
                raise ValueError(f"{name}: expected {types[name].__name__}")
            if name == "maintenance" and value not in MAINTENANCE:
                raise ValueError(f"{name}: expected one of {', '.join(map(repr, MAINTENANCE))}")
        for name, value in given.items():
            setattr(self, name, types[name](value))

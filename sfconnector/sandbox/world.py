"""The state of a sandbox. A reset replaces the world; requests in progress end in the old one."""

import threading
from collections.abc import Mapping
from typing import Any

from sfconnector.sandbox.accounts import Accounts
from sfconnector.sandbox.api_limit import ApiLimit
from sfconnector.sandbox.faults import Faults
from sfconnector.sandbox.journal import Journal
from sfconnector.sandbox.org import Org
from sfconnector.sandbox.query_cursors import Cursors
from sfconnector.sandbox.switches import Switches


class World:
    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        self.org = Org(schema=schema)
        self.switches = Switches()
        self.accounts = Accounts(self.switches, self._make_user)
        self.limit = ApiLimit()
        self.faults = Faults()
        self.journal = Journal()
        self.cursors = Cursors()

    def _make_user(self, given: Mapping[str, Any]) -> str:
        first, _, last = str(given["name"]).rpartition(" ")
        name = {"FirstName": first or None, "LastName": last, "Name": given["name"]}
        return self.org.seed("User", [{"Username": given["username"], "Email": given["username"], **name}])[0]

    def export(self) -> dict[str, Any]:
        """Return org, apps and users as JSON."""
        return {"org": self.org.export(), "accounts": self.accounts.export()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.org.restore(state["org"])
        self.accounts.restore(state["accounts"])


class Sandbox:
    """The current world, and the event that ends every wait."""

    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        self._schema = schema
        self.stopping = threading.Event()
        self.dirty = threading.Event()  # there are unsaved changes
        self.world = World(schema)

    def reset(self) -> None:
        self.world = World(self._schema)

    def changed(self, method: str) -> None:
        """Note that a request with this method was handled."""
        if method not in ("GET", "HEAD"):
            self.dirty.set()

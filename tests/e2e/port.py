"""The monitoring port of a connector."""

from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.services.server import free_port


class Port:
    """The monitoring port of a connector that is asked."""

    def __init__(self) -> None:
        self.number = free_port()

    @property
    def section(self) -> dict[str, Any]:
        return {"port": self.number}

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.number}{path}", timeout=30)

    def code(self, path: str) -> int:
        return self.get(path).status_code

    def status(self) -> dict[str, Any]:
        return dict(self.get("/status").json())

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return each series with its value."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        samples = (sample for family in families for sample in family.samples)
        return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}

    def value(self, name: str, **labels: str) -> float:
        return self.metrics()[f"amqp_connector_{name}", tuple(sorted(labels.items()))]

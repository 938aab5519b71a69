"""http-sink posts each message of a queue to a URL: the example of "To add a sink" in CONTRIBUTING.md.

    python -m tests.examples.http_sink run -c http-sink.json

2xx: the server has the message. 4xx: it never will, so the message becomes a dead letter. 5xx, or no answer: nothing is
taken until the server answers again.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from connectorlib.errors import reject, unavailable
from connectorlib.messages import Delivery
from connectorlib.pipeline.message_sink import MessageSink
from connectorlib.preflight.sink_program import sink_program

SCHEMA = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "pattern": "^https?://", "x-expected": "an address with http:// or https://"},
        "token": {"type": "string"},
        "timeout": {"type": "number", "exclusiveMinimum": 0},
    },
    "required": ["url"],
    "additionalProperties": False,
}


class HttpSink(MessageSink):
    target = "server"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.about = self._url = settings["url"]
        self._timeout = settings.get("timeout", 10.0)
        self._headers = {"Authorization": f"Bearer {settings['token']}"} if "token" in settings else {}

    def ping(self) -> None:
        self._call("HEAD")

    def send(self, delivery: Delivery) -> None:
        content_type = delivery.properties.content_type or "application/octet-stream"
        # A message may come twice; by its id the server can tell.
        key = quote(delivery.properties.message_id or "")
        self._call("POST", delivery.body, {"Content-Type": content_type, "Idempotency-Key": key})

    def _call(self, method: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
        request = urllib.request.Request(self._url, body, {**self._headers, **(headers or {})}, method=method)  # noqa: S310 - see SCHEMA
        try:
            with urllib.request.urlopen(request, timeout=self._timeout):  # noqa: S310 - see SCHEMA
                return
        except urllib.error.HTTPError as error:
            code, text = f"http-{error.code}", str(error.reason)
            if error.code >= 500:
                raise unavailable(code, text) from error
            if method == "POST":
                raise reject(code, text, by_target=True) from error
        except OSError as error:  # no answer: urllib's own errors and those of the socket
            raise unavailable("http", str(getattr(error, "reason", error))) from error


main = sink_program(
    "http-sink", "Post each message of a queue to a URL.", section="http", schema=SCHEMA, open_sink=HttpSink
)

if __name__ == "__main__":
    main()

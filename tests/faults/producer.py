"""Publishes messages with unique ids and keeps the books: what was attempted, and what the broker has confirmed."""

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pika
import pika.exceptions

from tests.faults.checker import Sent
from tests.services.rabbitmq import Vhost

#: So many go in one transaction: all of them are confirmed, or of none is it known.
CHUNK = 50
WORDS = (
    "pump",
    "Ventil",
    "größer",
    "ηλεκτρικό",
    "насос",
    "温度",
    "🔥",
    "a'b",
    '"q"',
    "c\\d",
    "tab\there",
    "-- x",
    "?",
    ":n",
)
#: Ways in which a message cannot be written.
BAD = ("cut off", "no text", "too long", "null part", "text for a number")


def message(id: int, chance: random.Random, bad: float = 0.0) -> tuple[bytes, Sent]:
    """Return the body of a message and what must become of it; `bad` is how likely it cannot be written."""
    text = " ".join(chance.choices(WORDS, k=chance.randint(1, 12)))
    parts: list[dict[str, Any]] = [{"n": n} for n in range(chance.randint(0, 3))]
    body: dict[str, Any] = {"id": id, "device": f"d{id % 7}", "text": text, "parts": parts}
    kind = chance.choice(BAD) if chance.random() < bad else ""
    if kind == "no text":
        del body["text"]
    elif kind == "too long":
        body["device"] = "d" * 50
    elif kind == "null part":
        parts.append({"n": None})
    elif kind == "text for a number":
        parts.append({"n": "many"})
    whole = json.dumps(body, ensure_ascii=False).encode()
    if kind == "cut off":
        whole = whole[:-5]
    return whole, Sent(text, len(parts), bad=bool(kind), key=body["device"])


#: Makes the body of a message and says what must become of it; given its id and how likely it is to be bad.
Make = Callable[[int, random.Random, float], tuple[bytes, Sent]]


class Producer:
    """Goes straight to the broker, past the links that are spoiled."""

    def __init__(
        self,
        vhost: Vhost,
        queue: str,
        chance: random.Random,
        *,
        bad: float = 0.0,
        make: Make = message,
        exchange: str = "",
    ) -> None:
        """With `exchange` messages go there, by their keys."""
        self.attempted: dict[int, Sent] = {}
        self.confirmed: set[int] = set()
        self.bad = bad
        self._vhost = vhost
        self._make = make
        self._queue = queue
        self._exchange = exchange
        self._chance = chance
        self._connection: Any = None
        self._channel: Any = None
        self._returned: list[int] = []
        self._latest: list[tuple[int, bytes, Sent]] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, count: int, bad: float | None = None) -> list[int]:
        """Attempt that many more, a transaction for each chunk; return the ids that are confirmed."""
        confirmed: list[int] = []
        for start in range(0, count, CHUNK):
            with self._lock:
                first = len(self.attempted) + 1
                ids = range(first, first + min(CHUNK, count - start))
                share = self.bad if bad is None else bad
                confirmed += self._send([(id, *self._make(id, self._chance, share)) for id in ids])
        return confirmed

    def send_one(self, text: str) -> int:
        """Attempt a message with this text that cannot be written; return its id."""
        with self._lock:
            id = len(self.attempted) + 1
            body = json.dumps({"id": id, "device": "d0", "text": text, "parts": []}).encode()
            self._send([(id, body, Sent(text, bad=True, key="d0"))])
        return id

    def repeat(self, count: int) -> None:
        """Send again up to that many of the latest good ones, under their old ids."""
        with self._lock:
            chosen = [each for each in self._latest if not each[2].bad][-count:]
            self._send(chosen)

    def start(self, rate: float) -> None:
        """Send that many a second until `stop`, whatever becomes of the broker."""
        self._over.clear()
        size = max(1, min(10 * CHUNK, int(rate / 10)))

        def run() -> None:
            due = time.monotonic()
            while not self._over.wait(due - time.monotonic()):
                self.send(size)
                # What could not be sent while the broker was away is not made up for by a flood.
                due = max(due + size / rate, time.monotonic() - 1.0)

        self._thread = threading.Thread(target=run, name="producer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(60)
            self._thread = None

    def close(self) -> None:
        self.stop()
        self._disconnect()

    def _send(self, messages: Sequence[tuple[int, bytes, Sent]]) -> list[int]:
        self.attempted.update((id, sent) for id, _, sent in messages)
        self._latest = [*self._latest, *messages][-200:]
        self._returned.clear()
        try:
            channel = self._open()
            for id, body, sent in messages:
                whole = pika.BasicProperties(message_id=f"m-{id}", delivery_mode=2)
                key = sent.key if self._exchange else self._queue
                channel.basic_publish(self._exchange, key, body, whole, mandatory=True)
            channel.tx_commit()  # answered when every queue has them
            self._connection.process_data_events(0)
        except (pika.exceptions.AMQPError, OSError):
            self._disconnect()
            return []
        ids = [id for id, _, _ in messages if id not in self._returned]
        self.confirmed.update(ids)
        return ids

    def _open(self) -> Any:
        if self._channel is not None and self._channel.is_open:
            return self._channel
        self._disconnect()
        vhost = self._vhost
        credentials = pika.PlainCredentials(vhost.username, vhost.password)
        parameters = pika.ConnectionParameters(
            vhost.host,
            vhost.port,
            vhost.name,
            credentials,
            heartbeat=0,
            blocked_connection_timeout=10,
            socket_timeout=5,
            stack_timeout=10,
            client_properties={"connection_name": "the test itself"},
        )
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.add_on_return_callback(lambda _c, _m, properties, _b: self._note_return(properties))
        self._channel.tx_select()
        return self._channel

    def _note_return(self, properties: Any) -> None:
        self._returned.append(int(properties.message_id.partition("-")[2]))

    def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                connection.close()

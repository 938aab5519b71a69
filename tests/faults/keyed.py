"""A world in which every message also touches the row of its device, which somebody else may lock, in four lanes."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.faults.checker import Sent
from tests.faults.world import WRITE, World

DEVICES = [f"d{number}" for number in range(41)]


def of_many_devices(id: int, chance: random.Random, bad: float, count: int = len(DEVICES)) -> tuple[bytes, Sent]:
    """Return the body of a message of one device after the other; none is bad."""
    device = f"d{id % count}"
    body = {"id": id, "device": device, "text": device, "parts": []}
    return json.dumps(body).encode(), Sent(device, key=device)


class Keyed(World):
    def prepare(self) -> None:
        super().prepare()
        self.database.execute("CREATE TABLE device (name varchar(20) PRIMARY KEY, seen integer)")
        if self.database.kind == "postgresql":
            self.database.execute(f"GRANT ALL ON device TO {self.user}")
        for device in DEVICES:
            self.database.execute("INSERT INTO device (name, seen) VALUES (?, 0)", device)
        touch = {"statement": "UPDATE device SET seen = seen + 1 WHERE name = :device"}
        self.configure(
            database={"write": [touch, WRITE[0]]},
            lanes={"count": 4, "key": "device"},
            batch={"size": 500, "wait_ms": 5},
            retry={},
        )

    def speeds(self, seconds: float) -> Mapping[str, float]:
        """Return how many rows of each device are written in a second, looking on for so long."""
        before, begun = self._by_device(), time.monotonic()
        threading.Event().wait(seconds)
        after, ended = self._by_device(), time.monotonic()
        return {device: (after[device] - before[device]) / (ended - begun) for device in DEVICES}

    @contextmanager
    def locked(self, device: str) -> Iterator[None]:
        """Lock the row of a device."""
        connection = self.database.connect()
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT seen FROM device WHERE name = '{device}' FOR UPDATE")
        try:
            yield
        finally:
            cursor.execute("COMMIT")
            connection.close()

    def _by_device(self) -> Counter[str]:
        return Counter(dict(self.database.rows("SELECT device, count(*) FROM reading GROUP BY device")))

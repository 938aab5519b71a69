"""An arena with a database at its far side: dbconnector writes into it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults import sickness
from tests.faults.arena import BATCH, QUEUE, Arena
from tests.faults.checker import Row
from tests.services.database import Database
from tests.services.proxy import Proxy
from tests.services.rabbitmq import Vhost

INBOX = {"table": "inbox", "key": "$message_id"}
#: A table without any constraint that could hide a double.
TABLES = {
    "postgresql": (
        "CREATE TABLE reading (seq bigserial, id integer NOT NULL, device varchar(20), text text NOT NULL)",
        "CREATE TABLE part (reading integer NOT NULL, n integer NOT NULL)",
    ),
    "mariadb": (
        "CREATE TABLE reading (seq bigint AUTO_INCREMENT PRIMARY KEY, id integer NOT NULL, device varchar(20), "
        "text text NOT NULL)",
        "CREATE TABLE part (reading integer NOT NULL, n integer NOT NULL)",
    ),
}
INBOX_TABLE = (
    "CREATE TABLE inbox (consumer varchar(255), message_key char(64), applied_at timestamp DEFAULT CURRENT_TIMESTAMP, "
    "PRIMARY KEY (consumer, message_key))"
)
WRITE = [
    {"statement": "INSERT INTO reading (id, device, text) VALUES (:id, :device, :text)"},
    {"statement": "INSERT INTO part (reading, n) VALUES (:id, :n)", "for_each": "parts", "values": {"id": "$.id"}},
]


class World(Arena):
    def __init__(self, folder: Path, vhost: Vhost, database: Database, **more: Any) -> None:
        """`more` as an arena takes it."""
        super().__init__(folder, vhost, Proxy(database.server.host, database.server.port), **more)
        self.database = database
        self.file = folder / "db.config"
        self.user = ""

    def prepare(self) -> None:
        kind = self.database.kind
        self.database.script(*TABLES[kind], INBOX_TABLE, *sickness.TRIGGERS[kind])
        self.user = sickness.make_user(self.database)
        sickness.hurry(self.database)
        self.configure()

    def command(self) -> Sequence[str]:
        return "dbconnector", "subscribe", "-c", str(self.file)

    def configure(
        self, *, database: Mapping[str, Any] | None = None, broker: Mapping[str, Any] | None = None, **sections: Any
    ) -> None:
        """Write db.config; both ways lead through the links."""
        link = {"Server": self.far_link.host, "Port": str(self.far_link.port)}
        link |= {"Uid": self.user, "Pwd": sickness.PASSWORD}
        source = {"queue": QUEUE, "exchange": "devices", "routing_keys": ["reading.#"]}
        config: dict[str, Any] = {
            "database": {"connection": self.database.connection | link} | dict(database or {"write": WRITE}),
            "broker": self.broker_config(source=source) | dict(broker or {}),
            "format": {"type": "json"},
            "batch": {"size": BATCH, "wait_ms": 5},
            "retry": {"attempts": 3, "first_ms": 20, "max_s": 1},
        }
        if self.once and "write" in config["database"]:
            config["idempotency"] = INBOX
        self.file.write_text(json.dumps(config | sections, indent=2))

    def written(self) -> int:
        return self.database.count("reading")

    def rows(self) -> list[Row]:
        return [Row(int(id), str(text)) for id, text in self.database.rows("SELECT id, text FROM reading ORDER BY seq")]

    def parts(self) -> dict[int, int]:
        counted = self.database.rows("SELECT reading, count(*) FROM part GROUP BY reading")
        return {int(id): int(count) for id, count in counted}

    def secrets(self) -> list[str]:
        return [*super().secrets(), sickness.PASSWORD]

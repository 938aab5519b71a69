"""The inbox: one row per message that was written, in the same transaction as its data, so that a second delivery of
it writes nothing. Without it delivery is at least once."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import MISSING, Scope, compile_expression
from dbconnector.bisect import LARGEST, portions
from dbconnector.dialects.base import Dialect
from dbconnector.odbc.database import Database
from dbconnector.parameters import Key
from dbconnector.settings import Idempotency

PLACE = "inbox"
_PLAIN = re.compile(r"[A-Za-z0-9 ._-]+")


def ddl(table: str) -> str:
    """Return the statement that makes the inbox table, for any of the databases."""
    return (
        f"CREATE TABLE {table} (\n"
        "  consumer varchar(255) NOT NULL,\n"
        "  message_key char(64) NOT NULL,\n"
        "  applied_at timestamp DEFAULT CURRENT_TIMESTAMP,\n"
        "  PRIMARY KEY (consumer, message_key)\n"
        ")"
    )


class Inbox:
    """Keys of the messages of one consumer."""

    def __init__(self, settings: Idempotency, consumer: str) -> None:
        self.table = settings.table
        self.consumer = consumer
        self._missing = settings.missing
        self._key = compile_expression(settings.key)
        #: The consumer as SQL, where it needs no escaping: half of the parameters are that much less work.
        self._literal = f"'{consumer}'" if _PLAIN.fullmatch(consumer) else ""
        #: Where keys come from, for a person.
        self.source = settings.key if isinstance(settings.key, str) else PLACE

    def key(self, record: Any, scope: Scope) -> Key | None:
        """Return the message's key.

        Return None for a message without a key if those are accepted, else raise Failed (reject, `no-key`).
        """
        value = self._key.evaluate(record, scope)
        if value is MISSING or value is None or value == "":
            if self._missing == "accept":
                return None
            raise reject("no-key", "the message has no idempotency key", place=PLACE, detail=f"key <- {self.source}")
        if isinstance(value, list | dict | bytes):
            raise reject("bad-value", "a key must be text or a number", place=PLACE, detail=f"key <- {self.source}")
        text = str(value)
        return Key(hashlib.sha256(text.encode()).hexdigest(), text)

    def insert(self, database: Database, keys: Sequence[Key]) -> int:
        """Insert the keys, sorted so that two consumers never deadlock over them; return how many are new."""
        dialect, new = database.dialect, 0
        for portion in portions(sorted(key.digest for key in keys), min(dialect.max_rows, LARGEST)):
            rows = portion if self._literal else [value for digest in portion for value in (self.consumer, digest)]
            count = database.execute(self._sql(dialect, len(portion)), rows, place=PLACE)
            new += _new(dialect, len(portion), count)
        return new

    def _sql(self, dialect: Dialect, rows: int) -> str:
        """Return the insert of that many keys; where the dialect has no way to skip duplicates, one is an error."""
        insert = dialect.insert_or_ignore or "INSERT INTO {table} VALUES {rows}"
        values = ", ".join([f"({self._literal or '?'}, ?)"] * rows)
        return insert.format(table=f"{self.table} (consumer, message_key)", rows=values)

    def delete_older(self, database: Database, seconds: float) -> int:
        """Delete this consumer's keys that were applied longer ago than that; return how many."""
        # As text: SQLite keeps it so, and the others parse it. The connection's time zone is UTC.
        before = (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
        return database.execute(
            f"DELETE FROM {self.table} WHERE consumer = ? AND applied_at < ?",
            (self.consumer, before),
            place=PLACE,
        )


def _new(dialect: Dialect, keys: int, count: int) -> int:
    """Given how many rows the driver says one insert has made, return how many of its keys are new."""
    if not dialect.insert_or_ignore:
        return keys  # a key that is there is an error; and SQL Server with NOCOUNT says -1
    if count < 0:
        text = "the driver does not say how many rows were inserted, so nobody knows which messages are new"
        raise Failed(Failure(Kind.CONFIGURATION, "no-count", text, PLACE))
    return count

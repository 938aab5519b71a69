"""The inbox: one row per message that was written, in the same transaction as its data, so that a second delivery of
it writes nothing. Without an inbox delivery is at least once."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import MISSING, Scope, compile_expression
from dbconnector.bisect import LARGEST, statements
from dbconnector.dialects.base import Dialect
from dbconnector.settings import Idempotency

if TYPE_CHECKING:
    from dbconnector.odbc.database import Database

PLACE = "inbox"
_PLAIN = re.compile(r"[A-Za-z0-9 ._-]+")


class Key(NamedTuple):
    """What makes two messages the same one."""

    #: SHA-256 of the text in hex, which the inbox stores: collations that ignore case would merge different keys.
    digest: str
    text: str


def ddl(table: str) -> str:
    """Return the statement that creates the inbox table, for any of the databases."""
    return (
        f"CREATE TABLE {table} (\n"
        "  consumer varchar(255) NOT NULL,\n"
        "  message_key char(64) NOT NULL,\n"
        "  applied_at timestamp DEFAULT CURRENT_TIMESTAMP,\n"
        "  PRIMARY KEY (consumer, message_key)\n"
        ")"
    )


class Inbox:
    """The keys of one consumer's messages."""

    def __init__(self, settings: Idempotency, consumer: str) -> None:
        self.table = settings.table
        self.consumer = consumer
        self._missing = settings.missing
        self._key = compile_expression(settings.key)
        #: The consumer as SQL where it needs no escaping, which halves the parameters.
        self._literal = f"'{consumer}'" if _PLAIN.fullmatch(consumer) else ""
        #: The expression of the key, for a person.
        self.source = settings.key if isinstance(settings.key, str) else PLACE

    def key(self, record: Any, scope: Scope) -> Key | None:
        """Return the key of a message, or None if it has none and that is accepted. Raise Failed (reject) if it has
        none or one that is no text or number."""
        value = self._key.evaluate(record, scope)
        if value is MISSING or value is None or value == "":
            if self._missing == "accept":
                return None
            raise reject("no-key", "the message has no idempotency key", place=PLACE, detail=f"key <- {self.source}")
        if isinstance(value, list | dict | bytes):
            raise reject("bad-value", "a key must be text or a number", place=PLACE, detail=f"key <- {self.source}")
        text = str(value)
        return Key(hashlib.sha256(text.encode()).hexdigest(), text)

    def insert(self, database: "Database", keys: Sequence[Key]) -> int:
        """Insert the keys, sorted so that two consumers never deadlock over them; return how many are new."""
        dialect, new = database.dialect, 0
        if not dialect.unique_keys:
            text = "this database has no keys that refuse a second row, so it cannot tell what is new"
            raise Failed(Failure(Kind.CONFIGURATION, "no-keys", text, PLACE))
        consumer = () if self._literal else (self.consumer,)
        rows = [(*consumer, digest) for digest in sorted(key.digest for key in keys)]
        for sql, parameters in statements(rows, min(dialect.max_rows, LARGEST), partial(self._sql, dialect)):
            count = database.execute(sql, parameters, place=PLACE)
            new += _new(dialect, len(parameters) // len(rows[0]), count)
        return new

    def _sql(self, dialect: Dialect, rows: int) -> str:
        """Return the insert of that many keys; a duplicate is an error if the dialect has no way to skip it."""
        insert = dialect.insert_or_ignore or "INSERT INTO {table} VALUES {rows}"
        values = ", ".join([f"({self._literal or '?'}, ?)"] * rows)
        return insert.format(table=f"{self.table} (consumer, message_key)", rows=values)

    def delete_older(self, database: "Database", seconds: float) -> int:
        """Delete the keys that this consumer inserted longer ago than that; return how many."""
        # As text: SQLite keeps it so, and the others parse it. The connection's time zone is UTC or that of the clock.
        before = (datetime.now(UTC) - timedelta(seconds=seconds)).replace(tzinfo=None)
        if database.clock is not None:
            before = min(before, database.clock.lowest(before))
        return database.execute(
            f"DELETE FROM {self.table} WHERE consumer = ? AND applied_at < ?",
            (self.consumer, f"{before:%Y-%m-%d %H:%M:%S}"),
            place=PLACE,
        )


def _new(dialect: Dialect, keys: int, count: int) -> int:
    """Given the row count that the driver reports for an insert, return how many of its keys are new."""
    if not dialect.insert_or_ignore:
        return keys  # a key that exists is an error; and SQL Server with NOCOUNT reports -1
    if count < 0:
        text = "the driver does not say how many rows were inserted, so it is unknown which messages are new"
        raise Failed(Failure(Kind.CONFIGURATION, "no-count", text, PLACE))
    return count

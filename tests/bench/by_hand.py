"""The limit: the quickest loop that can be written by hand for exactly one table, with nothing that a connector needs.

One thread reads from RabbitMQ (`SelectConnection`), one writes rows of 500 with multi-row VALUES, commits and acks.
No outcomes, no errors, no reconnect; the format and the statements are those of the one case.
"""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pika
import pyodbc
from lxml import etree

ROWS = 500
#: Parameters of one statement that every driver here can take (psqlodbc: 7,498).
PARAMETERS = 7_400


def from_json(bodies: Sequence[bytes], columns: Sequence[str]) -> list[Any]:
    return [item[name] for item in map(json.loads, bodies) for name in columns]


def from_json_lists(bodies: Sequence[bytes], columns: Sequence[str]) -> list[Any]:
    return [item[name] for body in bodies for item in json.loads(body) for name in columns]


def from_xml(bodies: Sequence[bytes], columns: Sequence[str]) -> list[Any]:
    return [field.text for body in bodies for field in etree.fromstring(body)[: len(columns)]]


def from_delimited(bodies: Sequence[bytes], columns: Sequence[str]) -> list[Any]:
    return [value for body in bodies for value in body.decode().split("|")[: len(columns)]]


DECODE: dict[str, Callable[[Sequence[bytes], Sequence[str]], list[Any]]] = {
    "json": from_json,
    "json-lists": from_json_lists,
    "xml": from_xml,
    "delimited": from_delimited,
}


class Statement:
    """A statement that takes many rows: `sql`, the rows, and what comes after them."""

    def __init__(self, sql: str, columns: int, row: str = "", tail: str = "", between: str = ", ") -> None:
        self._head = f"{sql} VALUES " if not row else sql
        self._row = row or f"({', '.join('?' * columns)})"
        self._tail = tail
        self._between = between
        self._most = columns * min(ROWS, PARAMETERS // columns)
        self._columns = columns
        self._many = self._text(self._most)

    def run(self, cursor: Any, values: list[Any]) -> None:
        for start in range(0, len(values), self._most):
            chunk = values if len(values) <= self._most else values[start : start + self._most]
            cursor.execute(self._many if len(chunk) == self._most else self._text(len(chunk)), chunk)

    def _text(self, values: int) -> str:
        return self._head + self._between.join([self._row] * (values // self._columns)) + self._tail


def run(
    amqp: dict[str, Any],
    queue: str,
    connection: str,
    sql: str | list[str],
    columns: list[str],
    count: int | None,
    *,
    row: str = "",
    tail: str = "",
    between: str = ", ",
    format: str = "json",
    batch: int = ROWS,
    at_once: bool = False,
) -> None:
    """Write `count` messages of the queue and return; without a count go on until killed. Each `sql` takes all rows.
    `at_once`: what is there is written, however few they are."""
    least = 1 if at_once else batch
    ready: deque[tuple[int, bytes]] = deque()
    enough = threading.Event()
    done = threading.Event()
    parameters = pika.ConnectionParameters(
        amqp["host"],
        amqp["port"],
        amqp["virtual_host"],
        pika.PlainCredentials(amqp["username"], amqp["password"]),
    )
    seen = 0
    database = pyodbc.connect(connection, autocommit=False)
    decode = DECODE[format]
    statements = [
        Statement(each, len(columns), row, tail, between) for each in ([sql] if isinstance(sql, str) else sql)
    ]

    def on_message(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        nonlocal seen
        seen += 1
        ready.append((method.delivery_tag, body))
        if seen % least == 0 or seen == count:
            enough.set()

    def on_channel(channel: Any) -> None:
        channels.append(channel)
        channel.basic_qos(prefetch_count=4 * batch)
        channel.basic_consume(queue, on_message)

    channels: list[Any] = []
    broker = pika.SelectConnection(
        parameters,
        on_open_callback=lambda it: it.channel(on_open_callback=on_channel),
        on_close_callback=lambda it, _reason: it.ioloop.stop(),
    )

    def write() -> None:
        cursor, written = database.cursor(), 0
        while count is None or written < count:
            quiet = not enough.wait(0.1)
            enough.clear()
            while len(ready) >= least or (ready and (quiet or (count is not None and written + len(ready) >= count))):
                taken = [ready.popleft() for _ in range(min(batch, len(ready)))]
                values = decode([body for _, body in taken], columns)
                for statement in statements:
                    statement.run(cursor, values)
                database.commit()
                tag = taken[-1][0]
                broker.ioloop.add_callback_threadsafe(lambda tag=tag: channels[0].basic_ack(tag, multiple=True))
                written += len(taken)
        database.close()
        done.set()

    def work() -> None:
        try:
            write()
        finally:
            broker.ioloop.add_callback_threadsafe(broker.close)

    writer = threading.Thread(target=work, daemon=True)
    writer.start()
    broker.ioloop.start()
    writer.join()
    assert done.is_set()


if __name__ == "__main__":
    run(**json.load(sys.stdin))

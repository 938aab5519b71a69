"""The limit: the quickest loop that can be written by hand for exactly one table, with nothing that a connector needs.

One thread reads from RabbitMQ (`SelectConnection`), one writes rows of 500 with multi-row VALUES, commits and acks.
No outcomes, no errors, no other format, no reconnect.
"""

import json
import sys
import threading
from collections import deque
from typing import Any

import pika
import pyodbc

ROWS = 500


def run(amqp: dict[str, Any], queue: str, connection: str, sql: str, columns: list[str], count: int) -> None:
    """Write `count` messages of the queue and return."""
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

    def on_message(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        nonlocal seen
        seen += 1
        ready.append((method.delivery_tag, body))
        if seen % ROWS == 0 or seen >= count:
            enough.set()

    def on_channel(channel: Any) -> None:
        channels.append(channel)
        channel.basic_qos(prefetch_count=4 * ROWS)
        channel.basic_consume(queue, on_message)

    channels: list[Any] = []
    broker = pika.SelectConnection(
        parameters,
        on_open_callback=lambda it: it.channel(on_open_callback=on_channel),
        on_close_callback=lambda it, _reason: it.ioloop.stop(),
    )

    def write() -> None:
        database = pyodbc.connect(connection, autocommit=False)
        cursor, written = database.cursor(), 0
        row = f"({', '.join('?' * len(columns))})"
        many = f"{sql} VALUES {', '.join([row] * ROWS)}"
        while written < count:
            enough.wait(1.0)
            enough.clear()
            while len(ready) >= ROWS or (ready and written + len(ready) >= count):
                batch = [ready.popleft() for _ in range(min(ROWS, len(ready)))]
                values = [item[name] for item in (json.loads(body) for _, body in batch) for name in columns]
                text = many if len(batch) == ROWS else f"{sql} VALUES {', '.join([row] * len(batch))}"
                cursor.execute(text, values)
                database.commit()
                tag = batch[-1][0]
                broker.ioloop.add_callback_threadsafe(lambda tag=tag: channels[0].basic_ack(tag, multiple=True))
                written += len(batch)
        database.close()
        done.set()

    def work() -> None:
        try:
            write()
        finally:
            broker.ioloop.add_callback_threadsafe(broker.close)

    writer = threading.Thread(target=work)
    writer.start()
    broker.ioloop.start()
    writer.join()
    assert done.is_set()


if __name__ == "__main__":
    run(**json.load(sys.stdin))

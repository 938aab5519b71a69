"""The naive twins: what most people write first, with pika's BlockingConnection and a row at a time.

`subscribe` writes a row, commits, acks. `select` publishes a row, waits for its confirm, and marks it if it is told to.
"""

import json
import sys
from typing import Any

import pika
import pyodbc

from tests.bench.by_hand import DECODE


def connect(amqp: dict[str, Any]) -> Any:
    credentials = pika.PlainCredentials(amqp["username"], amqp["password"])
    parameters = pika.ConnectionParameters(amqp["host"], amqp["port"], amqp["virtual_host"], credentials)
    return pika.BlockingConnection(parameters)


def subscribe(
    amqp: dict[str, Any], queue: str, connection: str, statements: list[str], columns: list[str], format: str
) -> None:
    database = pyodbc.connect(connection, autocommit=False)
    cursor = database.cursor()
    channel = connect(amqp).channel()
    channel.basic_qos(prefetch_count=100)
    for method, _, body in channel.consume(queue):
        values = DECODE[format]([body], columns)
        for start in range(0, len(values), len(columns)):
            for statement in statements:
                cursor.execute(statement, values[start : start + len(columns)])
        database.commit()
        channel.basic_ack(method.delivery_tag)


def select(amqp: dict[str, Any], exchange: str, connection: str, query: str, on_sent: str | None) -> None:
    database = pyodbc.connect(connection, autocommit=False)
    marking = pyodbc.connect(connection, autocommit=False) if on_sent else None
    cursor = database.cursor().execute(query)
    names = [column[0] for column in cursor.description]
    channel = connect(amqp).channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
    for row in cursor.fetchall():
        body = json.dumps(dict(zip(names, row, strict=True)), default=str).encode()
        channel.basic_publish(exchange, "row", body, properties, mandatory=True)
        if marking is not None:
            marking.execute(on_sent, row[0])
            marking.commit()


if __name__ == "__main__":
    job = json.load(sys.stdin)
    if job.pop("do") == "select":
        select(**job)
    else:
        subscribe(**job)

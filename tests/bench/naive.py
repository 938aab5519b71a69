"""The naive twins: what most people write first, with pika's BlockingConnection and a message at a time.

`subscribe` writes a row, commits, acks. `select` publishes a row, waits for its confirm, and marks it if it is told to.
`cases` makes one Case by one call and acks.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import pika
import pyodbc

from tests.bench.bare import logged_in
from tests.bench.by_hand import DECODE


def opened(amqp: dict[str, Any]) -> Any:
    """Return a channel of a new connection."""
    credentials = pika.PlainCredentials(amqp["username"], amqp["password"])
    parameters = pika.ConnectionParameters(amqp["host"], amqp["port"], amqp["virtual_host"], credentials)
    return pika.BlockingConnection(parameters).channel()


def subscribe(
    amqp: dict[str, Any], queue: str, connection: str, statements: list[str], columns: list[str], format: str
) -> None:
    database = pyodbc.connect(connection, autocommit=False)
    cursor = database.cursor()
    channel = opened(amqp)
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
    cursor = database.cursor().execute(query)
    names = [column[0] for column in cursor.description]
    channel = opened(amqp)
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
    for row in cursor.fetchall():
        body = json.dumps(dict(zip(names, row, strict=True)), default=str).encode()
        channel.basic_publish(exchange, "row", body, properties, mandatory=True)
        if on_sent:
            cursor.execute(on_sent, row[0])
            database.commit()


def cases(amqp: dict[str, Any], queue: str, salesforce: dict[str, Any]) -> None:
    session, url = logged_in(salesforce)
    channel = opened(amqp)
    channel.basic_qos(prefetch_count=100)
    for method, properties, body in channel.consume(queue):
        alarm = json.loads(body)
        record = {
            "attributes": {"type": "Case"},
            "Subject": f"Pump {alarm['device']}: {alarm['alarm']}",
            "Description": alarm["text"],
            "SuppliedEmail": alarm["email"],
            "Message_Id__c": properties.message_id,
        }
        body = json.dumps({"allOrNone": False, "records": [record]}).encode()
        answer = session.patch(f"{url}/composite/sobjects/Case/Message_Id__c", body, timeout=60)
        answer.raise_for_status()
        channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    twins: dict[str, Callable[..., None]] = {"subscribe": subscribe, "select": select, "cases": cases}
    job = json.load(sys.stdin)
    twins[job.pop("do")](**job)

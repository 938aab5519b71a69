"""The limit of `receive`: takes one message, writes it, commits and acks, and nothing else."""

import json
import sys
from typing import Any

import pika
import pyodbc


def run(amqp: dict[str, Any], queue: str, connection: str, statements: list[str], columns: list[str]) -> None:
    credentials = pika.PlainCredentials(amqp["username"], amqp["password"])
    parameters = pika.ConnectionParameters(amqp["host"], amqp["port"], amqp["virtual_host"], credentials)
    broker = pika.BlockingConnection(parameters)
    channel = broker.channel()
    database = pyodbc.connect(connection, autocommit=False)
    method, _, body = channel.basic_get(queue)
    record = json.loads(body)
    for statement in statements:
        database.execute(statement, [record[name] for name in columns])
    database.commit()
    channel.basic_ack(method.delivery_tag)
    broker.close()
    database.close()


if __name__ == "__main__":
    run(**json.load(sys.stdin))

"""The limit of publishing: ready-made bodies with a window of 4,000 that are not confirmed yet, and nothing else."""

import json
import sys
from collections import deque
from typing import Any

import pika

WINDOW = 4_000
#: Published at once before the loop may write to the socket.
CHUNK = 200


def run(amqp: dict[str, Any], exchange: str, bodies: list[str]) -> None:
    """Publish the bodies, persistent and mandatory, and return when all are confirmed."""
    waiting = deque(body.encode() for body in bodies)
    total, sent = len(waiting), 0
    floor, above = 0, set[int]()  # all tags up to the one are confirmed, and some beyond it
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
    credentials = pika.PlainCredentials(amqp["username"], amqp["password"])
    parameters = pika.ConnectionParameters(amqp["host"], amqp["port"], amqp["virtual_host"], credentials)

    def on_channel(channel: Any) -> None:
        def on_confirm(answer: Any) -> None:
            nonlocal floor, above
            method = answer.method
            assert method.NAME == "Basic.Ack"
            if method.multiple:
                floor = max(floor, method.delivery_tag)
                above = {tag for tag in above if tag > floor}
            else:
                above.add(method.delivery_tag)
            while floor + 1 in above:
                floor += 1
                above.remove(floor)
            if floor == total:
                broker.close()
            else:
                publish()

        def publish() -> None:
            nonlocal sent
            if sent - floor - len(above) > WINDOW - CHUNK:
                return
            for _ in range(min(CHUNK, len(waiting))):
                channel.basic_publish(exchange, "row", waiting.popleft(), properties, mandatory=True)
                sent += 1
            if waiting:
                broker.ioloop.call_later(0, publish)

        channel.confirm_delivery(on_confirm, callback=lambda _frame: publish())

    broker = pika.SelectConnection(
        parameters,
        on_open_callback=lambda it: it.channel(on_open_callback=on_channel),
        on_close_callback=lambda it, _reason: it.ioloop.stop(),
    )
    broker.ioloop.start()
    assert sent == total


if __name__ == "__main__":
    run(**json.load(sys.stdin))

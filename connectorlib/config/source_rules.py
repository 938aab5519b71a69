"""What a schema cannot express of sources and destinations, such as rules for two values at once."""

from collections.abc import Mapping
from typing import Any

from connectorlib.config.json_source import Path
from connectorlib.config.review import Review
from connectorlib.config.sections import (
    BUILT_IN_EXCHANGES,
    DEFAULT_ROUTING_KEYS,
    exchange_type,
)
from connectorlib.shared_settings import PREFETCH_BYTES, Batch, DeadLetterSettings, Limits

#: Bytes of bodies in flight that are worth a warning.
MUCH_MEMORY = 2 * 1024**3
_MAX_ROUTING_KEY = 255  # bytes, AMQP 0-9-1 shortstr; of names too


def review_source(review: Review, path: Path, dead_letter: DeadLetterSettings, batch: Batch, limits: Limits) -> None:
    """Check one source, whose dead letters must not come back to it."""
    section = review.section(*path)
    _review_exchange(review, path, section)
    _review_bindings(review, path, section)
    _review_arguments(review, path, section)
    if section.get("shards"):
        _review_shards(review, path, section)
    if section.get("queue") == dead_letter.queue:
        review.problem(
            (*path, "queue"), "this is the dead-letter queue: dead letters would be consumed in an endless loop"
        )
    if section.get("exchange") == dead_letter.exchange:
        review.problem(
            (*path, "exchange"), "this is the dead-letter exchange: dead letters would be consumed in an endless loop"
        )
    prefetch = section.get("prefetch", 2 * batch.size)
    most = max(section.get("prefetch_bytes", PREFETCH_BYTES), limits.body_bytes)
    if most > MUCH_MEMORY:
        text = f"bodies may take {most / 1024**3:.0f} GiB of memory; lower it, or limits.body_bytes if that is larger"
        review.warn((*path, "prefetch_bytes"), text)
    if prefetch < batch.size:
        text = f"{prefetch} is less than batch.size, so a batch is never full; the default is 2 × batch.size"
        review.warn((*path, "prefetch"), text)


def review_destination(review: Review, path: Path, dead_letter: DeadLetterSettings) -> None:
    section = review.section(*path)
    _review_exchange(review, path, section)
    key = section.get("routing_key", "")
    if section.get("exchange") == "amq.topic" and "/" in key:
        review.problem((*path, "routing_key"), f"{mqtt_hint(key)} here; MQTT adds the slashes itself")
    if section.get("exchange") == "" and not key:
        review.missing(path, "routing_key", ": with the default exchange it is the name of the queue")
    if section.get("exchange") == dead_letter.exchange:
        review.warn((*path, "exchange"), "this is the dead-letter exchange: rows would be mistaken for dead letters")


def _review_exchange(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    built_in = BUILT_IN_EXCHANGES.get(section.get("exchange", ""))
    given = section.get("exchange_type")
    if built_in and given and given != built_in:
        review.problem((*path, "exchange_type"), f"{section['exchange']} is a {built_in} exchange on every broker")


def _review_bindings(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    keys = section.get("routing_keys")
    exchange, kind = section.get("exchange"), exchange_type(section)
    if exchange is None:
        for key in ("routing_keys", "exchange_type"):
            if key in section:
                review.missing(path, "exchange", f': "{key}" belongs to the exchange that the queue is bound to')
        return
    if keys is None and kind not in DEFAULT_ROUTING_KEYS:
        review.missing(path, "routing_keys", f': a {kind} exchange needs it, such as ["{section.get("queue")}"]')
    for at, key in enumerate(keys or ()):
        where: Path = (*path, "routing_keys", at)
        if len(key.encode("utf-8", "replace")) > _MAX_ROUTING_KEY:
            review.problem(where, f"expected at most {_MAX_ROUTING_KEY} bytes in UTF-8")
        if exchange == "amq.topic" and ("/" in key or "+" in key):
            review.problem(where, f"{mqtt_hint(key)} here")
        elif kind == "topic" and any(word not in "*#" and ("*" in word or "#" in word) for word in key.split(".")):
            review.warn(where, "* and # stand for whole words between dots; within a word they match only themselves")


def mqtt_hint(key: str) -> str:
    """Return the routing key for an MQTT topic: `MQTT devices/+/temp is devices.*.temp`."""
    words = ["*" if word == "+" else word for word in key.split("/")]
    return f"MQTT {key} is {'.'.join(words)}"


def _review_arguments(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    arguments = section.get("arguments", {})
    where = (*path, "arguments")
    if "x-queue-type" in arguments:
        review.problem((*where, "x-queue-type"), 'set the type of the queue in "type", not here')
    limit = arguments.get("x-delivery-limit", 0)
    if isinstance(limit, int) and limit < 0:
        # RabbitMQ 3.10 accepts -1 and drops every message when it is requeued first.
        text = "must not be negative: older brokers accept that and drop every redelivered message; use a large number"
        review.problem((*where, "x-delivery-limit"), text)


def _review_shards(review: Review, path: Path, section: Mapping[str, Any]) -> None:
    if section.get("type", "quorum") != "quorum":
        review.problem((*path, "type"), "shards are quorum queues")
    single = "x-single-active-consumer"
    if section.get("arguments", {}).get(single, True) is not True:
        review.problem((*path, "arguments", single), "each shard has a single active consumer")
    if len(section.get("queue", "").encode("utf-8", "replace")) > _MAX_ROUTING_KEY - len(".shards"):
        review.problem((*path, "queue"), "too long: the names of the shards and their exchange begin with it")


def review_shard_key(review: Review, path: Path, key: Any, source: Mapping[str, Any]) -> None:
    """Compare the key of the lanes, which is found at `path`, with what the shards of a source are divided by."""
    if "shards" in source and key not in (None, "$routing_key"):
        text = (
            "the shards are divided by the whole routing key, and this is another key: it keeps its order only where "
            "devices publish with it as routing key, or an exchange puts it there; if so, write $routing_key"
        )
        review.warn(path, text)

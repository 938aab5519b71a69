"""A source queue in shards: quorum queues among which an exchange divides the messages by the hash of their whole
routing key, so that those with the same key are always in the same one. Pure.

Each shard has one active consumer, and the order of a routing key is that of its shard, whichever process has it. Every
process consumes all shards. From RabbitMQ 4.0 on a shard goes over to the consumer with the highest priority once the
active one has settled everything. So each process asks for every shard with the hash of both (rendezvous hashing): the
processes share the shards without knowing of each other.
"""

from hashlib import blake2b

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import Source
from connectorlib.values.text import listed

#: Of the failure that the shards cannot be used as they are.
SHARDS = "shards"
#: Types of exchanges that divide messages by the hash of the routing key, and the versions since which they are there.
MODULUS_HASH, CONSISTENT_HASH = "x-modulus-hash", "x-consistent-hash"
IN_CORE_SINCE = (4, 3)
#: Before, the first consumer of a shard keeps it.
PRIORITIES_SINCE = (4, 0)
NEEDS = "enable the plugin: rabbitmq-plugins enable rabbitmq_consistent_hash_exchange. RabbitMQ 4.3 needs none"
#: The weight of each shard in a consistent-hash exchange; the other type ignores it.
WEIGHT = "1"


@dataclass(frozen=True, slots=True)
class Found:
    """What a broker has of a source with shards."""

    #: How many messages wait in the queue of the same name without shards; None: there is none.
    undivided: int | None = None
    #: The shards that are missing.
    missing: tuple[str, ...] = ()
    #: Whether there is one more than configured.
    more: bool = False
    #: Whether the exchange is there, and its type if that is none of ours.
    exchange: bool = False
    other_type: str = ""


def hash_type(version: tuple[int, ...]) -> str:
    """Return the type of the exchange to make, given RabbitMQ's version."""
    return MODULUS_HASH if version >= IN_CORE_SINCE else CONSISTENT_HASH


def priority(process: str, queue: str) -> int:
    """Return the priority with which a process consumes a shard."""
    return int.from_bytes(blake2b(f"{process}\n{queue}".encode(), digest_size=2).digest())


def process_of(consumer_tag: str) -> str:
    """Return the process that consumes a shard: its name and a number make the tag of its consumer."""
    return consumer_tag.rpartition("-")[0]


def objection(source: Source, found: Found) -> str:
    """Return why the messages would come twice, or in another order; "" if nothing stands against it."""
    queue, exchange = source.queue, source.bound
    if found.undivided is not None:
        return (
            f"queue {queue!r} without shards is still there, {found.undivided} waiting in it: what is bound to it "
            "would come twice. Let it run empty without shards, then delete it"
        )
    if found.other_type:
        return f"exchange {exchange!r} is of the type {found.other_type}, which does not hash routing keys. Delete it"
    if found.more:
        return f"there are more than {source.shards} shards: {queue}.{source.shards} is one. {_to_change(exchange)}"
    if found.exchange and found.missing:
        return f"of {source.shards} shards {listed(found.missing)} are missing. {_to_change(exchange)}"
    return ""


def refused(text: str) -> Failed:
    return Failed(Failure(Kind.CONFIGURATION, SHARDS, text, "broker"))


def _to_change(exchange: str) -> str:
    return (
        "Another number moves routing keys to other shards: stop who publishes, let the shards run empty, and delete "
        f"them and exchange {exchange!r}"
    )

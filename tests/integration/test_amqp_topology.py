"""What is missing is made, what exists is used as it is, and what cannot be known is not claimed."""

from collections import Counter
from dataclasses import replace

import pytest

from connectorlib.amqp import Broker, inspection, topology
from connectorlib.amqp.reply_codes import SEVERAL_READERS
from connectorlib.amqp.shards import SHARDS
from connectorlib.errors import Failed, Kind
from connectorlib.preflight.check_topology import TopologyCheck
from connectorlib.preflight.findings import Mark
from connectorlib.shared_settings import Destination, Source
from tests.services.waiting import eventually

SOURCE = Source("q", exchange="devices", routing_keys=("a.#", "b"))


@pytest.fixture
def broker(vhost):
    with Broker(vhost.broker_settings(), name="topology", publishing=False) as broker:
        broker.wait_connected(10)
        yield broker


@pytest.fixture
def ensure(vhost, broker):
    """Return what was made and what was warned about."""

    def ensure(source=None, destination=None, **settings):
        warnings: list[str] = []
        made = topology.ensure(
            broker, vhost.broker_settings(**settings), source, destination, warn=warnings.append
        )  # fmt: skip
        return made, warnings

    return ensure


def queue(vhost, name):
    return vhost.api("GET", f"/api/queues/{{vhost}}/{name}")


def test_everything_missing_is_made_once(vhost, ensure):
    made, warnings = ensure(SOURCE, Destination("rows", "fanout"))
    assert made == [
        "exchange 'dead-letter' (topic)",
        "queue 'dead-letter' (quorum)",
        "queue 'q' (quorum)",
        "exchange 'devices' (topic)",
        "exchange 'rows' (fanout)",
    ]
    assert warnings == []
    assert ensure(SOURCE, Destination("rows", "fanout")) == ([], [])


@pytest.mark.parametrize("type", ["quorum", "classic"])
def test_looking_at_a_queue_that_is_deleted_meanwhile_does_not_make_it_again(vhost, broker, type):
    gone = inspection.Queue("gone", {"x-queue-type": type, "x-message-ttl": 1000}, configured={"x-message-ttl": 1000})
    assert topology.remarks(gone, inspection.compare(broker.channel, gone), vhost.broker_settings()) == []
    assert not vhost.exists("gone")


def test_queues_are_durable_and_have_their_limits(vhost, ensure):
    ensure(SOURCE)
    source, letters = queue(vhost, "q"), queue(vhost, "dead-letter")
    assert source["durable"]
    assert source["arguments"] == {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "dead-letter",
        "x-delivery-limit": 100,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    assert letters["arguments"] == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


def test_what_is_over_the_delivery_limit_waits_while_the_dead_letter_queue_is_away(vhost, ensure):
    ensure(Source("q", arguments={"x-delivery-limit": 1}))
    vhost.publish("", "q", [str(number) for number in range(5)])
    with vhost.channel() as channel:
        channel.queue_delete("dead-letter")
    for _ in range(2):
        give_back(vhost, "q", 5)
    eventually(lambda: vhost.depth("q") == 0, what="all over the limit")
    eventually(lambda: queue(vhost, "q").get("messages") == 5, what="all kept in the source queue")
    ensure(SOURCE)
    eventually(lambda: vhost.depth("dead-letter") == 5, what="all in the dead-letter queue")
    assert {body for *_, body in vhost.get_all("dead-letter")} == {b"0", b"1", b"2", b"3", b"4"}


def give_back(vhost, name, count):
    """Take so many and close the channel, which returns them and counts as a delivery of each."""
    eventually(lambda: vhost.depth(name) == count)
    with vhost.channel() as channel:
        for _, (method, *_) in zip(range(count), channel.consume(name, inactivity_timeout=30), strict=False):
            assert method is not None


def test_messages_find_their_way(vhost, ensure):
    ensure(SOURCE)
    vhost.publish("devices", "a.b.c", "one")
    vhost.publish("devices", "b", "two")
    vhost.publish("dead-letter", "any.thing", "dead")
    assert [body for *_, body in vhost.get_all("q")] == [b"one", b"two"]
    assert vhost.depth("dead-letter") == 1


@pytest.mark.parametrize(
    ("type", "arguments"),
    [
        ("classic", {}),
        ("classic", {"x-message-ttl": 60000, "x-max-priority": 5}),
        ("quorum", {"x-dead-letter-exchange": "mine", "x-delivery-limit": 7, "x-max-length": 9}),
        ("quorum", {"x-dead-letter-exchange": "mine", "x-delivery-limit": 1_000, "x-single-active-consumer": True}),
    ],
)
def test_an_existing_queue_is_used_as_it_is_without_a_word(vhost, ensure, type, arguments):
    vhost.declare_queue("q", type=type, arguments=arguments)
    made, warnings = ensure(SOURCE)
    assert queue(vhost, "q")["arguments"] == {"x-queue-type": type, **arguments}
    assert warnings == []
    assert "queue 'q' (quorum)" not in made


@pytest.mark.parametrize("arguments", [{}, {"x-max-length": 5, "x-delivery-limit": 7}])
def test_an_existing_quorum_source_without_a_dead_letter_exchange_is_warned_about(vhost, ensure, arguments):
    vhost.declare_queue("q", arguments=arguments)
    _, [warning] = ensure(SOURCE)
    assert "queue 'q' has no dead-letter exchange" in warning
    assert "policy" in warning


def test_a_queue_without_the_arguments_that_were_asked_for_is_told(vhost, ensure):
    vhost.declare_queue("q", type="classic", arguments={"x-message-ttl": 5})
    _, [warning] = ensure(Source("q", arguments={"x-message-ttl": 6}))
    assert "its x-message-ttl is 5, 6 was asked for" in warning


def test_a_dead_letter_queue_that_deletes_what_is_looked_at_is_told(vhost, ensure):
    vhost.declare_queue("dead-letter")
    _, [warning] = ensure(SOURCE)
    assert warning.startswith("dead-letter queue 'dead-letter': from RabbitMQ 4.0 on")


def test_an_exchange_of_another_type_is_told(vhost, ensure):
    vhost.declare_exchange("rows", "direct")
    made, [warning] = ensure(None, Destination("rows", "fanout"))
    assert made == []
    assert "its type is 'direct', not 'fanout'" in warning


def test_a_long_running_flow_tells_what_is_wrong_once(vhost, broker, caplog):
    vhost.declare_queue("q")
    upkeep = topology.Upkeep(broker, vhost.broker_settings(), SOURCE)
    assert "exchange 'devices' (topic)" in upkeep.ensure()
    assert upkeep.ensure() == []
    told = [r for r in caplog.records if r.name.startswith("connectorlib.") and r.levelname == "WARNING"]
    assert len(told) == 1


def test_dead_letters_alone_are_looked_after_too(vhost, broker):
    made = topology.ensure_dead_letters(broker, vhost.broker_settings())
    assert made == ["exchange 'dead-letter' (topic)", "queue 'dead-letter' (quorum)"]


def test_built_in_exchanges_are_there_already(vhost, ensure):
    assert ensure(Source("q", exchange="amq.topic"), Destination(""))[0][-1] == "queue 'q' (quorum)"
    vhost.publish("amq.topic", "any", "body")
    assert vhost.depth("q") == 1


def test_passive_makes_nothing(vhost, ensure):
    with pytest.raises(Failed) as raised:
        ensure(None, Destination("rows"), declare="passive")
    assert raised.value.failure.kind is Kind.CONFIGURATION
    assert "exchange 'rows' (topic) does not exist" in raised.value.failure.text
    ensure(None, Destination("rows"))
    assert ensure(None, Destination("rows", "fanout"), declare="passive") == ([], [])


def test_never_does_not_even_look(vhost, ensure):
    assert ensure(SOURCE, Destination("rows"), declare="never") == ([], [])
    assert not vhost.exists("q")


def test_an_exchange_type_that_the_broker_lacks_is_a_matter_of_configuration(ensure):
    with pytest.raises(Failed) as raised:
        ensure(None, Destination("rows", "nonsense"))
    assert raised.value.failure.kind is Kind.CONFIGURATION
    assert "unknown exchange type 'nonsense'" in raised.value.failure.text


@pytest.fixture
def reader(vhost):
    """Settings of a user who may read and write, and make nothing."""
    vhost.node.api("PUT", "/api/users/reader", {"password": "reader", "tags": ""})
    vhost.api("PUT", "/api/permissions/{vhost}/reader", {"configure": "^$", "write": "^$", "read": ".*"})
    yield vhost.broker_settings(username="reader", password="reader")
    vhost.node.api("DELETE", "/api/users/reader")


def test_a_user_who_may_make_nothing_can_use_what_exists(vhost, ensure, reader):
    ensure(SOURCE)
    warnings: list[str] = []
    with Broker(reader, name="reader", publishing=False) as broker:
        broker.wait_connected(10)
        assert topology.ensure(broker, reader, SOURCE, warn=warnings.append) == []
        assert [warning for warning in warnings if "may not bind queue" not in warning] == []
        with pytest.raises(Failed) as raised:
            topology.ensure(broker, reader, None, Destination("rows"))
    assert (raised.value.failure.kind, raised.value.failure.code) == (Kind.REFUSED, "403")
    assert "exchange 'rows' (topic) does not exist and cannot be created" in raised.value.failure.text


@pytest.mark.parametrize(
    ("arguments", "declare", "limit", "may"),
    [
        ({}, "create", 100, False),
        ({"x-single-active-consumer": True}, "create", 1_000, True),
        ({"x-single-active-consumer": True}, "passive", 1_000, True),
        ({}, "passive", 100, False),
        ({}, "never", 100, True),  # not even asked
    ],
)
def test_whether_a_stand_by_may_wait_is_learnt_from_the_broker(vhost, broker, arguments, declare, limit, may):
    topology.ensure(broker, vhost.broker_settings(), replace(SOURCE, arguments=arguments))
    upkeep = topology.Upkeep(broker, replace(vhost.broker_settings(), declare=declare), SOURCE)
    consumer = broker.consumer("q", 1)
    upkeep.inform(consumer)
    assert consumer.stand_by is may
    assert (topology.arguments_of(broker, "q") or {})["x-delivery-limit"] == limit


SHARDED = Source("q", exchange="devices", routing_keys=("a.#", "b"), shards=3)


def test_shards_are_made_once_and_a_routing_key_always_finds_the_same(vhost, broker, ensure):
    hashes = topology.shards_exchange(SHARDED, broker.server_version)
    made, warnings = ensure(SHARDED)
    assert made[2:] == [*(f"queue 'q.{n}' (quorum)" for n in range(3)), str(hashes), "exchange 'devices' (topic)"]
    assert (warnings, ensure(SHARDED)) == ([], ([], []))
    for _ in range(2):
        for number in range(30):
            vhost.publish("devices", f"a.{number}", b"x")
    taken = {shard: Counter(m.routing_key for m, *_ in vhost.get_all(shard)) for shard in SHARDED.queues}
    assert sum(map(len, taken.values())) == 30
    assert all(keys and set(keys.values()) == {2} for keys in taken.values())


def make_more(vhost):
    vhost.declare_queue("q.3")


def delete_one(vhost):
    with vhost.channel() as channel:
        channel.queue_delete("q.2")


def make_undivided(vhost):
    vhost.declare_queue("q", "devices", "a.#")
    vhost.publish("devices", "a.1", b"x")


def make_it_a_topic(vhost):
    with vhost.channel() as channel:
        channel.exchange_delete("q.shards")
    vhost.declare_exchange("q.shards", "topic")


def give_it_to_everybody(vhost):
    delete_one(vhost)
    vhost.declare_queue("q.2")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (make_undivided, "queue 'q' without shards is still there, 1 waiting in it"),
        (make_more, "there are more than 3 shards: q.3 is one"),
        (delete_one, "of 3 shards q.2 are missing"),
        (make_it_a_topic, "exchange 'q.shards' is of the type topic"),
        (give_it_to_everybody, "a shard of queue 'q' has no x-single-active-consumer"),
    ],
)
def test_shards_that_would_change_the_order_or_come_twice_are_refused(vhost, broker, ensure, change, text):
    ensure(SHARDED)
    change(vhost)
    upkeep = topology.Upkeep(broker, vhost.broker_settings(), SHARDED)

    def prepare():
        upkeep.ensure()
        upkeep.inform(broker.consumer("q.0", 1))

    with pytest.raises(Failed) as raised:
        prepare()
    assert (raised.value.failure.kind, raised.value.failure.code) == (Kind.CONFIGURATION, SHARDS)
    assert text in raised.value.failure.text


def test_shards_of_the_other_type_of_hash_are_used_as_they_are(vhost, ensure):
    vhost.declare_exchange("q.shards", "x-consistent-hash")
    for shard in SHARDED.queues:
        vhost.declare_queue(shard, arguments={"x-single-active-consumer": True, "x-delivery-limit": 1_000})
    made, warnings = ensure(SHARDED)
    assert made == ["exchange 'dead-letter' (topic)", "queue 'dead-letter' (quorum)", "exchange 'devices' (topic)"]
    assert not [text for text in warnings if "exchange_type" in text]


def test_a_broker_that_cannot_hash_refuses_shards_in_plain_words(vhost, broker):
    unheard_of = replace(topology.shards_exchange(SHARDED, broker.server_version), type="x-unheard-of")
    with pytest.raises(Failed) as raised:
        topology._Maker(broker.channel, vhost.broker_settings()).make([unheard_of])
    assert raised.value.failure.code == SHARDS
    assert "rabbitmq-plugins enable rabbitmq_consistent_hash_exchange" in raised.value.failure.text


ALONE = replace(SOURCE, one_reader="say that nobody else reads it")
NOT_ALONE = "queue 'q' has no x-single-active-consumer, so two processes could read it"
UNKNOWN = "it is not known whether queue 'q' has x-single-active-consumer"


@pytest.mark.parametrize(
    ("there", "declare", "source", "text"),
    [
        (None, "create", ALONE, ""),
        ({"x-single-active-consumer": True}, "create", ALONE, ""),
        ({"x-single-active-consumer": True}, "passive", ALONE, ""),
        ({}, "create", ALONE, NOT_ALONE),
        ({}, "passive", ALONE, NOT_ALONE),
        ({"x-single-active-consumer": True}, "never", ALONE, ""),
        ({}, "never", ALONE, NOT_ALONE),
        ({}, "create", SOURCE, ""),
        ({}, "never", SOURCE, ""),
        (None, "create", replace(ALONE, exchange=None, shards=2), ""),
    ],
)
def test_a_queue_that_two_processes_could_read_is_refused_where_one_may(vhost, broker, there, declare, source, text):
    if there is not None:
        vhost.declare_queue("q", arguments=there)
    topology.ensure(broker, vhost.broker_settings(), source)
    settings = replace(vhost.broker_settings(), declare=declare)
    upkeep = topology.Upkeep(broker, settings, source)
    seen = [each.text for each in TopologyCheck(broker, settings, None).source(source) if each.mark is Mark.BAD]
    if not text:
        upkeep.inform(broker.consumer("q", 1))
        assert seen == []
        return
    with pytest.raises(Failed) as raised:
        upkeep.inform(broker.consumer("q", 1))
    assert (raised.value.failure.kind, raised.value.failure.code) == (Kind.CONFIGURATION, SEVERAL_READERS)
    assert raised.value.failure.text.startswith(text)
    assert raised.value.failure.text.endswith("Or say that nobody else reads it")
    assert seen == [raised.value.failure.text]


def test_who_may_not_configure_the_queue_is_told_that_it_is_not_known_who_else_reads_it(vhost, ensure, reader):
    ensure(ALONE)
    with Broker(reader, name="reader", publishing=False) as broker:
        broker.wait_connected(10)
        with pytest.raises(Failed, match="RabbitMQ tells only a user who may configure the queue"):
            topology.Upkeep(broker, reader, ALONE).inform(broker.consumer("q", 1))
        found = [each.text for each in TopologyCheck(broker, reader, None).source(ALONE) if each.mark is Mark.BAD]
    assert [text[: len(UNKNOWN)] for text in found] == [UNKNOWN]

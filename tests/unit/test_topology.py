"""What is planned; tests/integration/test_amqp_topology.py makes it."""

import pytest

from connectorlib.amqp.inspection import AT_LEAST_ONCE, Exchange, Queue
from connectorlib.amqp.topology import Binding, plan, source_queues
from connectorlib.shared_settings import BrokerSettings, DeadLetterSettings, Destination, Source

QUORUM = {"x-queue-type": "quorum", "x-dead-letter-exchange": "dead", "x-delivery-limit": 100}
SETTINGS = BrokerSettings(dead_letter=DeadLetterSettings("dead", "letters"))


def test_dead_letters_come_first_so_that_nothing_can_be_lost_in_between():
    assert plan(SETTINGS, Source("q"), None)[:3] == [
        Exchange("dead", "topic"),
        Queue("letters", {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}),
        Binding("letters", "dead", "#"),
    ]


def test_a_source_for_one_reader_has_a_single_active_consumer():
    (queue,) = source_queues(SETTINGS, Source("q", one_reader="…"))
    single = {"x-single-active-consumer": True, "x-delivery-limit": 1_000}
    assert (queue.arguments, queue.configured) == ({**QUORUM, **AT_LEAST_ONCE, **single}, {})


def test_a_quorum_source_gets_a_delivery_limit_and_where_to_go_beyond_it():
    assert plan(SETTINGS, Source("q"), None)[3:] == [Queue("q", {**QUORUM, **AT_LEAST_ONCE})]


@pytest.mark.parametrize(
    ("configured", "kept"),
    [
        ({"x-message-ttl": 60_000}, True),
        ({"x-overflow": "reject-publish", "x-max-length": 5}, True),
        ({"x-overflow": "drop-head"}, False),
        ({"x-max-length": 5}, False),
        ({"x-max-length-bytes": 5_000_000}, False),
    ],
)
def test_dead_letters_are_kept_unless_the_queue_is_to_drop_what_it_has_no_room_for(configured, kept):
    assert source_queues(SETTINGS, Source("q", arguments=configured))[0].arguments == {
        **QUORUM,
        **(AT_LEAST_ONCE if kept else {}),
        **configured,
    }


def test_a_classic_source_has_no_delivery_limit():
    assert plan(SETTINGS, Source("q", type="classic"), None)[3:] == [
        Queue("q", {"x-queue-type": "classic", "x-dead-letter-exchange": "dead"})
    ]


def test_configured_arguments_win():
    source = Source("q", arguments={"x-dead-letter-exchange": "mine", "x-max-length": 5})
    assert plan(SETTINGS, source, None)[3] == Queue(
        "q",
        {"x-queue-type": "quorum", "x-dead-letter-exchange": "mine", "x-delivery-limit": 100, "x-max-length": 5},
    )


def test_a_source_is_bound_with_each_of_its_keys():
    source = Source("q", exchange="devices", exchange_type="direct", routing_keys=("a", "b"))
    assert plan(SETTINGS, source, None)[4:] == [
        Exchange("devices", "direct"),
        Binding("q", "devices", "a"),
        Binding("q", "devices", "b"),
    ]


def test_a_destination_needs_its_exchange_only():
    assert plan(SETTINGS, None, Destination("rows", "fanout")) == [Exchange("rows", "fanout")]

from random import Random

import pytest

from connectorlib.amqp.reconnect import ReconnectSchedule
from connectorlib.errors import Kind

HOSTS = [("a", 1), ("b", 2), ("c", 3)]


def delays(kind, count, hosts=HOSTS[:1], lasted=0.0):
    schedule = ReconnectSchedule(hosts, Random(7))
    return [schedule.delay_after(kind, lasted) for _ in range(count)]


def test_every_host_has_its_turn_before_the_first_comes_again():
    schedule = ReconnectSchedule(HOSTS, Random(1))
    turns = [schedule.next_host() for _ in range(6)]
    assert sorted(turns[:3]) == HOSTS
    assert turns[3:] == turns[:3]


def test_not_every_connector_begins_with_the_first_host():
    assert len({ReconnectSchedule(HOSTS, Random(seed)).next_host() for seed in range(20)}) == 3


def test_the_other_hosts_are_tried_almost_at_once():
    first, second, third = delays(Kind.UNAVAILABLE, 3, HOSTS)
    assert max(first, second) <= 0.2
    assert third <= 1.0


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [(Kind.UNAVAILABLE, 0.05, 30.0), (Kind.REFUSED, 2.5, 300.0), (Kind.CONFIGURATION, 1.0, 60.0)],
)
def test_waits_grow_up_to_a_bound(kind, least, most):
    waits = delays(kind, 400)
    assert min(waits) >= least
    assert most / 2 < max(waits) <= most


def test_a_refused_login_is_always_tried_slowly():
    assert min(delays(Kind.REFUSED, 50)[10:]) >= 150.0


def test_a_connection_that_lasted_starts_the_waits_anew():
    assert max(delays(Kind.UNAVAILABLE, 50, lasted=60.0)) <= 1.0


def test_a_connection_that_did_not_last_does_not():
    assert max(delays(Kind.UNAVAILABLE, 50, lasted=1.0)) > 10.0

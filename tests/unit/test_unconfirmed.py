"""Confirms, returns and blame, without a broker."""

from dataclasses import dataclass

import pytest

from connectorlib.amqp.unconfirmed import Identity, Unconfirmed, assign_blame
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Outgoing


@dataclass(frozen=True)
class Sent:
    message: Outgoing

    @property
    def name(self):
        return self.message.properties["message_id"]


def sent(name, exchange="x", routing_key="k"):
    return Sent(Outgoing(exchange, routing_key, b"12345", {"message_id": name}))


def identity(name, exchange="x", routing_key="k"):
    return Identity(name, exchange, routing_key)


RETURNED = Failure(Kind.REJECT, "unroutable", "312 NO_ROUTE")


def unconfirmed_of(*names):
    unconfirmed: Unconfirmed[Sent] = Unconfirmed()
    for name in names:
        unconfirmed.add(sent(name))
    return unconfirmed


def confirmed(unconfirmed, number, multiple=False):
    return [(entry.name, failure) for entry, failure in unconfirmed.confirm(number, multiple)]


def test_acks_come_singly_multiply_and_out_of_order():
    unconfirmed = unconfirmed_of("a", "b", "c", "d", "e")
    assert confirmed(unconfirmed, 2) == [("b", None)]
    assert confirmed(unconfirmed, 4) == [("d", None)]
    assert confirmed(unconfirmed, 3, multiple=True) == [("a", None), ("c", None)]
    assert confirmed(unconfirmed, 5, multiple=True) == [("e", None)]
    assert len(unconfirmed) == 0
    assert unconfirmed.bytes == 0


def test_one_multiple_ack_goes_on_where_the_last_ended():
    unconfirmed = unconfirmed_of("a", "b", "c", "d")
    assert confirmed(unconfirmed, 1, multiple=True) == [("a", None)]
    assert confirmed(unconfirmed, 3, multiple=True) == [("b", None), ("c", None)]
    assert confirmed(unconfirmed, 4, multiple=True) == [("d", None)]


def test_an_ack_for_something_unknown_settles_nothing():
    unconfirmed = unconfirmed_of("a")
    assert confirmed(unconfirmed, 7) == []
    assert [entry.name for entry in unconfirmed.entries()] == ["a"]


def test_the_ack_after_a_return_is_a_failure_of_that_message_alone():
    unconfirmed = unconfirmed_of("a", "b", "c")
    assert unconfirmed.mark_returned(identity("b"), RETURNED)
    assert confirmed(unconfirmed, 3, multiple=True) == [("a", None), ("b", RETURNED), ("c", None)]


def test_of_equal_messages_the_oldest_is_returned_first():
    unconfirmed = unconfirmed_of(None, None, None)
    assert unconfirmed.mark_returned(identity(None), RETURNED)
    assert unconfirmed.mark_returned(identity(None), RETURNED)
    assert [failure for _, failure in confirmed(unconfirmed, 3, multiple=True)] == [RETURNED, RETURNED, None]


def test_a_return_out_of_order_is_found_too():
    unconfirmed = unconfirmed_of("a", "b")
    assert unconfirmed.mark_returned(identity("b"), RETURNED)
    assert unconfirmed.mark_returned(identity("a"), RETURNED)
    assert not unconfirmed.mark_returned(identity("a"), RETURNED)


@pytest.mark.parametrize("other", [identity("z"), identity("a", exchange="y"), identity("a", routing_key="l")])
def test_a_return_of_another_message_matches_nothing(other):
    assert not unconfirmed_of("a").mark_returned(other, RETURNED)


def names(entries):
    return [entry.name for entry in entries]


NO_EXCHANGE = Failure(Kind.CONFIGURATION, "404", "NOT_FOUND - no exchange 'gone' in vhost '/'")
NO_ACCESS = Failure(Kind.REFUSED, "403", "ACCESS_REFUSED - write access to exchange 'gone' in vhost '/' refused")
BAD_USER = Failure(Kind.CONFIGURATION, "406", "PRECONDITION_FAILED - user_id property set to 'x'")


@pytest.mark.parametrize("failure", [NO_EXCHANGE, NO_ACCESS])
def test_a_close_that_names_an_exchange_convicts_what_went_there(failure):
    blame = assign_blame([sent("a"), sent("b", "gone"), sent("c"), sent("d", "gone")], failure)
    assert names(blame.culprits) == ["b", "d"]
    assert names(blame.others) == ["a", "c"]
    assert blame.suspects == []


def test_a_close_that_names_nothing_makes_all_of_them_suspects():
    blame = assign_blame([sent("a"), sent("b")], BAD_USER)
    assert names(blame.suspects) == ["a", "b"]
    assert blame.culprits == blame.others == []


def test_the_one_that_was_alone_in_flight_is_rejected():
    blame = assign_blame([sent("a")], BAD_USER)
    assert names(blame.culprits) == ["a"]
    assert blame.failure.kind is Kind.REJECT

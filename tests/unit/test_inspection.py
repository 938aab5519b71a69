"""What is learnt of an existing queue, and what is said about it: only what is wrong, and what to do."""

from contextlib import contextmanager
from typing import Any

import pytest

from connectorlib.amqp import inspection
from connectorlib.errors import Failed, Failure, Kind

PLANNED = {"x-queue-type": "quorum", "x-dead-letter-exchange": "dead-letter", "x-delivery-limit": 100}

SINGLE = {"x-queue-type": "quorum", "x-single-active-consumer": True}


def refusal(name, was, current, code="406"):
    text = f"PRECONDITION_FAILED - inequivalent arg '{name}' for queue 'q' in vhost '/': received {was} but current is "
    return Failure(Kind.CONFIGURATION, code, text + current, "broker")


class Queue:
    """Refuses as RabbitMQ does: by the first difference, in an order of its own."""

    ORDER = ("x-message-ttl", "x-dead-letter-exchange", "x-max-length", "x-single-active-consumer", "x-queue-type")
    KINDS = (("bool", bool), ("signedint", int), ("longstr", str))

    def __init__(self, **arguments):
        self.arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.asked = 0

    def declare(self, arguments):
        assert arguments.items() >= inspection.NEVER_MADE.items()
        self.asked += 1
        for name in (*self.ORDER, "x-delivery-limit"):
            ours, theirs = arguments.get(name), self.arguments.get(name)
            if ours != theirs:
                return refusal(name, *self.words(ours, theirs))
        return None

    def words(self, ours, theirs):
        if ours is not None and theirs is not None:
            return f"'{ours}'", f"'{theirs}'"
        return self.word(ours), self.word(theirs)

    def word(self, value):
        if value is None:
            return "none"
        kind = next(kind for kind, of in self.KINDS if isinstance(value, of))
        return f"the value '{str(value).lower() if kind == 'bool' else value}' of type '{kind}'"


@pytest.mark.parametrize(
    ("queue", "questions"),
    [
        (Queue(**{key.replace("-", "_"): value for key, value in PLANNED.items()}), 1),
        (Queue(x_queue_type="quorum"), 3),
        (Queue(), 4),
        (Queue(x_queue_type="classic", x_message_ttl=60000), 5),
        (Queue(x_queue_type="quorum", x_dead_letter_exchange="it's 'mine'", x_single_active_consumer=True), 4),
        (Queue(x_queue_type="quorum", x_dead_letter_exchange="dead-letter", x_delivery_limit=7, x_max_length=5), 3),
    ],
)
def test_the_arguments_of_an_existing_queue_are_learnt_from_refusals(queue, questions):
    assert inspection.learn(queue.declare, PLANNED) == queue.arguments
    assert queue.asked == questions


def test_a_queue_that_is_gone_meanwhile_is_not_made_and_not_guessed():
    text = "PRECONDITION_FAILED - invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
    assert inspection.learn(lambda _: Failure(Kind.CONFIGURATION, "406", text, "broker"), PLANNED) is None


@pytest.mark.parametrize(
    "failure",
    [
        refusal("x-max-age", "'none'", "the value '7D' of type 'longstr'"),
        refusal("durable", "'true'", "'false'"),
        refusal("x-strange", "none", "the value '1.5' of type 'double'"),
        Failure(Kind.REFUSED, "403", "ACCESS_REFUSED - configure access to queue 'q' refused", "broker"),
        Failure(Kind.UNAVAILABLE, "405", "RESOURCE_LOCKED - exclusive", "broker"),
    ],
)
def test_what_the_broker_does_not_tell_is_not_guessed(failure):
    assert inspection.learn(lambda _: failure, PLANNED) is None


def test_asking_ends_although_the_broker_goes_on_refusing():
    assert inspection.learn(lambda _: refusal("x-max-length", "none", "the value '1' of type 'long'"), PLANNED) is None


def source(found, asked=None):
    return inspection.source_remarks(
        "q.1", found, configured=asked or {}, exchange="dead-letter", virtual_host="plant a"
    )


@pytest.mark.parametrize(
    "found",
    [
        PLANNED,
        {},
        {"x-queue-type": "classic", "x-message-ttl": 60000},
        {"x-queue-type": "quorum", "x-dead-letter-exchange": "mine", "x-delivery-limit": 7, "x-max-length": 5},
    ],
)
def test_nothing_is_said_of_a_source_where_nothing_is_wrong(found):
    assert source(found) == []


def test_a_quorum_source_without_a_dead_letter_exchange_is_told_with_what_to_do():
    [remark] = source({"x-queue-type": "quorum"})
    assert remark == (
        "queue 'q.1' has no dead-letter exchange: a message that came back more often than its delivery limit "
        "(20 times from RabbitMQ 4.0 on) is deleted. Give it one: rabbitmqctl set_policy -p 'plant a' "
        """--apply-to queues q.1-dead-letter-exchange '^q\\.1$' '{"dead-letter-exchange": "dead-letter"}'. """
        "If a policy does that already, all is well: AMQP does not show policies."
    )


def test_an_argument_that_was_asked_for_and_does_not_hold_is_told():
    first, second = source(PLANNED | {"x-max-length": 5}, {"x-max-length": 9, "x-message-ttl": 1000})
    assert "queue 'q.1' exists and is used unchanged: its x-max-length is 5, 9 was asked for." in first
    assert "it has no x-message-ttl, 1000 was asked for" in second


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}, None),
        ({"x-queue-type": "classic"}, None),
        ({"x-queue-type": "quorum"}, "from RabbitMQ 4.0 on a dead letter that was looked at 20 times is deleted"),
        ({"x-queue-type": "quorum", "x-delivery-limit": 5}, "a dead letter that was looked at 5 times is deleted"),
        ({"x-queue-type": "quorum", "x-delivery-limit": -1}, "before 4.0 deletes a dead letter at the first look"),
    ],
)
def test_a_dead_letter_queue_that_loses_what_is_looked_at_is_told(found, said):
    remarks = inspection.dead_letter_remarks("letters", found, limit=1_000_000, virtual_host="/")
    assert (said is None and remarks == []) or (said is not None and len(remarks) == 1 and said in remarks[0])


def test_a_type_of_queue_of_which_no_dead_lettering_is_known_is_told():
    [remark] = source({"x-queue-type": "jms"})
    assert remark.startswith("queue 'q.1' is a jms queue, of which no dead-lettering is known: ")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, None),
        ({"x-delayed-retry-type": "disabled", "x-delayed-retry-min": 1}, None),
        ({"x-delayed-retry-type": "all", "x-delayed-retry-min": 500}, "is all: what comes back waits for 500 ms"),
        ({"x-delayed-retry-type": "returned", "x-delayed-retry-min": 1}, "is returned: what comes back waits for 1 ms"),
        ({"x-delayed-retry-type": "failed", "x-delayed-retry-min": 1}, "is failed: what comes back waits for 1 ms"),
    ],
)
def test_a_queue_that_keeps_back_what_comes_back_is_told(found, said):
    remark = inspection.delayed_retry(found)
    assert (said is None and remark is None) or (said is not None and said in (remark or ""))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"x-queue-type": "quorum", "x-delivery-limit": 7}, None),
        (SINGLE | {"x-queue-type": "classic"}, None),
        (SINGLE | {"x-delivery-limit": 1_000}, None),
        (SINGLE | {"x-delivery-limit": -1}, None),
        (SINGLE, "is dead-lettered after 20 times (from RabbitMQ 4.0 on). Raise its limit: rabbitmqctl set_policy"),
        (SINGLE | {"x-delivery-limit": 100}, "is dead-lettered after 100 times. Delete it when it is empty"),
    ],
)
def test_a_queue_with_a_stand_by_whose_stops_use_up_its_delivery_limit_is_told(found, said):
    remarks = inspection.stand_by_remarks("q", found, limit=1_000, virtual_host="/")
    assert (said is None and remarks == []) or (said is not None and len(remarks) == 1 and said in remarks[0])


@pytest.mark.parametrize(
    ("current", "dead_letters", "said"),
    [
        ("direct", False, "its type is 'direct', not 'topic'"),
        ("direct", True, "takes nothing"),
        ("'x-random'", False, "its type is 'x-random', not 'topic'"),
        ("fanout", True, None),
    ],
)
def test_an_exchange_of_another_type_is_told(current, dead_letters, said):
    text = f"inequivalent arg 'type' for exchange 'e' in vhost '/': received 'topic' but current is '{current}'"
    failure = Failure(Kind.CONFIGURATION, "406", f"PRECONDITION_FAILED - {text}")
    remarks = inspection.exchange_remarks("e", "topic", failure, dead_letters=dead_letters)
    assert (said is None and remarks == []) or (said is not None and len(remarks) == 1 and said in remarks[0])


def test_nothing_is_said_of_an_exchange_that_differs_otherwise():
    failure = refusal("alternate-exchange", "none", "the value 'x' of type 'longstr'")
    assert inspection.exchange_remarks("e", "topic", failure, dead_letters=False) == []


class Channels:
    """Opens channels of a broker that has these parts, and notes what it is asked on them."""

    def __init__(self, *parts, may_look=True, may_configure=True):
        self.parts = {(type(part), part.name): part for part in parts}
        self.may_look, self.may_configure = may_look, may_configure
        self.calls: list[str] = []
        self.open: Any = contextmanager(self._open)

    def _open(self):
        self.calls.append("open")
        yield self

    def exchange_declare(self, name, type, *, passive):
        self._declare(inspection.Exchange(name, type), passive)

    def queue_declare(self, name, *, passive, arguments):
        self._declare(inspection.Queue(name, arguments or {}), passive)
        return 7, 1

    def _declare(self, asked, passive):
        self.calls.append("passive" if passive else "declare")
        if not (self.may_look if passive else self.may_configure):
            raise Failed(Failure(Kind.REFUSED, "403", "ACCESS_REFUSED"))
        found = self.parts.get((type(asked), asked.name))
        if found is None:
            assert passive, "an inspection makes nothing"
            raise Failed(Failure(Kind.CONFIGURATION, "404", "NOT_FOUND"))
        if isinstance(asked, inspection.Exchange) and not passive and found != asked:
            raise Failed(refusal("type", f"'{asked.type}'", f"'{found.type}'"))


EXCHANGE, QUEUE = inspection.Exchange("e", "topic"), inspection.Queue("q", PLANNED)


@pytest.mark.parametrize(
    ("channels", "part", "calls"),
    [
        pytest.param(Channels(), EXCHANGE, ["passive"], id="a missing one is not declared"),
        pytest.param(Channels(), QUEUE, ["passive"], id="nor is a missing queue"),
        pytest.param(Channels(EXCHANGE), EXCHANGE, ["passive", "declare"], id="one that exists is compared"),
        pytest.param(Channels(QUEUE), QUEUE, ["passive", "declare"], id="and so is a queue"),
        pytest.param(Channels(QUEUE, may_look=False), QUEUE, ["passive", "declare"], id="one that is hidden"),
    ],
)
def test_every_question_has_a_channel_of_its_own_and_makes_nothing(channels, part, calls):
    inspection.inspect(channels.open, part)
    assert channels.calls == [call for each in calls for call in ("open", each)]


class Channel:
    is_open = True

    def __enter__(self):
        return self

    def close(self):
        self.is_open = False


def test_questions_in_a_row_share_a_channel_until_one_is_refused():
    opened: list[Any] = []

    def new():
        opened.append(Channel())
        return opened[-1]

    shared = inspection.SharedChannel(new)
    with shared() as first, shared() as second:
        assert first is second
    with pytest.raises(Failed), shared():
        raise Failed(Failure(Kind.UNAVAILABLE, "timeout", "no answer, which may still come"))
    with shared() as third:
        third.close()  # as the broker does
    with shared():
        assert [each.is_open for each in opened] == [False, False, True]
    shared.close()
    assert not any(each.is_open for each in opened)


def test_a_state_says_what_exists_and_how_it_is():
    seen = inspection.inspect(Channels(QUEUE).open, QUEUE)
    assert (seen.exists, seen.ready, seen.consumers, seen.arguments) == (True, 7, 1, PLANNED)
    assert not inspection.inspect(Channels().open, QUEUE).exists
    other = inspection.inspect(Channels(inspection.Exchange("e", "fanout")).open, EXCHANGE)
    assert (other.exists, other.difference) == (True, ("type", "fanout"))


def test_what_this_user_may_not_see_exists_and_has_no_differences():
    state = inspection.inspect(Channels(may_look=False, may_configure=False).open, QUEUE)
    assert (state.exists, state.arguments, state.difference) == (True, None, None)


def test_what_cannot_be_known_is_a_failure():
    down = inspection.State(Failure(Kind.UNAVAILABLE, "unreachable", "connection lost"))
    with pytest.raises(Failed, match="connection lost"):
        assert down.exists

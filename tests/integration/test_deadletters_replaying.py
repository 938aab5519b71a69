"""Sending dead letters back on a real broker: what goes, what stays, in which order, and what an early end costs."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from connectorlib.amqp import Broker
from connectorlib.amqp.management import Management, basic
from connectorlib.errors import Failed, Kind
from connectorlib.shared_settings import BrokerSettings
from deadletterqueue import browse
from deadletterqueue import replay as replay_module
from deadletterqueue.filter import chooser
from deadletterqueue.letter import Letter
from deadletterqueue.replay import Options, Replay, Report
from deadletterqueue.session import Session
from deadletterqueue.target import Leave, Route, Target
from tests.services.deadletters import QUEUE, bury, headers, ids, of_four_causes
from tests.services.proxy import proxy
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

READINGS = Target("", "readings")
FULL = {"x-max-length": 5, "x-overflow": "reject-publish"}


def bench_on(vhost: Vhost, settings: BrokerSettings, broker: Broker) -> Session:
    api = Management(f"http://{vhost.host}:{vhost.node.management_port}", basic(vhost.username, vhost.password))
    return Session(broker, settings, api, QUEUE, threading.Event())


@pytest.fixture
def bench(vhost: Vhost) -> Iterator[Session]:
    vhost.declare_queue("readings")
    settings = vhost.broker_settings()
    with Broker(settings, name="replaying") as broker:
        broker.wait_connected(10)
        yield bench_on(vhost, settings, broker)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few dozen messages fill many windows."""
    monkeypatch.setattr(browse, "FIRST", 3)
    monkeypatch.setattr(browse, "FEWEST", 5)
    monkeypatch.setattr(browse, "MOST_REMOVING", 5)


def replay(bench: Session, options: Options = Options(), *where: str, **more: Any) -> Report:  # noqa: B008  # frozen
    return Replay(bench, chooser(where=where), options, **more).run()


def numbers(vhost: Vhost, queue: str, count: int | None = None) -> list[int]:
    """Take what is in a queue, all of which nobody holds: the numbers in their message ids, in order."""
    if count is not None:
        eventually(lambda: vhost.depth(queue) == count, what=f"{count} messages in {queue}")
    return [int(each.removeprefix("m-")) for each in ids(vhost.get_all(queue))]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.parametrize("in_flight", [1, 7, 100])
def test_the_chosen_ones_go_in_order_and_the_rest_stays_in_order(
    vhost: Vhost, bench: Session, kind: str, in_flight: int
) -> None:
    bench = replace(bench, queue="dead")
    vhost.declare_queue("dead", type=kind)
    vhost.publish("", "dead", of_four_causes(120))
    report = replay(bench, Options(in_flight=in_flight), "code=2*")
    assert (report.sent, report.left, report.others) == ({READINGS: 60}, {}, 60)
    assert numbers(vhost, "readings") == [number for number in range(120) if number % 4 < 2]
    assert numbers(vhost, "dead", 60) == [number for number in range(120) if number % 4 >= 2]


def test_a_dry_run_changes_nothing_and_tells_the_same_as_the_real_one(vhost: Vhost, bench: Session) -> None:
    bury(
        vhost, [*of_four_causes(40), *of_four_causes(3, queue="gone"), *of_four_causes(2, headers={"dead-replays": 9})]
    )
    rehearsed = replay(bench, Options(dry_run=True), "code=22001")
    assert (vhost.depth(QUEUE), vhost.depth("readings")) == (45, 0)
    real = replay(bench, Options(), "code=22001")
    assert (rehearsed.sent, rehearsed.left, rehearsed.others) == (real.sent, real.left, real.others)
    assert real.sent == {READINGS: 10}
    assert real.left == {"queue 'gone' does not exist": 1, "sent back 9 times already (--max-replays 3)": 1}


def test_the_limit_counts_those_that_are_meant(vhost: Vhost, bench: Session) -> None:
    bury(vhost, of_four_causes(100))
    assert replay(bench, Options(limit=7), "code=23503").sent == {READINGS: 7}
    assert numbers(vhost, "readings") == [1, 5, 9, 13, 17, 21, 25]
    assert len(numbers(vhost, QUEUE, 93)) == 93


def test_an_empty_queue_has_nothing_to_send(vhost: Vhost, bench: Session) -> None:
    bury(vhost, [])
    assert replay(bench).chosen == 0


# -- where to


def test_they_go_to_the_queue_they_died_in_and_not_to_all_that_their_exchange_feeds(
    vhost: Vhost, bench: Session
) -> None:
    for queue in ("archive", "alarms"):
        vhost.declare_queue(queue, "devices", "#")
    bury(vhost, [*of_four_causes(4), *of_four_causes(2, queue="alarms")])
    assert replay(bench).sent == {READINGS: 4, Target("", "alarms"): 2}
    assert [vhost.depth(each) for each in ("readings", "alarms", "archive", QUEUE)] == [4, 2, 0, 0]


def test_to_the_exchange_of_their_first_life_they_go_with_the_first_routing_key(vhost: Vhost, bench: Session) -> None:
    vhost.declare_queue("pumps", "devices", "reading.*")
    vhost.declare_queue("others", "elsewhere", "reading.*")
    bury(vhost, of_four_causes(3))
    replay(bench, Options(Route(to_exchange="origin"), limit=2))
    ((method, _, _), _) = vhost.get_all("pumps")
    assert (method.exchange, method.routing_key) == ("devices", "reading.p-1")
    replay(bench, Options(Route(to_exchange="elsewhere")))
    ((method, _, _),) = vhost.get_all("others")
    assert (method.exchange, method.routing_key) == ("elsewhere", "reading.p-1")


def test_to_another_queue_they_go_whatever_they_say(vhost: Vhost, bench: Session) -> None:
    vhost.declare_queue("mended")
    bury(vhost, [*of_four_causes(2), (b"says nothing", {"message_id": "m-2"})])
    assert replay(bench).left == {
        "it does not say in which queue it died: name the queue to send it to (--to-queue)": 1
    }
    assert replay(bench, Options(Route(to_queue="mended"))).sent == {Target("", "mended"): 1}
    assert numbers(vhost, "mended") == [2]


@pytest.mark.parametrize("reason", ["rejected", "expired", "maxlen", "delivery_limit"])
def test_what_the_broker_dead_lettered_goes_back_and_may_die_again(vhost: Vhost, bench: Session, reason: str) -> None:
    dying: dict[str, dict[str, Any]] = {
        "rejected": {},
        "expired": {"x-message-ttl": 1},
        "maxlen": {"x-max-length": 1},
        "delivery_limit": {"x-delivery-limit": 1},
    }
    bury(vhost, [])
    arguments = {"x-dead-letter-exchange": QUEUE, **dying[reason]}
    vhost.declare_queue("source", "devices", "reading.#", arguments=arguments)

    def die() -> None:
        if reason == "rejected":
            give_back(vhost, "source", times=1, requeue=False)
        elif reason == "maxlen":
            vhost.publish("", "source", [b"pushes it out"])
        elif reason == "delivery_limit":
            give_back(vhost, "source", times=2, requeue=True)
        eventually(lambda: vhost.depth(QUEUE) == 1, what="dead once more")

    vhost.publish("devices", "reading.p-1", [(b"{}", {"message_id": "m-1"})])
    for life in (1, 2, 3):
        die()
        assert replay(bench, Options(), f"reason={reason}").sent == {Target("", "source"): 1}, life
        if reason == "maxlen":
            eventually(lambda: vhost.get_all(QUEUE), what="what it has pushed out itself")
    die()
    assert replay(bench).left == {"sent back 3 times already (--max-replays 3)": 1}
    (letter,) = vhost.get_all(QUEUE)
    assert letter[1].message_id == "m-1"
    assert headers(letter)["dead-routing-key"] == "reading.p-1"
    assert [death["count"] for death in headers(letter)["x-death"]] == [1]  # the broker's record began anew


def give_back(vhost: Vhost, queue: str, *, times: int, requeue: bool) -> None:
    """Take a message and return it, so many times."""
    for _ in range(times):
        with vhost.channel() as channel:
            found = eventually(lambda: channel.basic_get(queue)[0], 10)  # called at once
            channel.basic_reject(found.delivery_tag, requeue=requeue)  # RabbitMQ 4.3 counts no nack


# -- what cannot go


def test_a_queue_that_is_gone_keeps_only_its_own_back(vhost: Vhost, bench: Session) -> None:
    messages = of_four_causes(30)
    messages[10:20] = of_four_causes(20, queue="gone")[10:20]
    bury(vhost, messages)
    report = replay(bench)
    assert report.sent == {READINGS: 20}
    assert report.left == {"queue 'gone' does not exist": 10}
    assert numbers(vhost, QUEUE, 10) == [*range(10, 20)]


def test_an_exchange_that_leads_nowhere_keeps_its_own_back(vhost: Vhost, bench: Session) -> None:
    vhost.declare_queue("pumps", "devices", "pump")
    bury(vhost, [*of_four_causes(2), *of_four_causes(2, routing_key="pump"), *of_four_causes(2, exchange="gone")])
    report = replay(bench, Options(Route(to_exchange="origin")))
    assert report.sent == {Target("devices", "pump"): 2}
    assert sorted(report.left.items()) == [
        ("312 NO_ROUTE: exchange 'devices', routing key 'reading.p-1'", 2),
        ("exchange 'gone' does not exist", 2),
    ]
    assert vhost.depth("pumps") == 2


@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("in_flight", [1, 50])
def test_a_full_queue_takes_what_it_can_and_the_rest_stays(
    vhost: Vhost, bench: Session, kind: str, in_flight: int
) -> None:
    vhost.declare_queue("small", type=kind, arguments=FULL)
    bury(vhost, of_four_causes(300, queue="small"))
    report = replay(bench, Options(in_flight=in_flight))
    arrived = numbers(vhost, "small")
    rest = numbers(vhost, QUEUE, 300 - len(arrived))
    assert report.sent.total() == len(arrived) < 300
    assert rest == sorted(rest)
    assert sorted(arrived + rest) == [*range(300)]
    ((reason, count),) = report.left.items()
    assert ("is full or failing" in reason, count) == (True, len(rest))


def test_a_queue_that_only_its_owner_may_use_keeps_its_own_back(vhost: Vhost, bench: Session) -> None:
    with vhost.channel() as channel:
        channel.queue_declare("private", exclusive=True)
        bury(vhost, of_four_causes(2, queue="private"))
        report = replay(bench)
        channel.queue_delete("private")
    assert report.left.total() == 2
    assert "exclusive" in next(iter(report.left))


def test_a_letter_that_no_change_can_be_made_to_is_left(vhost: Vhost, bench: Session) -> None:
    bury(vhost, of_four_causes(8))

    def change(letter: Letter) -> Letter | Leave:
        return Leave("not today") if letter.code == "22001" else letter

    assert replay(bench, Options(), change=change).left == {"not today": 2}
    assert numbers(vhost, QUEUE, 2) == [0, 4]


def test_one_that_dies_again_at_once_is_not_sent_again_in_the_same_run(vhost: Vhost, bench: Session) -> None:
    vhost.declare_queue("deadly", arguments={"x-message-ttl": 0, "x-dead-letter-exchange": QUEUE})
    bury(vhost, of_four_causes(50, queue="deadly"))
    assert replay(bench).sent.total() == 50
    eventually(lambda: vhost.depth(QUEUE) == 50)
    assert {headers(each)["dead-replays"] for each in vhost.get_all(QUEUE)} == {1}


# -- how fast, and until when


def test_a_rate_is_kept(vhost: Vhost, bench: Session) -> None:
    bury(vhost, of_four_causes(11))
    began = time.monotonic()
    replay(bench, Options(rate=20.0))
    assert time.monotonic() - began >= 10 / 20
    assert vhost.depth("readings") == 11


@pytest.mark.usefixtures("small_windows")
def test_messages_are_not_held_for_longer_than_they_may_be(vhost: Vhost, bench: Session) -> None:
    bury(vhost, of_four_causes(60))
    looks: Counter[str] = Counter()

    def change(letter: Letter) -> Letter | Leave:
        looks[letter.message_id] += 1
        return Leave("not today") if letter.code == "22001" else letter

    report = replay(bench, Options(rate=30.0, hold_s=0.4), change=change)
    assert report.sent == {READINGS: 45}
    assert report.left == {"not today": 15}
    assert looks["m-0"] > 2  # the walk began anew
    assert numbers(vhost, "readings") == [number for number in range(60) if number % 4]
    assert numbers(vhost, QUEUE, 15) == [*range(0, 60, 4)]


def test_it_stops_when_it_is_told_and_the_rest_is_as_before(vhost: Vhost, bench: Session) -> None:
    bury(vhost, of_four_causes(500))
    done = threading.Timer(0.4, bench.stop.set)
    done.start()
    report = replay(bench, Options(rate=100.0))
    done.join()
    assert (report.stopped, report.in_doubt) == (True, [])
    arrived = numbers(vhost, "readings")
    assert arrived == [*range(report.sent.total())]
    assert numbers(vhost, QUEUE, 500 - len(arrived)) == [*range(len(arrived), 500)]


@pytest.mark.parametrize("in_flight", [1, 10])
def test_a_connection_that_is_lost_doubles_no_more_than_was_in_flight(vhost: Vhost, in_flight: int) -> None:
    vhost.declare_queue("readings")
    bury(vhost, of_four_causes(400))
    with proxy(vhost.host, vhost.port) as link:
        settings = vhost.broker_settings(hosts=((vhost.host, link.port),))
        with Broker(settings, name="replaying") as broker:
            broker.wait_connected(10)
            sent = 0

            def save(letter: Letter) -> None:
                nonlocal sent
                sent += 1
                if sent == 150:
                    link.close()

            run = Replay(bench_on(vhost, settings, broker), chooser(), Options(in_flight=in_flight), save=save)
            with pytest.raises(Failed) as failed:
                run.run()
    assert failed.value.failure.kind is Kind.UNAVAILABLE
    arrived = numbers(vhost, "readings")
    eventually(lambda: vhost.depth(QUEUE) >= 400 - len(arrived))
    copies = Counter(arrived + numbers(vhost, QUEUE))
    assert sorted(copies) == [*range(400)]
    doubled = {f"m-{number}" for number, count in copies.items() if count > 1}
    assert len(doubled) <= in_flight
    assert doubled <= {each.properties.message_id for each in run.report.in_doubt}


def test_a_broker_without_room_keeps_everything_until_it_has_some(
    vhost: Vhost, bench: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "CONFIRM_S", 2.0)
    bury(vhost, of_four_causes(5))
    vhost.node.set_memory_alarm()
    try:
        with pytest.raises(Failed, match="confirmed nothing") as failed:
            replay(bench)
    finally:
        vhost.node.clear_memory_alarm()
    assert "memory" in failed.value.failure.text
    left = eventually(lambda: vhost.depth(QUEUE) + vhost.depth("readings") >= 5)
    copies = Counter(numbers(vhost, QUEUE) + numbers(vhost, "readings"))
    assert left
    assert sorted(copies) == [*range(5)]


def test_a_message_with_headers_that_amqp_cannot_carry_is_left_alone(vhost: Vhost, bench: Session) -> None:
    bury(vhost, of_four_causes(3))

    def change(letter: Letter) -> Letter | Leave:
        if letter.message_id == "m-1":
            letter.delivery.properties.headers = {"x" * 300: 1}
        return letter

    report = replay(bench, Options(), change=change)
    assert report.sent == {READINGS: 2}
    assert report.left.total() == 1
    assert numbers(vhost, QUEUE, 1) == [1]

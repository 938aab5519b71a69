"""An operator is told of a pause that lasts, of its end, and of dead letters."""

from tests.e2e.conftest import TABLE, Connector, reading
from tests.services.scripted import Scripted, answer
from tests.services.waiting import eventually


def test_a_pause_its_end_and_dead_letters_are_told(on_sqlite: Connector) -> None:
    with Scripted([answer(200)]) as chat:
        notify = {"paused_after": "100ms", "every": "1s", "webhook": {"url": f"{chat.url}/hooks/42"}}
        on_sqlite.configure(retry={"attempts": 1, "first_ms": 10, "breaker": 3}, notify=notify)
        on_sqlite.database.execute("DROP TABLE reading")
        with on_sqlite.subscribed():
            on_sqlite.publish(b"{", reading(1))
            eventually(lambda: [call.json["event"] for call in chat.calls] == ["paused"])
            on_sqlite.database.execute(TABLE)
            eventually(lambda: {call.json["event"] for call in chat.calls} == {"paused", "resumed", "dead-letters"})
    paused, resumed, dead = sorted((call.json for call in chat.calls), key=lambda told: told["event"] != "paused")
    if resumed["event"] != "resumed":
        resumed, dead = dead, resumed
    assert "no such table: reading" in paused["text"]
    assert paused["do"].endswith("(SIGUSR1 retries immediately)")
    assert (paused["connector"], resumed["flow"], dead["codes"]) == ("dbconnector", "readings", {"not-decodable": 1})


def test_a_pause_that_was_told_has_an_end_at_a_stop_and_a_chat_that_is_away_costs_nothing(on_sqlite: Connector) -> None:
    with Scripted([answer(200)]) as chat:
        notify = {"paused_after": "100ms", "webhook": {"url": chat.url}, "exchange": {"exchange": "alerts"}}
        on_sqlite.configure(retry={"attempts": 1, "first_ms": 10, "breaker": 3}, notify=notify)
        on_sqlite.database.execute("DROP TABLE reading")
        with on_sqlite.subscribed() as running:
            on_sqlite.publish(reading(1))
            running.wait_for("channel=exchange")  # no queue is bound to it
            eventually(lambda: len(chat.calls) == 1)
        assert [call.json["event"] for call in chat.calls] == ["paused", "ended"]
    assert on_sqlite.vhost.depth("readings") == 1

"""The outages that can be rehearsed: what each word does to the calls of an org, and when it ends."""

import pytest

from sfconnector.sandbox import outages
from sfconnector.sandbox.fail_command import lines
from sfconnector.sandbox.faults import Faults, IncomingCall
from sfconnector.sandbox.world import World

ANNE, BOB = "anne@example.com", "bob@example.com"
CALLS = {
    "log-in": IncomingCall("POST", "/services/oauth2/token", ANNE),
    "read": IncomingCall("GET", "/services/data/v62.0/query", ANNE),
    "write": IncomingCall("POST", "/services/data/v62.0/composite/sobjects", ANNE),
    "update": IncomingCall("PATCH", "/services/data/v62.0/sobjects/Case/500", ANNE),
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def world() -> World:
    made = World()
    app = made.accounts.put_app({"client_id": "app"})
    for name in (ANNE, BOB):
        made.accounts.open_session(made.accounts.put_user({"username": name}), app)
    return made


@pytest.mark.parametrize(
    ("word", "hit", "answer", "sessions"),
    [
        ("503", {"log-in", "read", "write", "update"}, ("status", 503), 2),
        ("expired", set(), None, 0),
        ("locked-user", {"log-in"}, ("status", 400), 0),
        ("limits", {"read", "write", "update"}, ("errorCode", "REQUEST_LIMIT_EXCEEDED"), 2),
        ("slow", {"log-in", "read", "write", "update"}, ("delay_ms", 5000), 2),
        ("lost", {"write", "update"}, ("drop_after_commit", True), 2),
        ("ok", set(), None, 2),
    ],
)
def test_a_word_makes_these_calls_fail_until_ok(world, word, hit, answer, sessions):
    outages.begin(world, word)
    taken = {name: world.faults.take(call) for name, call in CALLS.items()}
    assert {name for name, rule in taken.items() if rule} == hit
    assert {answer} >= {(answer[0], rule.action[answer[0]]) for rule in taken.values() if rule}
    assert [each["name"] for each in outages.active(world)] == ([word] if hit else [])
    assert world.accounts.end_sessions() == sessions
    outages.begin(world, "ok")
    assert not any(world.faults.take(call) for call in CALLS.values())


def test_the_table_above_has_all_words():
    (marked,) = test_a_word_makes_these_calls_fail_until_ok.pytestmark
    assert [row[0] for row in marked.args[1]] == list(outages.WORDS)


def test_an_outage_may_be_of_one_user(world):
    outages.begin(world, "locked-user", user=BOB)
    assert world.faults.take(CALLS["log-in"]) is None
    assert world.faults.take(IncomingCall("POST", "/services/oauth2/token", BOB)) is not None
    assert world.accounts.end_sessions() == 1  # Anne's


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("504",), "expected one of 503, expired"),
        (("expired", 30.0), "expired happens once"),
        (("ok", 30.0), "ok happens once"),
        (("ok", None, ANNE), "ok ends the faults of all users"),
    ],
)
def test_what_a_word_does_not_take_is_refused(given, text):
    with pytest.raises(ValueError, match=text):
        outages.rule_of(*given)


def test_an_outage_with_a_duration_ends_by_itself():
    clock = Clock()
    faults = Faults(clock=clock)
    faults.add(outages.rule_of("503", 30.0) or {})
    clock.now += 29.5
    assert faults.take(CALLS["read"]) is not None
    assert [(each["active"], each["seconds"]) for each in faults.listed()] == [(True, 0.5)]
    clock.now += 0.5
    assert faults.take(CALLS["read"]) is None
    assert [(each["active"], each["seconds"]) for each in faults.listed()] == [(False, 0.0)]


def test_the_newest_outage_applies_and_the_one_before_goes_on_after_it():
    clock = Clock()
    faults = Faults(clock=clock)
    for word, seconds in (("slow", 60.0), ("503", 600.0), ("503", 10.0)):
        faults.add(outages.rule_of(word, seconds) or {})
    names = []
    for _ in range(3):
        rule = faults.take(CALLS["read"])
        names.append(rule and rule.name)
        clock.now += 30.0
    assert names == ["503", "slow", None]


def test_a_rule_that_is_used_up_is_not_active():
    faults = Faults()
    faults.add({"action": {"status": 500}})
    assert [(each["name"], each["active"]) for each in faults.listed()] == [("rule 1", True)]
    faults.take(CALLS["read"])
    assert [each["active"] for each in faults.listed()] == [False]


def test_the_command_tells_what_is_active_and_for_how_long():
    assert lines([]) == ["No fault is active."]
    assert lines([{"name": "503", "seconds": 29.6}, {"name": "lost", "seconds": None}]) == [
        "active: 503, 30 s left",
        "active: lost, until `sfconnector sandbox fail ok`",
    ]

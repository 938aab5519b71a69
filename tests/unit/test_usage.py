"""The two brakes as values: who has to wait, and for how long."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sfconnector.salesforce.usage import STALE_S, Budgets, Rate, Usage, shortage, stretch


@pytest.mark.parametrize(
    ("used", "priority", "code"),
    [
        (0, "low", None),
        (90, "low", None),  # exactly the reserve is left
        (91, "low", "api-reserve"),
        (91, "normal", None),
        (99, "high", None),
        (100, "low", "api-reserve"),
        (100, "normal", None),
        (120, "high", None),
    ],
)
def test_below_the_reserve_low_priority_waits_and_nobody_else(used, priority, code):
    failure = shortage(Usage(used, 100, 0.0), priority, 10.0)
    assert (failure and failure.code) == code
    assert failure is None or f"{used} of 100" in failure.text


@pytest.mark.parametrize(("used", "times"), [(0, 1), (50, 1), (75, 2), (90, 5), (97, 12), (100, 12), (120, 12)])
def test_the_fewer_calls_are_left_the_longer_messages_are_collected(used, times):
    assert stretch(Usage(used, 100, 0.0)) == times


def test_messages_are_not_collected_longer_for_a_usage_that_is_unknown_or_old():
    budgets = Budgets(10.0)
    assert budgets.stretch("org", 1.0) == 1
    budgets.note("org", Usage(90, 100, 1.0))
    assert budgets.stretch("org", 1.0) == 5
    assert budgets.stretch("org", 2.0 + STALE_S) == 1
    assert stretch(Usage(0, 0, 0.0)) == 1


def test_a_refused_call_stops_all_divisions_of_the_org_until_one_is_answered_or_some_time_has_passed():
    budgets = Budgets(10.0)
    budgets.note("org", Usage(110, 100, 1.0))
    assert budgets.lack("org", "high", 1.0) is None
    for usage in (None, Usage(50, 100, 1.0)):
        budgets.note_refusal("org", usage, 2.0)
        assert budgets.lack("org", "high", 2.0) is None
    budgets.note_refusal("org", Usage(110, 100, 1.0), 2.0)
    assert budgets.lack("other", "low", 3.0) is None
    failure = budgets.lack("org", "high", 2.0 + STALE_S)
    assert failure is not None
    assert failure.code == "api-limit"
    assert budgets.lack("org", "high", 2.5 + STALE_S) is None
    budgets.note("org", Usage(111, 100, 1.5))  # an answer from before
    assert budgets.lack("org", "high", 3.0) is not None
    budgets.note("org", Usage(112, 100, 3.0))
    assert budgets.lack("org", "high", 3.0) is None


def test_orgs_have_budgets_of_their_own():
    budgets = Budgets(10.0)
    budgets.note("00D1", Usage(100, 100, 0.0))
    budgets.note("00D2", None)
    assert budgets.lack("00D1", "low", 1.0) is not None
    assert budgets.lack("00D2", "low", 1.0) is None


def test_an_older_word_does_not_replace_a_newer_one():
    budgets = Budgets(10.0)
    budgets.note("org", Usage(100, 100, 5.0))
    budgets.note("org", Usage(50, 100, 4.0))
    assert budgets.lack("org", "low", 6.0) is not None


def test_what_was_said_long_ago_or_is_forgotten_stops_nobody():
    budgets = Budgets(10.0)
    budgets.note("org", Usage(100, 100, 0.0))
    budgets.note_refusal("org", Usage(100, 100, 0.0), 0.0)
    assert budgets.lack("org", "low", STALE_S) is not None
    assert budgets.lack("org", "low", STALE_S + 1) is None
    budgets.forget("org")
    assert budgets.lack("org", "low", 0.0) is None


def test_a_rate_lets_a_minutes_worth_go_at_once_and_then_one_by_one():
    rate = Rate(60, 0.0)
    assert rate.delay(60, 0.0) == 0.0
    rate.take(60, 0.0)
    assert rate.delay(1, 0.0) == pytest.approx(1.0)
    assert rate.delay(10, 4.0) == pytest.approx(6.0)
    assert rate.delay(10, 10.0) == pytest.approx(0.0)


def test_more_than_a_minutes_worth_goes_when_the_minute_is_full_and_is_paid_for_afterwards():
    rate = Rate(60, 0.0)
    assert rate.delay(90, 0.0) == 0.0
    rate.take(90, 0.0)
    assert rate.delay(1, 0.0) == pytest.approx(31.0)


def test_what_became_no_case_is_given_back_but_never_more_than_a_minutes_worth():
    rate = Rate(60, 0.0)
    rate.take(60, 0.0)
    rate.give_back(60, 0.0)
    assert rate.delay(60, 0.0) == 0.0
    rate.give_back(60, 0.0)
    rate.take(60, 0.0)
    assert rate.delay(1, 0.0) == pytest.approx(1.0)


def test_a_rate_holds_over_all_who_send_at_the_same_time():
    rate = Rate(60, 0.0)
    with ThreadPoolExecutor(8) as lanes:
        delays = sorted(lanes.map(lambda _: rate.take(10, 0.0), range(80)))
    expected = [0.0] * 6 + [10.0 * number for number in range(1, 75)]
    assert delays == pytest.approx(expected)


def test_whoever_would_wait_too_long_takes_nothing_from_the_others():
    rate = Rate(60, 0.0)
    rate.take(60, 0.0)
    assert rate.take(20, 0.0, longest=19.0) == pytest.approx(20.0)
    assert rate.take(20, 0.0, longest=21.0) == pytest.approx(20.0)
    assert rate.take(1, 0.0) == pytest.approx(21.0)

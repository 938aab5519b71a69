"""The API calls of the last 24 hours: a window that rolls by the hour."""

import pytest

from sfconnector.sandbox.api_limit import HOUR, ApiLimit
from sfconnector.sandbox.journal import BODIES, Journal
from sfconnector.sandbox.refusals import ApiError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_calls_are_counted_until_none_is_left():
    limit = ApiLimit(maximum=2, clock=Clock())
    limit.count()
    limit.count()
    with pytest.raises(ApiError) as raised:
        limit.count()
    assert raised.value.status == 403
    assert raised.value.body() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    assert limit.header() == "api-usage=2/2"


def test_a_call_comes_back_a_day_later():
    clock = Clock()
    limit = ApiLimit(maximum=2, clock=clock)
    limit.count()
    clock.now += 12 * HOUR
    limit.count()
    clock.now += 12 * HOUR
    assert limit.used == 2  # the hour of the first call is not over
    clock.now += HOUR
    assert limit.used == 1
    clock.now += 12 * HOUR
    assert limit.used == 0


def test_what_is_used_can_be_set():
    limit = ApiLimit(clock=Clock())
    limit.set(maximum=100, used=90)
    limit.count()
    assert limit.answer()["DailyApiRequests"] == {"Max": 100, "Remaining": 9}


def test_the_log_forgets_the_bodies_of_old_requests():
    journal = Journal()
    for number in range(BODIES + 1):
        journal.begin("POST", "/", body=number)
    bodies = [entry["body"] for entry in journal.entries()]
    assert bodies == [None, *range(1, BODIES + 1)]

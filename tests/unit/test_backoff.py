from connectorlib.values.backoff import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(0.2, 1.0)
    assert [backoff.delay(attempt, 1.0) for attempt in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_takes_off_its_share() -> None:
    assert [Backoff(8.0, 60.0, jitter=0.25).delay(0, chance) for chance in (0.0, 0.5, 1.0)] == [6.0, 7.0, 8.0]


def test_full_jitter_leaves_a_rest() -> None:
    assert Backoff(8.0, 60.0, jitter=1.0, least=0.5).delay(0, 0.0) == 0.5


def test_an_outage_of_any_length_has_a_delay() -> None:
    assert Backoff(1.0, 60.0).delay(10**9, 1.0) == 60.0

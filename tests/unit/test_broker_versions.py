"""Which RabbitMQ `check` calls out of support."""

from datetime import date

import pytest

from connectorlib.preflight.broker_versions import out_of_support

OVER = "community support ended "


@pytest.mark.parametrize(
    ("version", "today", "found"),
    [
        ((3, 10, 8), date(2026, 11, 30), f"{OVER}before 2026-07-31"),
        ((4, 0, 5), date(2026, 1, 1), f"{OVER}before 2026-07-31"),
        ((4, 2, 1), date(2026, 7, 31), None),
        ((4, 2, 1), date(2026, 8, 1), f"{OVER}on 2026-07-31"),
        ((4, 3, 6), date(2026, 11, 30), None),
        ((4, 3), date(2026, 12, 1), f"{OVER}on 2026-11-30"),
        ((4, 4, 0), date(2030, 1, 1), None),
        ((5, 0, 0), date(2030, 1, 1), None),
        ((4,), date(2030, 1, 1), None),
        ((), date(2030, 1, 1), None),
    ],
)
def test_a_series_is_out_of_support_after_its_last_day(
    version: tuple[int, ...], today: date, found: str | None
) -> None:
    assert out_of_support(version, today) == found

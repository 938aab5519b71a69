"""Until when the community supports which RabbitMQ. Pure; the dates are from https://www.rabbitmq.com/release-information,
as known in November 2026. That page is the one to believe."""

from collections.abc import Mapping
from datetime import date

#: The last day of each series; those before the first are long over, and those after the last have no date yet.
SUPPORTED_UNTIL: Mapping[tuple[int, ...], date] = {(4, 2): date(2026, 7, 31), (4, 3): date(2026, 11, 30)}


def out_of_support(version: tuple[int, ...], today: date) -> str | None:
    """Return since when the community does not support a version, such as (4, 2, 1), in words; None: it does, or the
    version is not known."""
    series = version[:2]
    if len(series) < 2 or series > max(SUPPORTED_UNTIL):
        return None
    until = SUPPORTED_UNTIL.get(series)
    if until is None:
        return f"community support ended before {min(SUPPORTED_UNTIL.values())}"
    return f"community support ended on {until}" if today > until else None

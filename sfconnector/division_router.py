"""Which division gets a message: the first whose `match` fits it. Pure."""

from collections.abc import Sequence
from typing import Any

from connectorlib.errors import Failed, reject
from connectorlib.expressions import Scope, compile_patterns
from connectorlib.formats import Format, compile_format
from connectorlib.messages import Delivery
from sfconnector.settings import Division

PLACE = "match"


class DivisionRouter:
    """Which of several divisions a message is for: the first whose `match` fits. Pure."""

    def __init__(self, divisions: Sequence[Division]) -> None:
        #: None: whatever comes.
        self._matches = [compile_patterns(each.match) if each.match else None for each in divisions]
        self._formats = _formats(divisions)

    def __call__(self, delivery: Delivery) -> int:
        """Return the position of the division. Raise Failed (reject) if there is none."""
        decoded: dict[int, Any] = {}
        undecoded: list[Failed] = []
        for position, (matches, division_format) in enumerate(zip(self._matches, self._formats, strict=True)):
            if matches is None:
                return position
            try:
                record = _first_record(decoded, division_format, delivery)
            except Failed as failed:  # patterns over what travels beside the body fit all the same
                undecoded.append(failed)
                record = {}
            if matches(record, Scope(delivery, encoding=division_format.encoding)):
                return position
        if len(undecoded) == len(self._formats):
            raise undecoded[0]
        raise reject("no-division", "no division's match fits the message", place=PLACE)


def _formats(divisions: Sequence[Division]) -> list[Format]:
    """Return the format of each division: one object for those that say the same, which decodes for all of them."""
    made: list[Format] = []
    for position, division in enumerate(divisions):
        same = (at for at, other in enumerate(divisions[:position]) if _decodes_alike(division, other))
        at = next(same, None)
        made.append(compile_format(division.format, division.limits) if at is None else made[at])
    return made


def _decodes_alike(one: Division, other: Division) -> bool:
    return (one.format, one.limits) == (other.format, other.limits)


def _first_record(decoded: dict[int, Any], division_format: Format, delivery: Delivery) -> Any:
    """Return the record that is matched, the first of the body; decoded once for each format."""
    key = id(division_format)
    if key not in decoded:
        records = division_format.decode(delivery.body)
        decoded[key] = records[0] if records else {}
    return decoded[key]

"""Which division gets a message, the first whose `match` fits it; and which of its lanes. Pure."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from connectorlib.errors import Failed, reject
from connectorlib.expressions import Scope, compile_condition
from connectorlib.formats import Format, compile_format, decode_content
from connectorlib.messages import Delivery, Done
from connectorlib.pipeline.admission import admitting
from connectorlib.pipeline.lane_key import LaneKey
from sfconnector.settings import Division

PLACE = "match"


class DivisionRouter:
    """Which of several divisions a message is for: the first whose `match` fits. Pure."""

    def __init__(self, divisions: Sequence[Division]) -> None:
        #: None: whatever comes.
        self._matches = [compile_condition(each.match).matches if each.match else None for each in divisions]
        self._formats = _formats(divisions)

    def __call__(self, delivery: Delivery) -> int:
        """Return the position of the division; keep the records if they had to be decoded. Raise Failed (reject) if
        there is none."""
        decoded: dict[int, Sequence[Any]] = {}
        undecoded: list[Failed] = []
        for position, (matches, division_format) in enumerate(zip(self._matches, self._formats, strict=True)):
            if matches is None:
                return position
            try:
                records = _records(decoded, division_format, delivery)
                record = records[0] if records else {}
            except Failed as failed:  # patterns over what travels beside the body fit all the same
                undecoded.append(failed)
                record = {}
            if matches(record, Scope(delivery, fmt=division_format)):
                delivery.records = decoded.get(id(division_format))
                return position
        if len(undecoded) == len(self._formats):
            raise undecoded[0]
        raise reject("no-division", "no division matches the message", place=PLACE)


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


def _records(decoded: dict[int, Sequence[Any]], division_format: Format, delivery: Delivery) -> Sequence[Any]:
    """Return the records of the body, the first of which is matched; decoded once for each format."""
    key = id(division_format)
    if key not in decoded:
        decoded[key] = decode_content(delivery, division_format)
    return decoded[key]


class LaneRouter:
    """Which lanes may have a message: of its division all, or with `lanes.key` the one of its key. Pure."""

    def __init__(self, divisions: Sequence[Division]) -> None:
        counts = [division.lanes.count for division in divisions]
        ends = list(accumulate(counts))
        #: The lanes of each division.
        self.lanes = [range(end - count, end) for end, count in zip(ends, counts, strict=True)]
        self.division = DivisionRouter(divisions)
        self._keys = [
            LaneKey(division.lanes, division.format, division.limits, lanes.start) if division.lanes.key else None
            for division, lanes in zip(divisions, self.lanes, strict=True)
        ]
        #: Whether a key must not be in two lanes: the state of an alarm has one writer.
        self._one_writer = [each.case.alarm is not None and each.lanes.count > 1 for each in divisions]
        self._admissions = [admitting(each.conditions, each.format, each.limits) for each in divisions]

    def __call__(self, delivery: Delivery) -> Sequence[int] | Done:
        """Return the positions of the lanes, and set the key of the delivery; or how it counts if its division leaves
        it out. Raise Failed (reject) if it is for none."""
        position = self.division(delivery)
        admission = self._admissions[position]
        left_out = None if admission is None else admission(delivery)
        if left_out is not None:
            return left_out
        key = self._keys[position]
        if key is None:
            return self.lanes[position]
        lanes = key(delivery)
        if self._one_writer[position] and not key.has_one_key(delivery):
            text = "the records of a message belong to several alarms, which needs lanes.count 1"
            raise reject("several-alarms", text, place="lanes")
        return lanes

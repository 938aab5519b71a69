"""Which lane a message goes to: those with the same key share one, so that they keep their order."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from connectorlib.errors import Failed
from connectorlib.expressions import MISSING, Scope, compile_expression
from connectorlib.formats import compile_format, records_of
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Lanes, Limits


class LaneKey:
    """The router of lanes with a key, the first of which has the position `first`. A message without a key, or with a
    body that cannot be read, goes to the first: it keeps its order with others of that kind, and its sink says what is
    wrong with it."""

    def __init__(self, lanes: Lanes, settings: Mapping[str, Any], limits: Limits, first: int = 0) -> None:
        self._lanes = [range(at, at + 1) for at in range(first, first + lanes.count)]
        self._key = compile_expression(lanes.key)
        self._format = compile_format(settings, limits)
        self._reads_body = not self._key.parts or any(not path.source for path in self._key.parts)

    def __call__(self, delivery: Delivery) -> Sequence[int]:
        """Return the position of the lane; set the key of the delivery."""
        delivery.key = key = self.key_of(delivery)
        return self._lanes[0 if key is MISSING else hash(key) % len(self._lanes)]

    def key_of(self, delivery: Delivery) -> Hashable:
        """Return the key of a message, MISSING if it has none. Its records are taken as they were decoded before."""
        try:
            if self._reads_body:
                delivery.records = records_of(delivery, self._format)
        except Failed:
            return MISSING
        return self._evaluated(delivery.records[0] if delivery.records else {}, delivery)

    def has_one_key(self, delivery: Delivery) -> bool:
        """Return whether all records of a message have the key by which its lane was chosen."""
        others = (delivery.records or ())[1:]
        return all(self._evaluated(record, delivery) == delivery.key for record in others)

    def _evaluated(self, record: Any, delivery: Delivery) -> Hashable:
        try:
            value = self._key.evaluate(record, Scope(delivery, record, fmt=self._format))
        except Failed:
            return MISSING
        return value if isinstance(value, Hashable) else repr(value)

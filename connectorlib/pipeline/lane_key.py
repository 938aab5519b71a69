"""Which lane a message goes to: those with the same key share one, so that they keep their order."""

from collections.abc import Hashable, Mapping
from typing import Any

from connectorlib.errors import Failed
from connectorlib.expressions import MISSING, Scope, compile_expression
from connectorlib.formats import compile_format
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Lanes, Limits


class LaneKey:
    """The router of lanes with a key. A message without a key, or with a body that cannot be read, goes to the first
    lane: it keeps its order with others of that kind, and its sink says what is wrong with it."""

    def __init__(self, lanes: Lanes, settings: Mapping[str, Any], limits: Limits) -> None:
        self._count = lanes.count
        self._key = compile_expression(lanes.key)
        self._format = compile_format(settings, limits)
        self._reads_body = not self._key.parts or any(not path.source for path in self._key.parts)

    def __call__(self, delivery: Delivery) -> int:
        """Return the position of the lane; set the key of the delivery."""
        delivery.key = self.key_of(delivery)
        return 0 if delivery.key is None else hash(delivery.key) % self._count

    def key_of(self, delivery: Delivery) -> Hashable:
        """Return the key of a message, None if it has none."""
        try:
            if self._reads_body:
                delivery.records = self._format.decode(delivery.body)
            record = delivery.records[0] if delivery.records else {}
            value = self._key.evaluate(record, Scope(delivery, encoding=self._format.encoding))
        except Failed:
            return None
        if value is MISSING:
            return None
        return value if isinstance(value, Hashable) else repr(value)

"""JMESPath over a record: decimals as floats, which its functions know, and within the time that a message may take."""

from decimal import Decimal
from typing import Any

from jmespath.visitor import TreeInterpreter

from connectorlib.limits import Effort

#: Between two looks at the clock: a step takes a few µs.
_STEPS = 512


class Interpreter(TreeInterpreter):
    """One evaluation. Raise Failed (reject) when the message has taken too long."""

    def __init__(self, effort: Effort | None) -> None:
        super().__init__()
        self._effort = effort
        self._steps = 0

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._steps += 1
        if self._steps % _STEPS == 0 and self._effort is not None:
            self._effort.check()
        return super().visit(node, *args, **kwargs)


def with_floats(value: Any) -> Any:
    """Given a value of a record, return it with every decimal as a float."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: with_floats(member) for name, member in value.items()}
    if isinstance(value, list):
        return [with_floats(member) for member in value]
    return value

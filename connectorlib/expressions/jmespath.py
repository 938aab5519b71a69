"""JMESPath over a record: decimals become floats, for its functions, and the time limit of the message applies."""

from decimal import Decimal
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from connectorlib.limits import Effort

#: Steps between two checks of the time; one takes a few µs.
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


def parse(text: str) -> Any:
    """Return what `Interpreter.visit` evaluates. Raise ValueError for what is no JMESPath."""
    try:
        return jmespath.compile(text).parsed
    except RecursionError as error:
        raise ValueError("jmespath: nested too deep") from error
    except JMESPathError as error:
        raise ValueError(f"jmespath: {' '.join(str(error).split())}") from error


def with_floats(value: Any) -> Any:
    """Return a value of a record with every decimal as a float."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: with_floats(member) for name, member in value.items()}
    if isinstance(value, list):
        return [with_floats(member) for member in value]
    return value

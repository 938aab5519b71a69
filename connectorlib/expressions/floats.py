"""Records for JMESPath, whose functions know floats and not decimals."""

from decimal import Decimal
from typing import Any


def with_floats(value: Any) -> Any:
    """Given a value of a record, return it with every decimal as a float."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: with_floats(member) for name, member in value.items()}
    if isinstance(value, list):
        return [with_floats(member) for member in value]
    return value

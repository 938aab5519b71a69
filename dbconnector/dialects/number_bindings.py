"""How numbers are bound: none is rounded silently, and none is guessed from a text. Pure."""

import decimal
import math
import re
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from connectorlib.values.text import MAX_DIGITS, quoted
from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.conversions import CAST, NO_BYTES, Bindings, ColumnConvert, Convert, plain_text

MIN_INT, MAX_INT = -(2**63), 2**63 - 1
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?\s*", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
#: Numbers as programming languages write them: in another base, or with `_` between digits (PostgreSQL from 16 on).
_LITERAL = re.compile(r"\s*[+-]?(0[xob]|[\d.]*\d_\d)", re.ASCII | re.IGNORECASE)


def _int64(value: int) -> int | str:
    """Return a number that an ODBC driver can carry (64 bits); digits for the server to parse if it is wider."""
    return value if MIN_INT <= value <= MAX_INT else str(value)


def _all_int64(values: Sequence[int]) -> Sequence[int | str]:
    in_range = min(values) >= MIN_INT and max(values) <= MAX_INT
    return values if in_range else [*map(_int64, values)]


#: How whole numbers are bound.
WIDE = ColumnConvert(_int64, _all_int64)


def whole(value: Decimal | float) -> int | str:
    """Return a number for an integer column. Raise if it has a fraction, which MariaDB would round."""
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"{value} is not a whole number, as the column needs")
    return _int64(int(value))


def whole_text(value: str) -> str:
    if _WHOLE.fullmatch(value):
        return value
    number = number_in(value)
    return plain_text(value) if number is None else str(whole(number))


def number_in(text: str) -> Decimal | None:
    """Return the number that a text holds. Raise for one that is written as in a program, which some databases read
    and others do not."""
    if _NUMBER.fullmatch(text):
        number = Decimal(text.strip())
        if len(text) > MAX_DIGITS or not -MAX_DIGITS < number.adjusted() < MAX_DIGITS:
            raise ValueError(f"a number of more than {MAX_DIGITS} digits")
        return number
    if _LITERAL.match(text):
        raise ValueError(f"{quoted(text)} is not a decimal number")
    return None


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise _not_finite(value)
    return value


def digits_of(value: Decimal) -> str:
    """Return a decimal without an exponent: every database parses that exactly."""
    digits = str(value)
    return f"{value:f}" if "E" in digits else digits


def finite_digits(value: Decimal) -> str:
    if not value.is_finite():
        raise _not_finite(value)
    return digits_of(value)


def finite_decimal(value: Decimal) -> Decimal | str:
    if not value.is_finite():
        raise _not_finite(value)
    # A decimal parameter has at most 38 digits; longer ones are sent as text.
    return value if len(value.as_tuple().digits) <= 38 else digits_of(value)


def _not_finite(value: float | Decimal) -> ValueError:
    return ValueError(f"{value} is not a number that the column can hold")


def refuse_rounding(number: Decimal, *, single: bool = False) -> None:
    """Raise if a floating-point number does not have the digits of this one: of 0.1 it has, of 2⁵³ + 1 it has not."""
    if not number.is_finite():
        return
    try:
        held = float(number)
        held = struct.unpack("f", struct.pack("f", held))[0] if single else held
    except OverflowError:
        held = math.inf
    digits = len(number.normalize(_ALL_DIGITS).as_tuple().digits)
    if not math.isfinite(held) or Decimal(f"{held:.{max(digits, 1) - 1}e}") != number:
        raise ValueError(f"{number} has more digits than the column, which keeps about {7 if single else 15}{CAST}")


_ALL_DIGITS = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def _refuse_fraction(scale: int, number: Decimal) -> None:
    """Raise if a number has more digits after the point than a column keeps; before it, for a scale below 0."""
    if not number.is_finite():
        return
    shifted = number.scaleb(scale, _ALL_DIGITS)
    if shifted != shifted.to_integral_value():
        raise ValueError(f"{number} has more digits after the point than the {scale} that the column keeps{CAST}")


def _rounding(column: ColumnType) -> Callable[[Decimal], None] | None:
    """Return what raises for a number that this column would round; None if it rounds none."""
    if column.scale is not None:
        return partial(_refuse_fraction, column.scale)
    if column.kind in (Column.FLOAT, Column.SINGLE):
        return partial(refuse_rounding, single=column.kind is Column.SINGLE)
    return None


#: So many digits every floating-point number has.
_SAFE = {Column.FLOAT: 15, Column.SINGLE: 6}


def numbers(column: ColumnType, *, infinite: bool = False) -> Bindings:
    """Return how numbers are bound for a column of numbers that may have a fraction. `infinite`: it holds NaN too."""
    check = _rounding(column)
    # Digits with their point that cannot be rounded, whatever they are, and need no closer look.
    safe = _SAFE.get(column.kind, 0) if column.scale is None else 0
    most = (column.scale or 0) + 1
    #: The longest text from its point on that needs no closer look either.
    short = most if column.scale is not None else MAX_DIGITS if check is None else 0

    def digits(value: Decimal) -> str:  # hot path
        text = str(value)
        point = text.find(".")
        if point >= 0 and len(text) - point <= short and "E" not in text:
            return text
        return any_digits(value)

    plain = re.compile(rf"(?:-?\d+\.\d{{1,{max(short - 1, 1)}}}\n)*", re.ASCII).fullmatch

    def all_digits(values: Sequence[Decimal]) -> Sequence[str]:  # hot path
        texts = [*map(str, values)]
        return texts if short > 1 and plain("\n".join([*texts, ""])) else [*map(digits, values)]

    def any_digits(value: Decimal) -> str:
        if not infinite and not value.is_finite():
            raise _not_finite(value)
        text = str(value)
        if "E" in text:
            text = f"{value:f}"
        if check is not None and len(text) > safe:
            point = text.find(".")
            if safe or most < 1 or 0 <= point < len(text) - most:
                check(value)
        return text

    def of_float(value: float) -> Any:
        if check is not None and (safe == 0 or column.kind is Column.SINGLE):
            check(Decimal(repr(value)))
        return repr(value) if infinite else finite(value)

    def of_int(value: int) -> int | str:
        if check is not None and (most < 1 or (safe and not -(10**safe) <= value <= 10**safe)):
            check(Decimal(value))
        return _int64(value)

    def of_text(value: str) -> str:
        number = number_in(value)
        if number is not None and check is not None:
            check(number)
        return plain_text(value)

    decimals = ColumnConvert(digits, all_digits)
    return {bool: int, int: of_int, float: of_float, Decimal: decimals, str: of_text, **NO_BYTES}


def integers(column: ColumnType) -> Bindings:
    found: Bindings = {bool: int, int: WIDE, float: whole, Decimal: whole, str: whole_text, **NO_BYTES}
    if column.within is None:
        return found
    return found | {kind: partial(_within, column, found[kind]) for kind in (bool, int, float, Decimal, str)}


def _within(column: ColumnType, convert: Convert | None, value: Any) -> int:
    """Return a number within the bounds of a column beyond which the database would make another number of it."""
    converted = convert(value) if convert else value
    within = column.within or range(0)
    digits = f"{converted:d}" if isinstance(converted, int) else converted
    if not _WHOLE.fullmatch(digits) or int(digits) not in within:
        raise ValueError(f"{value} for a column of {column.name}, which takes {within.start} to {within.stop - 1}")
    return int(digits)

"""Options of the commands that send dead letters back. Imports only click and the standard library."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

Function = Callable[..., Any]

_SECONDS = {"s": 1, "m": 60, "h": 3600}
#: A message a minute: slower, and a message would be held longer than a broker likes.
SLOWEST = 1 / 60


class Rate(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """`50/s`, `30/m`, as messages a second."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(?:/([smh]))?", str(value).replace(" ", ""))
        if found is None:
            self.fail(f"{value!r}: expected messages a second or a minute, such as 50/s or 30/m", param, ctx)
        rate = float(found[1]) / _SECONDS[found[2] or "s"]
        if rate < SLOWEST:
            self.fail(f"{value!r}: the slowest is 1/m", param, ctx)
        return rate


@dataclass(frozen=True, slots=True)
class Sending:
    """How to send back, as given on the command line."""

    to_exchange: str | None
    to_queue: str | None
    rate: float | None
    in_flight: int
    dry_run: bool


_SENDING = (
    click.option(
        "--to-exchange",
        metavar="X",
        help="Not to the queue, but to this exchange with the first routing key; `origin`: the one of its first life.",
    ),
    click.option("--to-queue", metavar="Q", help="Not to the queue that it died in, but to this one."),
    click.option("--rate", type=Rate(), help="No faster than 50/s, or 30/m.  [as fast as the broker confirms]"),
    click.option(
        "--in-flight",
        type=click.IntRange(1, 1000),
        default=1,
        show_default=True,
        metavar="N",
        help="More is faster; killed in the middle, so many messages may be doubled. None is lost.",
    ),
    click.option("--dry-run", is_flag=True, help="Only tell what would be sent where."),
)


def sending_options(function: Function) -> Function:
    """Give a command the options that say how to send back, as `sending`."""

    @wraps(function)
    def wrapped(**values: Any) -> Any:
        own = Sending(**{each.name: values.pop(each.name) for each in fields(Sending)})
        if own.to_exchange is not None and own.to_queue is not None:
            raise click.UsageError("--to-exchange and --to-queue exclude each other")
        return function(sending=own, **values)

    for option in reversed(_SENDING):
        wrapped = option(wrapped)
    return wrapped

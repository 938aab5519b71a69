"""The options that stand for what travels beside a body. Imports only click and the standard library."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Beside:
    """What the options said."""

    exchange: str | None
    routing_key: str | None
    queue: str | None
    header: tuple[tuple[str, str], ...]
    message_id: str | None
    correlation_id: str | None
    timestamp: int | None

    @property
    def properties(self) -> dict[str, Any]:
        """By their AMQP names."""
        return {
            "headers": dict(self.header) or None,
            "message_id": self.message_id,
            "correlation_id": self.correlation_id,
            "timestamp": self.timestamp,
        }


class _Pair(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str] | object:
        if isinstance(value, tuple):
            return value
        name, equals, rest = str(value).partition("=")
        if not equals or not name:
            self.fail(f"expected NAME=VALUE, not {value!r}", param, ctx)
        return name, rest


class _Moment(click.ParamType):  # type: ignore[type-arg]  # see above
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text.isdecimal():
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"expected a time such as 2026-11-24T03:02:11Z, or seconds since 1970, not {text!r}", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


_OPTIONS = (
    click.option("--exchange", metavar="NAME", help="The exchange that it was published to."),
    click.option("--routing-key", metavar="KEY", help="The routing key that it was published with."),
    click.option("--queue", metavar="NAME", help="The source queue that it came into, where there are several."),
    click.option("--header", type=_Pair(), multiple=True, metavar="NAME=VALUE", help="A header; may be repeated."),
    click.option("--message-id", metavar="ID", help="Its message id."),
    click.option("--correlation-id", metavar="ID", help="Its correlation id."),
    click.option("--timestamp", type=_Moment(), metavar="TIME", help="Its timestamp, in ISO 8601 or seconds."),
)
NAMES = ("exchange", "routing_key", "queue", "header", "message_id", "correlation_id", "timestamp")


def beside_options(function: Decorated) -> Decorated:
    """Add the options to a command, which takes them as keyword arguments: see `beside`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def beside(given: dict[str, Any]) -> Beside:
    """Return what the options said."""
    return Beside(**{name: given[name] for name in NAMES})

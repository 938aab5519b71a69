"""A connector in a process of its own that dies, or is hurried, at an exact instant: a test's way to start one.

    python -m tests.faults.child before-commit=3 -- dbconnector subscribe -c db.config

Each hook wraps one public method before the command runs; the product knows nothing of it. The death is SIGKILL.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from connectorlib.messages import Dead, Delivery
from connectorlib.pipeline.dead_letter_publisher import DeadLetterPublisher


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_commit(number: str) -> None:
    """Die when the commit of that number is about to be asked for."""
    from dbconnector.odbc.database import Database

    def wrap(commit: Callable[..., bool], calls: "itertools.count[int]") -> Callable[..., bool]:
        def wrapped(self: Any) -> bool:
            if next(calls) == int(number):
                die()
            return commit(self)

        return wrapped

    _replace(Database, "commit_unaltered", wrap)


def after_commit(number: str) -> None:
    """Die when the commit of that number has been answered; nothing of it is acknowledged yet."""
    from dbconnector.odbc.database import Database

    def wrap(commit: Callable[..., bool], calls: "itertools.count[int]") -> Callable[..., bool]:
        def wrapped(self: Any) -> bool:
            done = commit(self)
            if next(calls) == int(number):
                die()
            return done

        return wrapped

    _replace(Database, "commit_unaltered", wrap)


def after_dead_letter(number: str) -> None:
    """Die when the broker has confirmed dead letters for that time; their originals are not acknowledged yet."""
    Buried = Callable[[Sequence[Delivery]], None]

    def wrap(send: Callable[..., None], calls: "itertools.count[int]") -> Callable[..., None]:
        def wrapped(self: Any, dead: Sequence[tuple[Delivery, Dead]], buried: Buried) -> None:
            def confirmed(deliveries: Sequence[Delivery]) -> None:
                if deliveries and next(calls) == int(number):
                    die()
                buried(deliveries)

            send(self, dead, confirmed)

        return wrapped

    _replace(DeadLetterPublisher, "send", wrap)


def after_cases(number: str) -> None:
    """Die when the call of that number that makes or changes Cases has been answered; nothing is acknowledged yet."""
    from sfconnector.salesforce.client import Client

    def wrap(create: Callable[..., Any], calls: "itertools.count[int]") -> Callable[..., Any]:
        def wrapped(self: Any, *arguments: Any, **more: Any) -> Any:
            answer = create(self, *arguments, **more)
            if next(calls) == int(number):
                die()
            return answer

        return wrapped

    _replace(Client, "create", wrap)
    _replace(Client, "composite", wrap)


def crash_on(text: str) -> None:
    """Die over every message that holds this text, as a driver does that crashes."""
    from dbconnector.sink import DatabaseSink

    def wrap(handle: Callable[..., Any], _calls: object) -> Callable[..., Any]:
        def wrapped(self: Any, deliveries: Sequence[Delivery], *arguments: Any) -> Any:
            if any(text.encode() in delivery.body for delivery in deliveries):
                die()
            return handle(self, deliveries, *arguments)

        return wrapped

    _replace(DatabaseSink, "handle", wrap)


def limits(text: str) -> None:
    """Shorten the time limits of the database calls: `login,lock,statement,socket,grace` in seconds."""
    from dbconnector.odbc import call_guard
    from dbconnector.odbc.connection_string import TimeLimits

    *given, grace = (int(part) for part in text.split(","))
    TimeLimits.__init__.__defaults__ = tuple(given)
    call_guard.GRACE = float(grace)


def clock(seconds: str) -> None:
    """Let the time of day jump, as far as that, forth and back with every look at it; the other clocks go on."""
    import time

    now, jumps = time.time, itertools.cycle([float(seconds), 0.0, -float(seconds)])
    time.time = lambda: now() + next(jumps)


def lease(seconds: str) -> None:
    """Let a lease end so many seconds after its holder has last renewed it."""
    from dbconnector import lease_table

    lease_table.LEASE_S = int(seconds)


def _replace(owner: type, name: str, wrap: Callable[[Any, "itertools.count[int]"], Any]) -> None:
    setattr(owner, name, wrap(getattr(owner, name), itertools.count(1)))


HOOKS: dict[str, Callable[[str], None]] = {
    "before-commit": before_commit,
    "after-commit": after_commit,
    "after-dead-letter": after_dead_letter,
    "after-cases": after_cases,
    "crash-on": crash_on,
    "limits": limits,
    "clock": clock,
    "lease": lease,
}


def main() -> None:
    split = sys.argv.index("--")
    hooks, (command, *arguments) = sys.argv[1:split], sys.argv[split + 1 :]
    for hook in hooks:
        name, _, value = hook.partition("=")
        HOOKS[name](value)
    if command == "sfconnector":
        from sfconnector.cli import main as run
    else:
        from dbconnector.cli import main as run
    run(arguments, prog_name=command)


if __name__ == "__main__":
    main()

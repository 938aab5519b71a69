"""Checks the section `notify` for `check`: names its channels and, if asked to, sends a test notice through each."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from connectorlib.amqp import Broker
from connectorlib.config.notify_rules import CHANNELS
from connectorlib.errors import Failed, Kind
from connectorlib.monitoring.notice_channels import Undelivered, channels
from connectorlib.monitoring.notices import Notice
from connectorlib.monitoring.notifier import message_of
from connectorlib.preflight.check_broker import CONNECT_S, STOP_S
from connectorlib.preflight.findings import Finding, Group, bad, good
from connectorlib.shared_settings import BrokerSettings, Notify
from connectorlib.values.text import listed

ABOUT = "notify"


def groups(notify: Notify | None, broker: BrokerSettings, program: str, name: str, *, test: bool) -> Sequence[Group]:
    """Return what to ask about the channels; nothing without the section, unless a `test` notice was asked for."""
    if notify is not None:
        return [(ABOUT, partial(_tested, notify, broker, program, name) if test else partial(_named, notify))]
    missing = bad(ABOUT, "the configuration has no such section", "add it, or leave out --notify", Kind.CONFIGURATION)
    return [(ABOUT, lambda: [missing])] if test else []


def _named(notify: Notify) -> Iterator[Finding]:
    names = [each for each in CHANNELS if getattr(notify, each)]
    yield good(ABOUT, f"by {listed(names)}; `check --notify` sends a test notice")


def _tested(notify: Notify, settings: BrokerSettings, program: str, name: str) -> Iterator[Finding]:
    text = f"{program}: a test notice from `{program} check --notify`; no action needed"
    message = message_of(Notice("test", text, {}), program, name)
    with ExitStack() as stack:
        broker = Broker(settings, name=f"{program} check notify", consuming=False)
        if notify.exchange:
            stack.callback(broker.stop, STOP_S)
            broker.start()
            with suppress(Failed):  # why not is said of the exchange, and the other channels need no broker
                broker.wait_connected(CONNECT_S, give_up_on_refused=True)
        for channel, send in channels(notify, broker, settings).items():
            try:
                send(message)
            except Undelivered as error:
                yield bad(f"{ABOUT}.{channel}", f"a test notice was not delivered: {error}", kind=Kind.UNAVAILABLE)
            else:
                yield good(f"{ABOUT}.{channel}", "a test notice was delivered")

"""Signals that a daemon receives before it listens to them. Imports only the standard library."""

import signal
from types import FrameType


def keep_early_signals() -> None:
    """Let SIGUSR1 and SIGHUP not end a daemon before it listens to them: nothing is paused yet, and the configuration
    is still to be read. To be called in the main thread, before what takes long is imported."""
    for number in (signal.SIGUSR1, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, no_action)


def no_action(number: int, frame: FrameType | None) -> None:
    """Replace the default action of a signal."""

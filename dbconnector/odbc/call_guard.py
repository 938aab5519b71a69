"""Guards the calls to a database: each has a deadline for the watchdog, and raises its errors as `Failed`."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.dialects import sqlstate
from dbconnector.odbc import connection_string
from dbconnector.odbc.server import Server
from dbconnector.settings import DatabaseSettings

#: Seconds past the driver's own time limits after which a call counts as stuck.
GRACE = 30.0
#: Seconds without a call after which a connection is asked for a sign of life before it is used.
IDLE = 5.0

_BAD_VALUES = (UnicodeError, OverflowError, ValueError, TypeError)


class AlreadyThere(Failed):
    """A reject whose code the configuration declares `done`: if one message alone causes it, its rows exist already."""


class Duplicate(Failed):
    """A reject by a unique key."""


class CallGuard:
    """The call in progress, if there is one."""

    def __init__(self, server: Server, settings: DatabaseSettings, given: Mapping[str, str]) -> None:
        """`given` are the keywords of the connection; none of their secrets gets into a text of an error."""
        self._server = server
        self._settings = settings
        self._given = given
        #: Monotonic time at which the call in progress counts as stuck; None while there is none.
        self.deadline: float | None = None
        self._since: float | None = None
        #: When the last call ended (monotonic).
        self._used = time.monotonic()
        #: Whether the statement that is run now was run on this connection before.
        self.ran_before = False

    @property
    def idle(self) -> bool:
        """Whether there was no call for a while, so that the connection may have been ended meanwhile."""
        return time.monotonic() - self._used > IDLE

    def stuck(self) -> str | None:
        """Return what is stuck if a call is past its deadline; for the watchdog, from any thread."""
        deadline, since = self.deadline, self._since
        if deadline is None or since is None or time.monotonic() < deadline:
            return None
        return f"a database call has been running for {time.monotonic() - since:.0f} s"

    @contextlib.contextmanager
    def call(
        self,
        place: str,
        seconds: float,
        *,
        connecting: bool = False,
        on_failure: Callable[[Failure], object] = lambda _failure: None,
    ) -> Iterator[None]:
        """Give a call its deadline, `seconds` and GRACE from now. Call `on_failure` for an error of the call, before it
        is raised as Failed; what is Failed already passes as it is."""
        self._since = time.monotonic()
        self.deadline = self._since + seconds + GRACE
        try:
            yield
        except Failed:
            raise
        except Exception as error:  # pyodbc lets errors of any class through, plain Python ones included
            failed = self.failed(error, place, connecting=connecting)
            on_failure(failed.failure)
            # Without tracebacks, so that no cursor of a discarded connection is freed in this thread: that could wait
            # for the same dead network.
            error.__context__ = None
            raise failed from error.with_traceback(None)
        finally:
            self.deadline = self._since = None
            self.ran_before = False
            self._used = time.monotonic()

    def failed(self, error: Exception, place: str, *, connecting: bool = False) -> Failed:
        """Return the exception for one of pyodbc's or Python's."""
        if not isinstance(error, pyodbc.Error):
            kind, code = (Kind.REJECT, "bad-value") if isinstance(error, _BAD_VALUES) else (Kind.UNKNOWN, "driver")
            return Failed(Failure(kind, code, sqlstate.clean(f"{type(error).__name__}: {error}"), place))
        state, native, text = sqlstate.read_error(error.args)
        word = sqlstate.override(self._settings.errors, state, native)
        kind = sqlstate.overridden_kind(word) or sqlstate.classify(
            self._server.dialect, state, native, text, connecting=connecting
        )
        if self.ran_before and state in self._server.dialect.stale_states and word is None:
            # What was prepared is for columns that are no longer so. The next time it is prepared anew.
            kind = Kind.RETRY
        code = sqlstate.code_of(self._server.dialect, state, native)
        text = sqlstate.clean(connection_string.hide_in(text, self._given))
        failure = Failure(kind, code, text, place, by_target=True)
        if word == "done":
            return AlreadyThere(failure)
        return (
            Duplicate(failure) if sqlstate.is_duplicate(self._server.dialect, state, failure.text) else Failed(failure)
        )

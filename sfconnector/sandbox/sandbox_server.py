"""The sandbox's end of a connection: its answer may also be that the connection breaks, as with a bad network."""

from typing import Any

from connectorlib.service.http_server import CONNECTION, ClientConnection

THREADS = 48  # calls at a time; most of them wait for their latency
LARGEST_BODY = 50 * 1024 * 1024


class Cut(ConnectionError):
    """Raised instead of an answer, or in the middle of one: nothing more is sent."""


def close_after_answer(environ: dict[str, Any]) -> None:
    """Make this answer the last on its connection."""
    environ[CONNECTION].close_connection = True


def cut(environ: dict[str, Any], *, reset: bool = False) -> Cut:
    """Close the connection of a request now, with RST if asked; return what to raise."""
    connection: ClientConnection = environ[CONNECTION]
    connection.close(reset=reset)
    return Cut()

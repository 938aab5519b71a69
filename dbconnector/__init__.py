"""RabbitMQ and any ODBC database, in both directions: `DBConnector` for Python, `dbconnector` for the shell."""

from typing import TYPE_CHECKING, Any

from connectorlib.version import VERSION as __version__

if TYPE_CHECKING:
    from dbconnector.api import DBConnector

__all__ = ["DBConnector", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "DBConnector":
        from dbconnector.api import DBConnector  # late: the command does without

        return DBConnector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

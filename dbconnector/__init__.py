"""RabbitMQ and any ODBC database, in both directions: `DBConnector` for Python, `dbconnector` for the shell."""

from dbconnector.api import DBConnector

__all__ = ["DBConnector"]

"""MySQL, through MySQL Connector/ODBC (from documentation): MariaDB, but for what is named here."""

from dataclasses import replace

from dbconnector.columns import Column, ColumnType
from dbconnector.dialects import mariadb
from dbconnector.dialects.base import GENERIC
from dbconnector.dialects.column_bindings import unrepeated
from dbconnector.dialects.conversions import Bindings

CONNECTOR = replace(
    mariadb.CONNECTOR,
    name="MySQL",
    pattern="libmyodbc|myodbc|mysql",
    defaults={"OPTION": "2"},
    hides_errors=False,
    measured=False,
)


def _bindings(column: ColumnType) -> Bindings:
    """Its JSON is kept as values, as PostgreSQL's jsonb is."""
    own: Bindings = {str: unrepeated} if column.kind is Column.JSON else {}
    return mariadb.DIALECT.own_bindings(column) | own


DIALECT = replace(
    mariadb.DIALECT,
    name="mysql",
    order=3,
    drivers=(CONNECTOR,),
    schemes=("mysql",),
    says="MySQL",
    columns_query=mariadb.columns_query,
    own_bindings=_bindings,
    rows_query=GENERIC.rows_query,
    row_set=None,
    refusals=mariadb.DIALECT.refusals._replace(ask=None),  # it has no ROW_NUMBER
    # The server has max_execution_time (SELECT only) instead of max_statement_time.
    session=(mariadb.ZONE, mariadb.LOCKS),
    horizon=mariadb.time_horizon("(time + 1) * 1000000"),
)

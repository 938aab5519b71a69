"""MySQL, through MySQL Connector/ODBC (from documentation): MariaDB, but for what is named here."""

from dataclasses import replace

from dbconnector.dialects import mariadb

CONNECTOR = replace(
    mariadb.CONNECTOR,
    name="MySQL",
    pattern="libmyodbc|myodbc|mysql",
    defaults={"OPTION": "2"},
    hides_errors=False,
    measured=False,
)

DIALECT = replace(
    mariadb.DIALECT,
    name="mysql",
    order=3,
    drivers=(CONNECTOR,),
    schemes=("mysql",),
    says="MySQL",
    # The server has max_execution_time (SELECT only) instead of max_statement_time.
    session=(mariadb.ZONE, mariadb.LOCKS),
    horizon=mariadb.time_horizon("(time + 1) * 1000000"),
)

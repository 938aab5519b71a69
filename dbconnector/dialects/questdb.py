"""QuestDB, through psqlodbc (measured: 9.1 through 13.02). It speaks PostgreSQL's protocol, and little of its SQL.

It has transactions, but no savepoints, no locks, no keys that refuse a second row, and no settings of a session. Its
errors have no SQLSTATE.
"""

from dataclasses import replace

from connectorlib.errors import Kind
from dbconnector.columns import name_parts
from dbconnector.dialects import postgresql
from dbconnector.dialects.base import LIMIT, Dialect, Driver, Query


def _columns_query(table: str) -> Query:
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ?"
    return query, (name_parts(table)[-1],)


def _driver(driver: Driver) -> Driver:
    # It does not forget a prepared statement, so the name of the next one is taken. Cursors are not there.
    defaults = {**driver.defaults, "UseServerSidePrepare": "0"}
    return replace(driver, defaults=defaults, reading={}, streams=False)


DIALECT = Dialect(
    name="questdb",
    order=7,
    says="QuestDB",
    asks=postgresql.DIALECT.asks,
    drivers=tuple(map(_driver, postgresql.DIALECT.drivers)),
    schemes=("questdb",),
    installed_as=postgresql.DIALECT.installed_as,
    max_parameters=postgresql.DIALECT.max_parameters,
    max_rows=1_000,
    paging=LIMIT,
    one_result=True,
    unique_keys=False,
    texts=(
        (r"inconvertible (value|types)|cannot insert|invalid (timestamp|date|value)", Kind.REJECT),
        (r"(table|column) does not exist|Invalid column|unknown function|unexpected token", Kind.CONFIGURATION),
        (r"could not open|table busy|read timeout|timeout, query aborted", Kind.RETRY),
    ),
    connect_texts=postgresql.DIALECT.connect_texts,
    column_type=postgresql.DIALECT.column_type,
    columns_query=_columns_query,
    own_bindings=postgresql.DIALECT.own_bindings,
)

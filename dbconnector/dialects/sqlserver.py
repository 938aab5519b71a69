"""SQL Server, through Microsoft's driver or FreeTDS (from documentation; what FreeTDS does was tried: see
docs/compatibility.md)."""

import datetime
from collections.abc import Sequence
from dataclasses import replace

from connectorlib.errors import Kind
from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.base import TOP, Dialect, Driver, Savepoints, Setting, codes
from dbconnector.dialects.conversions import Bindings
from dbconnector.dialects.horizon import HorizonQuestion, Session, clock_only, rows_of
from dbconnector.dialects.temporal_bindings import utc_datetime
from dbconnector.watermark import Horizon

_CODES = {
    **codes(Kind.RETRY, 1204, 1205, 1222, 3960, 3961, 41301, 41302, 41305, 41325, 8645, 8651),
    # The transaction has ended, or can only be rolled back as a whole, because of another message's error.
    **codes(Kind.RETRY, 3902, 3903, 3930, 3931, 3998, 6401),
    **codes(Kind.UNAVAILABLE, 20003, 20004, 20006, 20009, 20017, 20020, 40197, 40501, 40613, 49918, 49919, 49920),
    **codes(Kind.UNAVAILABLE, 701, 976, 983, 1105, 3906, 9002, 10928, 10929, 17142, 233, 10053, 10054, 10060),
    # Starting, stopping, being restored, offline; too many connections; no room.
    **codes(Kind.UNAVAILABLE, 596, 921, 922, 924, 927, 942, 945, 952, 954, 6005, 17809, 18401, 18461),
    **codes(Kind.UNAVAILABLE, 802, 1101, 1104, 40544),
    **codes(Kind.REFUSED, 18452, 18456, 18470, 18486, 18487, 18488),
    **codes(Kind.CONFIGURATION, 102, 109, 110, 137, 156, 201, 207, 208, 213, 229, 230, 262, 334, 544, 916, 1088, 2812),
    **codes(Kind.CONFIGURATION, 4060, 8101, 8144, 8180),
    **codes(Kind.REJECT, 220, 241, 242, 245, 515, 547, 2601, 2627, 2628, 8114, 8115, 8134, 8152, 50000),
}


def _keywords(host: str, port: int | None, name: str) -> dict[str, str]:
    return {"Server": f"{host},{port}" if port else host, "Database": name}


def _bindings(column: ColumnType) -> Bindings:
    """ISO 8601 with a T is read the same under every language setting."""
    return {datetime.datetime: _iso_utc} if column.kind in (Column.TIMESTAMP, Column.UNKNOWN) else {}


def _iso_utc(value: datetime.datetime) -> str:
    return utc_datetime(value).replace(" ", "T")


def _rowversion_horizon(session: Session, _ignore: Sequence[str]) -> Horizon:
    """The lowest rowversion that an open transaction has, else the next one; from documentation."""
    return Horizon(int(rows_of(session, "SELECT CONVERT(bigint, MIN_ACTIVE_ROWVERSION())")[0][0]))


MSODBCSQL = Driver(
    name="SQL Server",
    pattern="msodbcsql|sql server|sqlsrv|sqlncli",
    defaults={"ConnectRetryCount": "0"},  # a silent reconnect would lose the session's settings
    query_timeout=True,
    streams=True,
    measured=False,
)
FREETDS = replace(
    MSODBCSQL,
    name="SQL Server (FreeTDS)",
    pattern="freetds|libtdsodbc|tdsodbc",
    defaults={"TDS_Version": "7.4", "ClientCharset": "UTF-8"},
    braced=r";|^\{",  # FreeTDS 1.3 takes `}}` within braces for two
)

DIALECT = Dialect(
    name="sqlserver",
    order=5,
    drivers=(FREETDS, MSODBCSQL),
    schemes=("sqlserver",),
    installed_as="ODBC Driver 18 for SQL Server",
    keywords=_keywords,
    says="Microsoft SQL Server|SQL Azure",
    session=(Setting("SET LOCK_TIMEOUT {lock_ms}", "no wait for a lock has a time limit"),),
    max_parameters=2_090,  # 2,100, of which the driver's sp_prepexec takes some
    max_rows=1_000,
    savepoints=Savepoints("SAVE TRANSACTION {}", "ROLLBACK TRANSACTION {}", release="", stay=False),
    paging=TOP,
    natives=_CODES,
    texts=((r"Unexpected EOF from the server", Kind.UNAVAILABLE),),
    own_bindings=_bindings,
    vague_states=frozenset({"42000"}),
    duplicate=r"\((2601|2627)\)$",
    horizon=clock_only("SELECT SYSUTCDATETIME()"),
    number_horizon=HorizonQuestion(_rowversion_horizon, bound="CONVERT(binary(8), CONVERT(bigint, {}))"),
    epoch="DATEDIFF_BIG(second, '1970-01-01', SYSUTCDATETIME())",
)

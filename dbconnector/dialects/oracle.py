"""Oracle, through its own driver (from documentation)."""

from collections.abc import Sequence

from connectorlib.errors import Kind
from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.base import Dialect, Driver, Savepoints, codes
from dbconnector.dialects.column_bindings import native_temporals
from dbconnector.dialects.conversions import Bindings, plain_text
from dbconnector.dialects.horizon import HorizonQuestion, Session, clock_only, rows_of
from dbconnector.watermark import Horizon

_CODES = {
    **codes(Kind.RETRY, 54, 60, 8177, 30006),
    **codes(Kind.UNAVAILABLE, 257, 1012, 1033, 1034, 1089, 3113, 3114, 3135, 12170, 12514, 12537, 12541, 12543),
    **codes(Kind.UNAVAILABLE, 1536, 1652, 1653, 1654, 16000, 30036),
    **codes(Kind.REFUSED, 1005, 1017, 1045, 28000, 28001),
    **codes(Kind.CONFIGURATION, 900, 903, 904, 907, 911, 917, 923, 933, 936, 942, 12154, 12505),
    **codes(Kind.REJECT, 1, 1400, 1407, 1438, 1461, 1722, 1839, 1840, 1841, 1843, 1847, 1858, 1861, 2290, 2291, 2292),
    **codes(Kind.REJECT, 12899),
    **codes(Kind.REJECT, *range(20000, 21000)),  # RAISE_APPLICATION_ERROR
}


def _keywords(host: str, port: int | None, name: str) -> dict[str, str]:
    return {"DBQ": f"{host}:{port or 1521}/{name}"}


def _bindings(column: ColumnType) -> Bindings:
    """Refuse the empty string, which Oracle takes for NULL."""
    own = native_temporals(column)
    return own | {str: _not_empty} if column.kind in (Column.TEXT, Column.UNKNOWN) else own


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("Oracle keeps the empty string as NULL")
    return plain_text(value)


def _scn_horizon(session: Session, _ignore: Sequence[str]) -> Horizon:
    """Of what is committed up to now, ORA_ROWSCN is at most the present SCN, which may still be given to others."""
    return Horizon(int(rows_of(session, "SELECT DBMS_FLASHBACK.GET_SYSTEM_CHANGE_NUMBER FROM DUAL")[0][0]))


DRIVER = Driver(name="Oracle", pattern="oracle|libsqora|sqora", streams=True, returning=False, measured=False)

DIALECT = Dialect(
    name="oracle",
    order=6,
    drivers=(DRIVER,),
    schemes=("oracle",),
    installed_as="Oracle 21 ODBC driver",
    says="Oracle",
    keywords=_keywords,
    from_dual=" FROM DUAL",
    ddl_commits=True,
    savepoints=Savepoints(),
    natives=_CODES,
    own_bindings=_bindings,
    duplicate=r"^ORA-00001",
    horizon=clock_only("SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL"),
    number_horizon=HorizonQuestion(_scn_horizon, bound="TO_NUMBER({})"),
    epoch="ROUND((CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE) - DATE '1970-01-01') * 86400)",
)

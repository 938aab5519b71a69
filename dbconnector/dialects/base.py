"""What differs between databases (`Dialect`) and between the ODBC drivers of one (`Driver`), as values. Pure.

The defaults are those of an unknown database: single rows, no savepoints, classes of SQLSTATE only, so that the worst
it can be is slow. A module of this package that defines `DIALECT` adds a database; nothing else names it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from connectorlib.dataclass import dataclass
from connectorlib.errors import Kind
from dbconnector.columns import Column, ColumnType, column_type
from dbconnector.dialects.array_text import array_text, element_binder
from dbconnector.dialects.column_bindings import common_bindings, native_temporals
from dbconnector.dialects.conversions import Bindings, Convert
from dbconnector.dialects.fetch_plan import Decode, FetchPlan, ResultColumn
from dbconnector.dialects.horizon import CLOCK, HorizonQuestion
from dbconnector.dialects.local_times import local_times
from dbconnector.dialects.row_sets import Independence, RowSet
from dbconnector.sql.keyed_change import KeyedChange

#: pyodbc counts parameter markers in 16 bits with a sign.
PYODBC_PARAMETERS = 32_767

#: Values of a connection string that are written in braces: psqlodbc takes `Port={5432}` for the text `{5432}`, so
#: braces are not a harmless default.
BRACED = r"[;{}\[\](),?*=!@]|^\s|\s$"

#: What an error has in it where `Dialect.commit_unaltered` does not commit.
ALTERED = "columns-changed"

#: A catalogue query and its parameters. Catalogues can be read without the right to read the table itself.
Query = tuple[str, tuple[str, ...]]
#: Patterns of error texts, for errors that have no telling code.
Texts = tuple[tuple[str, Kind], ...]


class PageWords(NamedTuple):
    """The words around a query that limit it to `{rows}` rows: instead of SELECT, and at its end."""

    select: str = "SELECT"
    end: str = ""


LIMIT = PageWords(end=" LIMIT {rows}")
FETCH = PageWords(end=" FETCH FIRST {rows} ROWS ONLY")
TOP = PageWords(select="SELECT TOP {rows}")


class Demand(NamedTuple):
    """What a session must answer to a query of one value: a text that `pattern` is found in."""

    query: str
    pattern: str
    #: What would happen, and what to do; `{}` stands for the answer.
    why: str


class Setting(NamedTuple):
    """What every session is given, if the server knows it: servers that speak another's protocol know less."""

    statement: str
    #: What there is not where it is refused, as a sentence.
    lost: str
    #: The fields of the dialect that are otherwise then.
    without: Mapping[str, Any] = MappingProxyType({})


class Savepoints(NamedTuple):
    """Statements; `{}` stands for the name."""

    set: str = "SAVEPOINT {}"
    back: str = "ROLLBACK TO SAVEPOINT {}"
    #: Needed only where there is a `fetch_plan`.
    release: str = "RELEASE SAVEPOINT {}"
    #: Whether a savepoint still exists after a rollback to it. If that is not certain it is set again.
    stay: bool = True


class RefusalTexts(NamedTuple):
    """How a database tells which row of a statement it refuses: patterns of its texts."""

    #: A `column` that takes no NULL.
    null: str = r"(?!)"
    #: The `columns` of a key and their `values`.
    key: str = r"(?!)"
    #: The `values` of the row.
    row: str = r"(?!)"
    #: The `value` that is not of its column's type.
    value: str = r"(?!)"
    #: The number of the `row`.
    at: str = r"(?!)"
    #: Statement and query that ask for this number, before anything else is run.
    ask: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """One ODBC driver library. `{login_s}`, `{lock_ms}` and so on in its texts stand for the time limits."""

    name: str
    #: Pattern of its name in odbcinst.ini or of its library's file.
    pattern: str
    #: Keywords put under those of the connection, and shown by `check`.
    defaults: Mapping[str, str] = field(default_factory=dict)
    #: Added for a connection that only reads.
    reading: Mapping[str, str] = field(default_factory=dict)
    #: Keywords put over those of the connection: without these values would be damaged.
    forced: Mapping[str, str] = field(default_factory=dict)
    #: Run on every new connection, before the statements of the dialect.
    session: tuple[str, ...] = ()
    #: Pattern of the values of a connection string that need braces.
    braced: str = BRACED
    #: Ends a statement at a time limit of its own (SQL_ATTR_QUERY_TIMEOUT), where the session has none.
    query_timeout: bool = False
    #: Reads a result of any size in bounded memory; otherwise a large select needs `key`.
    streams: bool = False
    #: Streams only a query without parameters outside a transaction, and ends the result, as if there were no more
    #: rows, when another statement is run.
    streams_exclusively: bool = False
    #: An INSERT with RETURNING or OUTPUT returns its row.
    returning: bool = True
    #: Text travels as UTF-8 bytes instead of SQL_C_WCHAR: psqlodbc's ANSI driver does not know that type,
    #: MariaDB's stores text of more than 255 characters wrong and reads it back shorter, sqliteodbc's reads
    #: characters from U+100000 on as others and ends a statement at one beyond the BMP.
    utf8: bool = False
    #: The driver manager makes a character of every byte of a column's name: there is no function for wide ones, or
    #: (sqliteodbc) it is not used because statements are sent as UTF-8.
    widens_names: bool = False
    #: A statement that contains a character beyond the BMP gets all its non-ASCII characters wrong: unixODBC turns
    #: UTF-8 into UCS-2 for a driver that has only wide functions. Parameters are not affected.
    bmp_only: bool = False
    #: An error of SQLSTATE 01000 (MariaDB: 1265, a value that its column cannot take) is reported as a success with a
    #: message when a prepared statement is run: nothing was done, and nothing is raised.
    hides_errors: bool = False
    #: A prepared cursor must not be used again after an error: MariaDB's would wait for an answer that has already
    #: arrived, lose the connection ("Server has gone away"), or send a long text wrong (1210).
    errors_spoil_cursors: bool = False
    #: What the driver returns as bytes instead of a value of its own, by SQL type: SQL_TYPE_DATE 91, SQL_TYPE_TIME 92,
    #: SQL_TYPE_TIMESTAMP 93, SQL_GUID -11.
    converters: Mapping[int, Decode] = field(default_factory=dict)
    #: False: known from the vendor's documentation only.
    measured: bool = True

    def streams_query(self, *, parameters: bool) -> bool:
        return self.streams and not (self.streams_exclusively and parameters)


def _server_keywords(host: str, port: int | None, name: str) -> dict[str, str]:
    return {"Server": host, **({"Port": str(port)} if port else {}), "Database": name}


def _unknown(_table: str) -> Query | None:
    """Return None: there is no way to ask that cannot fail."""
    return None


class RowsQuery(Protocol):
    """Given a table as written in SQL, returns the question."""

    def __call__(self, table: str, /, *, deletes: bool = False) -> Query | None: ...


def _unknown_rows(_table: str, *, deletes: bool = False) -> Query | None:
    return None


def _checked(check: Callable[[Any], None], convert: Convert | None, value: Any) -> Any:
    check(value)
    return value if convert is None else convert(value)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database."""

    name: str = "generic"
    #: The first whose pattern matches is used.
    drivers: tuple[Driver, ...] = ()
    #: Position in lists for people.
    order: int = 100
    #: Pattern of what the server says of itself; `asks` is the query for more than its name and version.
    says: str = r"(?!)"
    asks: str = ""

    #: For `init`: schemes of addresses, the driver's name in odbcinst.ini, and keywords for host, port and database.
    schemes: tuple[str, ...] = ()
    installed_as: str = ""
    keywords: Callable[[str, int | None, str], dict[str, str]] = _server_keywords
    #: The connection keyword that names a file, where the database is one that connecting would create.
    file_keyword: str = ""

    #: Tried on every new connection, before `on_connect`; time limits as in `Driver`.
    session: tuple[Setting, ...] = ()
    #: Run after it, because values would be altered without.
    session_forced: tuple[str, ...] = ()
    #: What must hold of a session after both.
    demands: tuple[Demand, ...] = ()
    #: Asks for what makes a table unfit to be written to, if anything does, given as written in SQL.
    unfit_query: Callable[[str], Query | None] = _unknown
    #: CREATE, ALTER and the like commit.
    ddl_commits: bool = False
    #: Appended to a SELECT that needs no table.
    from_dual: str = ""
    max_parameters: int = PYODBC_PARAMETERS
    #: Rows in one VALUES list; 1: it is not known to take more.
    max_rows: int = 1
    savepoints: Savepoints | None = None
    refusals: RefusalTexts = RefusalTexts()
    #: Statement that makes waits for locks short, `{short_ms}` or one second at most, until the transaction ends or
    #: `usual_locks` is run; empty: there is none.
    short_locks: str = ""
    usual_locks: str = ""
    #: Whether a table can refuse a second row of the same key.
    unique_keys: bool = True
    #: Whether only one connection may write at a time.
    one_writer: bool = False
    paging: PageWords = FETCH
    #: How the text of a unique violation looks, where its SQLSTATE is not 23505.
    duplicate: str | None = None
    #: Inserts `{rows}` into `{table}` except those that are there already, and does not count those; empty: a duplicate
    #: is an error.
    insert_or_ignore: str = ""
    #: An INSERT, UPDATE or DELETE gives one result, whatever its triggers do. Where they add theirs, an error may come
    #: with any of them.
    one_result: bool = False
    #: EXPLAIN plans a statement without running it.
    explains: bool = False
    #: Prepares a statement, with `$1`, `$2` for its parameters, and forgets it: what a type is then not known of.
    prepares: tuple[str, str] | None = None
    #: EXPLAIN reports a text constant that its column cannot take.
    explains_constants: bool = False

    #: What the native error codes mean; empty: those of its drivers mean nothing.
    natives: Mapping[int, Kind] = field(default_factory=dict)
    #: SQLSTATEs that say nothing, because its drivers give them for every error that they have none for.
    vague_states: frozenset[str] = frozenset()
    texts: Texts = ()
    #: The same for errors while connecting.
    connect_texts: Texts = ()

    #: What a column takes, by its type as the catalogue names it.
    column_type: Callable[[str], ColumnType] = column_type
    #: Asks for name and type of each column of a table, given as written in SQL.
    columns_query: Callable[[str], Query | None] = _unknown
    #: Asks, faster than for the columns, for a text that differs once they do, but for what `version_noise` matches.
    version_query: Callable[[str], Query | None] = _unknown
    version_noise: str = r"(?!)"
    #: Matches such a text where it does not tell the types, so that the columns have to be asked for after all.
    version_blind: str = r"(?!)"
    #: Matches a refusal that says that there is no such table, or not for this user: the question was understood.
    no_table: str = r"(?!)"
    #: Given the versions of tables, returns one text that commits if they still have them, and else fails with ALTERED
    #: in the error. The second of its results is that of the commit.
    commit_unaltered: Callable[[Mapping[str, str]], str] | None = None
    #: SQLSTATEs that a statement gets which was prepared, and has run, before a table of it was altered.
    stale_states: frozenset[str] = frozenset()
    #: A name without quotes means the one in lower case; else names differ by more than their case.
    folds_names: bool = False
    #: Asks for the columns of a table that every new row needs a value for: NOT NULL, no default, not generated.
    required_query: Callable[[str], Query | None] = _unknown
    #: Asks for what makes the rows of a table depend on each other (`independence`); `deletes`: where they are deleted.
    rows_query: RowsQuery = _unknown_rows
    #: Returns how a statement for the row with one key is run for a set of rows, given the types of its parameters;
    #: None: row by row.
    row_set: Callable[[KeyedChange, Sequence[ColumnType], Independence], RowSet | None] | None = None
    #: A multi-row upsert refuses a key that it has twice.
    one_row_a_key: bool = False
    #: How values are bound for a column where that differs from `common_bindings`.
    own_bindings: Callable[[ColumnType], Bindings] = native_temporals
    #: A time with an offset is taken for a column without one too, which keeps it as it is written there.
    drops_offsets: bool = False
    #: Raise ValueError for a value of a type that the driver would alter.
    checks: tuple[tuple[type, Callable[[Any], None]], ...] = ()
    #: How to run a query, given its columns (name, Python type, size), so that its values arrive exactly; None: as it
    #: is.
    fetch_plan: Callable[[str, Sequence[ResultColumn]], FetchPlan] | None = None
    #: The same for a statement that returns rows of what it writes.
    returning_plan: Callable[[str, Sequence[ResultColumn]], FetchPlan] | None = None
    #: Given a query and how many columns it has, returns one of a single row with the name of each column's type, which
    #: `fetch_plan` needs where a column is described as text; None: there is no way to ask.
    types_query: Callable[[str, int], str] | None = None

    #: How far a table is complete, for `follow`, by a column with times; by one that the database counts up, if it has
    #: such a type.
    horizon: HorizonQuestion = CLOCK
    number_horizon: HorizonQuestion | None = None
    #: The whole seconds of its clock; empty: a lease cannot be kept in it.
    epoch: str = ""

    @property
    def has_limit(self) -> bool:
        return self.paging == LIMIT

    def bindings(self, column: ColumnType) -> Bindings:
        found = common_bindings(column) | self.own_bindings(column)
        if column.element is not None:
            element = element_binder(self.bindings(column.element))
            found[list] = partial(array_text, element, nested=column.element.kind is not Column.JSON)
        if column.clock is not None:
            found |= local_times(found, column, column.clock, drops_offsets=self.drops_offsets)
        for kind, check in self.checks:
            found[kind] = partial(_checked, check, found[kind])
        return found

    def rows_at_once(self, width: int) -> int:
        """Return how many rows of `width` parameters one statement takes."""
        return min(self.max_rows, self.max_parameters // max(1, width))


GENERIC = Dialect()
UNKNOWN_DRIVER = Driver("unknown driver", pattern=r"(?!)", measured=False)


def codes(kind: Kind, *numbers: int) -> dict[int, Kind]:
    return dict.fromkeys(numbers, kind)

"""The configuration of dbconnector as frozen values, after validation. Expressions stay as written in the file."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from connectorlib import shared_settings as shared
from connectorlib.dataclass import dataclass
from dbconnector.wall_clock import WallClock


@dataclass(frozen=True, slots=True)
class Write:
    """One entry of `database.write`."""

    statement: str
    values: Mapping[str, Any] = field(default_factory=dict)
    for_each: Any | None = None
    name: str | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    must_change: bool = False
    multi_row: bool = True

    def place(self, index: int) -> str:
        """Return what errors and metrics call it: its name, or its number in the list."""
        return self.name or f"write[{index}]"


#: ODBC keywords, or a whole connection string. Holds the password.
Connection = str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """Where it is kept what has been done: `database.select.state`, and that of `follow`."""

    table: str
    #: The database of the table, if that is another.
    connection: Connection | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Follow:
    """`database.select.follow`."""

    column: str
    key: tuple[str, ...]
    state: State
    overlap_s: float = 5.0
    clock: str = "application"  # application | database
    #: beginning, now, or a value of the column.
    start: str = "beginning"
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cron:
    """`database.select.cron`: five fields, in a time zone."""

    expression: str
    zone: str = "UTC"
    #: What becomes of times that have passed without a run.
    missed: str = "once"  # once: one run for all of them | skip
    #: What several processes share, and what one remembers after a restart.
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Select:
    query: str
    params: Mapping[str, Any] = field(default_factory=dict)
    fetch: int = 1000
    #: The rows of a page that is to be marked, where they are small; None: `fetch`.
    fetch_small: int | None = None
    every: float | None = None  # seconds from the start of one run to the next; None: once
    cron: Cron | None = None  # instead of every
    key: tuple[str, ...] = ()
    on_sent: str | None = None
    on_failed: str | None = None
    follow: Follow | None = None

    @property
    def state(self) -> State | None:
        """The state table, if there is one."""
        by = self.follow or self.cron
        return None if by is None else by.state


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    connection: Connection = field(repr=False)
    on_connect: tuple[str, ...] = ()
    #: SQLSTATE, or `SQLSTATE/native code`, to one of reject, retry, unavailable, refused, configuration, done.
    errors: Mapping[str, str] = field(default_factory=dict)
    select: Select | None = None
    write: tuple[Write, ...] = ()
    #: The clock by which columns without a time zone hold their times; None: that of UTC.
    clock: WallClock | None = None

    @property
    def state(self) -> "DatabaseSettings":
        """The database of the state table."""
        own = None if self.select is None else self.select.state
        return self if own is None or own.connection is None else DatabaseSettings(own.connection)


@dataclass(frozen=True, slots=True)
class Idempotency:
    table: str
    key: Any
    missing: str = "reject"  # reject | accept


@dataclass(frozen=True, slots=True)
class DbConfig:
    file: str
    name: str
    database: DatabaseSettings
    broker: shared.BrokerSettings
    source: shared.Source | None = None
    destination: shared.Destination | None = None
    format: Mapping[str, Any] = field(default_factory=lambda: {"type": "json"})
    batch: shared.Batch = field(default_factory=shared.Batch)
    lanes: shared.Lanes = field(default_factory=shared.Lanes)
    conditions: shared.Conditions = field(default_factory=shared.Conditions)
    limits: shared.Limits = field(default_factory=shared.Limits)
    retry: shared.Retry = field(default_factory=shared.Retry)
    hold_seconds: float = 300.0
    idempotency: Idempotency | None = None
    logging: shared.Logging = field(default_factory=shared.Logging)
    monitoring: shared.Monitoring | None = None
    journal: shared.Journal | None = None
    notify: shared.Notify | None = None
    tracing: shared.Tracing | None = None
    #: What is allowed but looks wrong; the command logs each at the start, `check` shows them.
    warnings: tuple[str, ...] = ()

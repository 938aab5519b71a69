"""The writer: a batch of deliveries in, one outcome each out, by as few transactions as can be.

One bad message never costs its neighbours: after a *reject* the batch is split until the bad ones stand alone.
After any other failure all that was not committed is rolled back, and done again by the pump's rules.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from connectorlib.errors import Failed, Failure, Kind, Stale, reject
from connectorlib.formats import compile_format
from connectorlib.messages import ALREADY, DONE, Again, Dead, Delivery, Done, Outcome
from connectorlib.pipeline.blame import ALL
from connectorlib.pipeline.duplicates import by_first, warn_of_reuse
from connectorlib.service import logs
from dbconnector.bisect import LARGEST, Sieve, portions
from dbconnector.inbox_table import PLACE as INBOX
from dbconnector.inbox_table import Inbox
from dbconnector.odbc.database import AlreadyThere, Database
from dbconnector.parameters import BoundWrite, Plan, Row, Unit
from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)

SAVEPOINT = "piece"


class Writer:
    """Writes deliveries into the database. Used by one thread; it alone uses the database."""

    def __init__(self, config: DbConfig, database: Database) -> None:
        self._passed: Counter[str] = Counter()
        #: What the transaction in progress will have passed once it is committed.
        self._passing: Counter[str] = Counter()
        self.database = database
        self._versions = ""
        self._plan = Plan(config.database.write, compile_format(config.format, config.limits), config.limits)
        # With its zero, so that a statement that none has passed yet is told from a place that none can pass.
        self._passed.update(dict.fromkeys([*(write.place for write in self._plan.writes), "commit", ALL], 0))
        self._inbox = Inbox(config.idempotency, config.name) if config.idempotency else None
        self._sql: dict[tuple[int, int], str] = {}
        self._bound = False
        #: How many messages are tried together.
        self.sieve = Sieve()

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages each statement (and the commit) let pass."""
        return self._passed

    def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        """Return one outcome per delivery. Raise Failed if the database cannot be reached at all, Stale if `valid`
        says before a commit that the deliveries belong to a lost channel."""
        try:
            return self._handle(deliveries, valid)
        except BaseException:  # whatever it is: half a message must not be there for its neighbour's commit to keep
            self.roll_back()
            raise

    def _handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        self._connect()
        outcomes: dict[int, Outcome] = {}
        units = list(self._units(deliveries, outcomes))
        firsts, later = by_first(units, _digest) if self._inbox else (units, [])
        batch = _Batch(self, outcomes, valid)
        batch.write(firsts)
        for unit, first in later:
            verdict = outcomes[first.position]
            if isinstance(verdict, Again):
                outcomes[unit.position] = verdict
            else:  # written: its key is there now; dead: this one may do better
                batch.write([unit])
        if self._inbox and (repeated := [u for u in units if outcomes[u.position] is ALREADY]):
            warn_of_reuse([(u.delivery, u.key.text) for u in repeated if u.key], self._inbox.source)
        return [outcomes[position] for position in range(len(deliveries))]

    def probe(self) -> None:
        self.database.probe()

    def _connect(self) -> None:
        if self._bound and self.database.connected:
            return
        self._bound = False  # until all is asked: without the classes of its columns a row is not bound exactly
        self.database.connect()
        # Every failure but a reject costs the connection; in a long pause that is one a minute.
        level = logging.DEBUG if self.database.versions == self._versions else logging.INFO
        self._versions = self.database.versions
        logs.event(logger, level, "database connected", versions=self._versions)
        self._plan.bind_with(self.database.binder)
        self._bound = True

    def _units(self, deliveries: Sequence[Delivery], outcomes: dict[int, Outcome]) -> Iterator[Unit]:
        key_of = self._inbox.key if self._inbox else None
        for position, delivery in enumerate(deliveries):
            try:
                yield self._plan.unit(position, delivery, key_of)
            except Failed as failed:
                if failed.failure.kind is not Kind.REJECT:
                    raise
                outcomes[position] = Dead(failed.failure)

    def run(self, units: Sequence[Unit], rows_at_once: int = LARGEST) -> Done:
        """Run all statements of these units, uncommitted. Raise Failed; a reject is one of theirs."""
        if self._inbox and (keys := [unit.key for unit in units if unit.key is not None]):
            new = self._inbox.insert(self.database, keys)
            if new == 0 and len(keys) == len(units):
                return ALREADY
            if new < len(keys):
                raise AlreadyThere(Failure(Kind.REJECT, "already-there", "an earlier delivery was written", INBOX))
        places: set[str] = set()
        if self._plan.in_bulk:
            self._run_in_bulk(units, places, rows_at_once)
        else:
            for unit in units:
                self._run_steps(unit, places)
        self._passing.update(dict.fromkeys([*places, ALL], len(units)))
        return DONE

    def _run_in_bulk(self, units: Sequence[Unit], places: set[str], rows_at_once: int) -> None:
        for write in self._plan.writes:
            rows = [row for unit in units for row in unit.rows[write.index]]
            if rows:
                self._insert(write, rows, rows_at_once)
                places.add(write.place)

    def _insert(self, write: BoundWrite, rows: Sequence[Row], rows_at_once: int) -> None:
        for portion in portions(rows, min(rows_at_once, self._rows_at_once(write))):
            sql = self._multi_row_sql(write, len(portion))
            self.database.execute(sql, list(chain.from_iterable(portion)), place=write.place)

    def _rows_at_once(self, write: BoundWrite) -> int:
        return self.database.dialect.rows_at_once(len(write.statement.names))

    def _multi_row_sql(self, write: BoundWrite, rows: int) -> str:
        key = (write.index, rows)
        if key not in self._sql:
            assert write.multi_row is not None
            self._sql[key] = write.multi_row.sql(rows) if rows > 1 else write.statement.sql
        return self._sql[key]

    def _run_steps(self, unit: Unit, places: set[str]) -> None:
        assert unit.steps is not None
        for write, row, results in unit.steps():
            if write.name is not None and write.name in self._plan.results:
                changed, result = self.database.execute_returning(write.statement.sql, row, place=write.place)
                results[write.name] = result
            else:
                changed = self.database.execute(write.statement.sql, row, place=write.place)
            if write.must_change and changed == 0:
                raise reject("no-row", "the statement changed no row", place=write.place)
            places.add(write.place)

    def commit(self, valid: Callable[[], bool]) -> None:
        if not valid():
            self.roll_back()
            raise Stale
        self.database.commit()
        self._passed.update(self._passing)
        self._passed["commit"] += 1
        self._passing.clear()

    def roll_back(self) -> None:
        self._passing.clear()
        self.database.rollback()

    def verdict(self, failed: Failed) -> Outcome:
        """Return the outcome of a message that the database rejected alone."""
        failure = failed.failure
        # A plain INSERT into the inbox, where the driver knows no other, says it with an integrity error.
        if isinstance(failed, AlreadyThere) or (failure.place == INBOX and failure.code[:2] == "23"):
            return ALREADY
        return Dead(failure)


class _Batch:
    """One batch on its way through its transactions."""

    def __init__(self, writer: Writer, outcomes: dict[int, Outcome], valid: Callable[[], bool]) -> None:
        self._writer = writer
        self._outcomes = outcomes
        self._valid = valid
        #: Whether a savepoint stands to which nothing has been added.
        self._saved = False

    def write(self, units: Sequence[Unit]) -> None:
        """Give every unit its outcome: all in one transaction, or split until the bad ones stand alone."""
        if not units:
            return
        if not self._writer.database.dialect.savepoints:
            self._by_transactions(units)
        elif len(units) > max(1, self._writer.sieve.size):
            self._by_savepoints(units)
        else:
            try:
                said = self._in_one(units)
            except Failed as failed:
                self._again(units, failed)
                return
            if isinstance(said, Failed) and len(units) > 1:
                self._by_savepoints(units, failed=True)
            else:
                self._settle(units, said)

    def _in_one(self, units: Sequence[Unit], rows_at_once: int = LARGEST) -> Done | Failed:
        """Write the units in a transaction of their own, or return why the database rejects them. Raise Failed if it
        is anything else."""
        try:
            done = self._writer.run(units, rows_at_once)
            self._writer.commit(self._valid)
        except Failed as failed:
            self._writer.roll_back()
            if _repeats_a_key(units, failed, rows_at_once):
                return self._in_one(units, 1)
            return _rejected(failed)
        return done

    def _by_savepoints(self, units: Sequence[Unit], *, failed: bool = False) -> None:
        """Split inside one transaction. Anything but a reject throws all of it away: an InnoDB deadlock does so too.
        `failed`: they were tried together, and rejected."""
        self._saved = False
        try:
            verdicts = list(self._writer.sieve.sift(units, self._under_savepoint, failed=failed))
            self._writer.commit(self._valid)
        except Failed as error:
            self._writer.roll_back()
            if error.failure.kind is Kind.REJECT:  # at the commit: a deferred constraint does not say whose it is
                self._by_transactions(units)
            else:
                self._again(units, error)
            return
        for piece, said in verdicts:
            self._settle(piece, said)

    def _under_savepoint(self, piece: Sequence[Unit], rows_at_once: int = LARGEST) -> Done | Failed:
        """Write a piece, or return why the database rejects it. Raise Failed if it is anything else."""
        database = self._writer.database
        if not self._saved:
            # Never released: the commit does that, and a release would be one more round trip for every piece.
            database.savepoint(SAVEPOINT)
        try:
            done = self._writer.run(piece, rows_at_once)
        except Failed as failed:
            _rejected(failed)
            self._saved = database.rollback_to(SAVEPOINT)
            return self._under_savepoint(piece, 1) if _repeats_a_key(piece, failed, rows_at_once) else failed
        self._saved = False
        return done

    def _by_transactions(self, units: Sequence[Unit]) -> None:
        """Split by transactions of their own. Order is kept: what comes after one that was stopped is not tried."""
        try:
            for piece, said in self._writer.sieve.sift(units, self._in_one):
                self._settle(piece, said)
        except Failed as failed:
            self._again([unit for unit in units if unit.position not in self._outcomes], failed)

    def _settle(self, units: Sequence[Unit], said: Done | Failed) -> None:
        outcome = self._writer.verdict(said) if isinstance(said, Failed) else said
        self._outcomes.update(dict.fromkeys((unit.position for unit in units), outcome))

    def _again(self, units: Sequence[Unit], failed: Failed) -> None:
        again = Again(failed.failure)
        self._outcomes.update(dict.fromkeys((unit.position for unit in units), again))


def _digest(unit: Unit) -> str | None:
    return unit.key.digest if unit.key is not None else None


def _repeats_a_key(units: Sequence[Unit], failed: Failed, rows_at_once: int) -> bool:
    """Whether one message has a key twice in a multi-row upsert (SQLSTATE 21000): row by row it can be written."""
    return len(units) == 1 and failed.failure.code == "21000" and rows_at_once > 1


def _rejected(failed: Failed) -> Failed:
    """Return what the messages themselves are to blame for; raise everything else."""
    if failed.failure.kind is not Kind.REJECT:
        raise failed
    return failed

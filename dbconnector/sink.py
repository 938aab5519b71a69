"""The sink of a database: a batch of deliveries in, one outcome for each out, in as few transactions as possible.

A bad message never costs its neighbours: a batch that is rejected is split until each bad message is alone. After any
other failure all that is not committed is rolled back, and the pump decides when it is tried again.

A body is decoded and mapped once per call, however often its batch is split. Nothing is kept for a delivery that is
handed over again: such a failure has cost the connection, and with it what is known of the columns that its rows were
bound for; and the back-off takes some ten thousand times as long as decoding.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.messages import ALREADY, DONE, EMPTY, LATER, Again, Dead, Delivery, Done, Later, Outcome
from connectorlib.pipeline.blame import ALL
from connectorlib.pipeline.duplicates import by_first, warn_of_reuse
from connectorlib.pipeline.flood import Brake, is_of_flood
from dbconnector.bisect import LARGEST, Bisection
from dbconnector.bound_write import no_row
from dbconnector.inbox_table import PLACE as INBOX
from dbconnector.odbc.call_guard import AlreadyThere, Duplicate
from dbconnector.odbc.database import Database
from dbconnector.parameters import Plan, Unit
from dbconnector.refusal_hints import Refusal, RefusalHints

logger = logging.getLogger(__name__)

SAVEPOINT = "piece"
#: The code of a failure because a table was altered, and how often a batch is bound anew at once for that.
CHANGED = "columns-changed"
ALTERED = 10
_ALTERED = Failure(Kind.RETRY, CHANGED, "a table has other columns than before")
#: How many seconds a message waits for a lock where others could go on without it: in an ordered lane, whose other keys
#: wait behind it, and where it is tried apart from others.
SHORT_LOCK_S = 0.5

#: Returns whether the deliveries in hand still belong to an open channel.
Valid = Callable[[], bool]


class DatabaseSink:
    """Writes deliveries into one database, which it alone uses, in one thread. Any number may share a plan."""

    def __init__(self, plan: Plan, database: Database, brake: Brake | None = None, *, names: bool = False) -> None:
        """`brake` is shared with the other sinks of the database. `names`: when another attempt may cure a failure, put
        off the others of a call for the sake of the message whose statement failed, if that is known."""
        self.database = database
        self._brake = brake or Brake(0)
        self._plan = plan
        self._names = names
        #: Whose statements run now; None: those of several units.
        self._current: Unit | None = None
        #: Whether the statements run for several units.
        self._in_bulk = False
        #: Whether the plan is bound for the present connection.
        self._bound = False
        # With zeros, so that a statement that no message has passed yet differs from a place that none can pass.
        places = [*(write.place for write in plan.writes), "commit", ALL]
        self._passed: Counter[str] = Counter(dict.fromkeys(places, 0))
        #: What is added to `_passed` when the transaction is committed.
        self._passing: Counter[str] = Counter()
        self._bisection = Bisection()
        self._hints: RefusalHints | None = None
        #: Why a message of the last batch was refused, if its values alone were to blame.
        self._misfit: Failure | None = None
        #: What is known of the last refusal of a statement that is run for many messages.
        self._refusal: Refusal | None = None
        #: Whether the savepoint is set, and nothing has been executed since.
        self._saved = False

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages have passed each statement, and the commit."""
        return self._passed

    def probe(self) -> None:
        opened = self.database.opened
        self.database.probe()
        if self.database.opened != opened:
            self._bound = False  # a column may have changed since the connection before

    def handle(self, deliveries: Sequence[Delivery], valid: Valid, isolating: bool = False) -> list[Outcome]:
        """Return one outcome per delivery. Raise Failed if the database cannot be reached at all, Stale if `valid`
        returns false before a commit."""
        outcomes = self._handle(deliveries, valid, isolating)
        for _ in range(0 if _all_done(outcomes) else ALTERED):
            # Not one of them is to blame, so this counts as no attempt of theirs.
            stale = [at for at, outcome in enumerate(outcomes) if _is_stale(outcome)]
            if not stale:
                break
            anew = self._handle([deliveries[at] for at in stale], valid, isolating)
            for at, outcome in zip(stale, anew, strict=True):
                outcomes[at] = outcome
        return outcomes

    def _handle(self, deliveries: Sequence[Delivery], valid: Valid, isolating: bool) -> list[Outcome]:
        try:
            self._connect()
            mapped = self._all_mapped(deliveries)
            self._current = None
            # A set does not tell whose row is locked.
            self._in_bulk = self._plan.in_bulk or (self._plan.in_sets and not (self._names and isolating))
            with self._short_locks() if isolating else nullcontext():
                outcomes = self._write_until_flood(deliveries, mapped, valid)
            for at, unit in enumerate(mapped):
                if outcomes[at] is DONE and isinstance(unit, Unit) and not unit.rows:
                    outcomes[at] = EMPTY
            if not _all_done(outcomes) and any(
                map(is_of_flood, outcomes)
            ):  # perhaps a column has changed: a new connection asks for them again
                self.database.close()
            return outcomes
        except BaseException:  # a bug as well: the next commit must not include half of a message
            self._roll_back()
            raise

    def _connect(self) -> None:
        if self._bound and self.database.connected:
            opened = self.database.opened
            if self.database.guard.idle:
                self.database.connect()
            if self.database.opened == opened:
                return
        self._bound = False  # until all columns are known: without their classes a row is not bound exactly
        self.database.connect()
        self.database.log_connected(logger)
        self._plan = self._plan.bound(self.database.binder, self.database.row_set)
        self._hints = RefusalHints(self._plan, self.database.dialect, self.database.column_types)
        self._misfit = None
        self._bound = True

    @contextmanager
    def _short_locks(self) -> Iterator[None]:
        """Wait for locks for a moment only. A failure costs the connection, and what it was told, as well."""
        dialect = self.database.dialect
        if dialect.short_locks:
            self.database.execute(dialect.short_locks.format(short_ms=int(SHORT_LOCK_S * 1000)), place="lock limit")
        yield
        if dialect.usual_locks and self.database.connected:
            self.database.execute(dialect.usual_locks, place="lock limit")

    def _all_mapped(self, deliveries: Sequence[Delivery]) -> Sequence[Unit | Dead | Later]:
        mapped = self._plan.units(deliveries)
        failed = [each for each in mapped if isinstance(each, Failed)]
        if any(each.failure.by_target for each in failed):
            if self.database.outdated():  # the column may take that value now
                self._connect()
                mapped = self._plan.units(deliveries)
            else:
                self.database.rollback()
        return [Dead(_rejected(each).failure) if isinstance(each, Failed) else each for each in mapped]

    # --- which messages are written together: each returns one outcome per unit, in order -----------------------------

    def _write_until_flood(
        self, deliveries: Sequence[Delivery], mapped: Sequence[Unit | Dead | Later], valid: Valid
    ) -> list[Outcome]:
        """Write the units, and count those that a column does not take as if the database had refused them. Once a
        message has to be tried again, or in a flood, the rest is not tried."""
        units = [each for each in mapped if isinstance(each, Unit)]
        if len(units) == len(mapped):  # nearly always
            return self._write_by_key(units, valid)
        outcomes: list[Outcome] = []
        for part, flood in self._brake.parts(deliveries, [_refusal_for_a_column(each) for each in mapped], self):
            again = Again(flood) if flood else next((each for each in outcomes if isinstance(each, Again)), None)
            chosen = [mapped[at] for at in part]
            if again:
                outcomes += [again] * len(part)
                continue
            written = iter(self._write_by_key([each for each in chosen if isinstance(each, Unit)], valid))
            outcomes += [next(written) if isinstance(each, Unit) else each for each in chosen]
        return outcomes

    def _write_by_key(self, units: Sequence[Unit], valid: Valid) -> list[Outcome]:
        """Write the units; those that repeat a key of the batch only when the first of that key is not pending."""
        inbox = self._plan.inbox
        if inbox is None:
            return self._write(units, valid)
        firsts, repeats = by_first(units, lambda unit: unit.key and unit.key.digest)
        outcomes = dict(zip(map(id, firsts), self._write(firsts, valid), strict=True))
        for unit, first in repeats:
            outcome = outcomes[id(first)]
            # If that is written, its key is there now; if it is dead, this one may pass.
            pending = isinstance(outcome, Again | Later)
            outcomes[id(unit)] = outcome if pending else self._write([unit], valid)[0]
        already = [(unit.delivery, unit.key.text) for unit in units if unit.key and outcomes[id(unit)] is ALREADY]
        if already:
            warn_of_reuse(already, inbox.source)
        return [outcomes[id(unit)] for unit in units]

    def _write(self, units: Sequence[Unit], valid: Valid) -> list[Outcome]:
        """Write the units in one transaction if it passes, else split until each bad one is alone."""
        if not self.database.dialect.savepoints:
            return self._by_transactions(units, valid)
        suspects = self._misfits(units, self._misfit)
        if suspects or len(units) > max(1, self._bisection.size):
            return self._by_savepoints(units, valid, suspects)
        if not units:
            return []
        try:
            result = self._in_transaction(units, valid)
        except Failed as failed:
            return self._again(units, failed.failure)
        if isinstance(result, Failed) and len(units) > 1:
            return self._by_savepoints(units, valid, self._misfits(units, result.failure), result)
        return [self._outcome(units, result)] * len(units)

    def _by_savepoints(
        self, units: Sequence[Unit], valid: Valid, suspects: Sequence[int], failed: Failed | None = None
    ) -> list[Outcome]:
        """Split inside one transaction. Anything but a reject undoes all of it, as an InnoDB deadlock does anyway.
        `suspects`: positions of units that are tried alone and first; `failed`: why all have just been rejected."""
        self._saved = False
        try:
            refused = self._refused_alone(units, suspects)
            rest = [unit for at, unit in enumerate(units) if at not in refused] if refused else units
            others = iter([*self._isolated(rest, self._under_savepoint, failed=None if refused else failed)])
            outcomes = [
                self._outcome([unit], refused[at]) if at in refused else next(others) for at, unit in enumerate(units)
            ]
            self._commit(valid)
        except Failed as error:
            self._roll_back()
            if error.failure.kind is Kind.REJECT:  # at the commit: a deferred constraint does not name the message
                return self._by_transactions(units, valid)
            return self._again(units, error.failure)
        return outcomes

    def _misfits(self, units: Sequence[Unit], failure: Failure | None) -> Sequence[int]:
        """Return the positions of the units whose values fit their columns as little as those that were refused; none
        if so many are a flood."""
        found = self._hints.misfits(units, failure) if self._hints and failure else ()
        return () if 0 < self._brake.limit <= len(found) else found

    def _refused_alone(self, units: Sequence[Unit], suspects: Sequence[int]) -> dict[int, Failed]:
        """Try units alone before any other. Return those that are refused for a value, by position: for these it makes
        no difference what the others write. After any other result the rest is not tried, and each unit has its turn.
        """
        refused: dict[int, Failed] = {}
        for at in suspects:
            result = self._under_savepoint([units[at]])
            if not isinstance(result, Failed):
                self._saved = self.database.rollback_to(SAVEPOINT)
                self._passing.clear()
                break
            if not self._misfits([units[at]], result.failure):
                break
            refused[at] = result
            self._misfit = result.failure
        if not refused:
            self._misfit = None
        return refused

    def _named(self, units: Sequence[Unit], failed: Failed) -> Sequence[int]:
        """Return the positions of the units that a refusal points to."""
        if not self._in_bulk and failed.failure.place != INBOX:
            return [at for at, unit in enumerate(units) if unit is self._current]
        refusal = self._refusal
        if self._hints is None or refusal is None or refusal.failure is not failed.failure:
            return ()
        return self._hints.named(units, refusal)

    def _by_transactions(self, units: Sequence[Unit], valid: Valid) -> list[Outcome]:
        """Split into transactions. To keep the order, nothing is tried after a unit that has to be tried again."""
        outcomes: list[Outcome] = []
        try:
            for outcome in self._isolated(units, lambda piece: self._in_transaction(piece, valid)):
                outcomes.append(outcome)  # what was decided before a failure counts
        except Failed as failed:
            outcomes += self._again(units[len(outcomes) :], failed.failure)
        return outcomes

    def _again(self, units: Sequence[Unit], failure: Failure) -> list[Outcome]:
        """Return the outcomes of units that were undone together."""
        again = Again(failure)
        if not self._names or failure.kind is not Kind.RETRY or self._current is None or _is_stale(again):
            return [again] * len(units)
        return [again if unit is self._current else LATER for unit in units]

    def _isolated(
        self,
        units: Sequence[Unit],
        attempt: Callable[[Sequence[Unit]], Done | Failed],
        *,
        failed: Failed | None = None,
    ) -> Iterator[Outcome]:
        """Yield the outcome of each unit, in order. In a flood the rest is not tried."""
        left = len(units)
        for piece, result in self._bisection.isolate(units, attempt, failed=failed, hint=self._named):
            outcome = self._outcome(piece, result)
            left -= len(piece)
            yield from [outcome] * len(piece)
            if is_of_flood(outcome):
                yield from [outcome] * left
                return

    def _outcome(self, units: Sequence[Unit], result: Done | Failed) -> Outcome:
        """Return the outcome of units that were written, or of one that the database rejects."""
        if not isinstance(result, Failed):
            return result
        failure = result.failure
        # Where the driver has no other INSERT, a key that the inbox holds already is an integrity error.
        if isinstance(result, AlreadyThere) or (failure.place == INBOX and failure.code[:2] == "23"):
            return ALREADY
        if isinstance(result, Duplicate) or not failure.by_target:
            return Dead(failure)
        flood = self._brake.refused(units[0].delivery, failure, self)
        return Dead(failure) if flood is None else Again(flood)

    # --- one attempt: returns why the database rejects the units; raises Failed for anything else --------------------

    def _in_transaction(self, units: Sequence[Unit], valid: Valid, rows_at_once: int = LARGEST) -> Done | Failed:
        try:
            done = self._execute(units, rows_at_once)
            self._commit(valid)
        except Failed as failed:
            self._roll_back()
            if _repeats_a_key(units, failed, rows_at_once):
                return self._in_transaction(units, valid, 1)
            self._refuse_outdated()
            self.database.rollback()  # the question has begun a transaction, in which nobody else could write to SQLite
            return self._rejected(units, failed)
        return done

    def _under_savepoint(self, units: Sequence[Unit], rows_at_once: int = LARGEST) -> Done | Failed:
        database = self.database
        if not self._saved:
            # Never released: the commit does that, and a release would be one more round trip for every piece.
            database.savepoint(SAVEPOINT)
        try:
            done = self._execute(units, rows_at_once)
        except Failed as failed:
            self._rejected(units, failed)
            self._saved = database.rollback_to(SAVEPOINT)
            return self._under_savepoint(units, 1) if _repeats_a_key(units, failed, rows_at_once) else failed
        self._saved = False
        return done

    def _execute(self, units: Sequence[Unit], rows_at_once: int) -> Done:
        """Run all statements of the units, uncommitted. Raise Failed; a reject is due to at least one of them."""
        inbox = self._plan.inbox
        if inbox and (keys := [unit.key for unit in units if unit.key is not None]):
            new = inbox.insert(self.database, keys)
            if new == 0 and len(keys) == len(units):
                return ALREADY
            if new < len(keys):
                raise AlreadyThere(
                    Failure(Kind.REJECT, "already-there", "already written by an earlier delivery", INBOX)
                )
        places = self._execute_bulk(units, rows_at_once) if self._in_bulk else self._execute_steps(units)
        self._passing.update(dict.fromkeys([*places, ALL], len(units)))
        self._brake.passed(places, (unit.delivery for unit in units), self)
        return DONE

    def _rejected(self, units: Sequence[Unit], failed: Failed) -> Failed:
        """Return a failure that is due to the messages themselves; raise any other."""
        failure = _rejected(failed).failure
        own = len(units) > 1 or isinstance(failed, AlreadyThere | Duplicate)
        if not own and self._plan.is_due_to_a_constant(failure):
            raise Failed(replace(failure, kind=Kind.CONFIGURATION))
        return failed

    def _execute_bulk(self, units: Sequence[Unit], rows_at_once: int) -> set[str]:
        """Run the statements, each for all units; return the places of those that ran."""
        passed: Counter[str] = Counter()
        for place, sql, parameters, least in self._plan.bulk(units, self.database.dialect, rows_at_once):
            try:
                changed = self.database.execute(sql, parameters, place=place)
            except Failed as failed:
                if len(units) > 1 and failed.failure.kind is Kind.REJECT:
                    row = self.database.refused_row(failed.failure)
                    self._refusal = Refusal(failed.failure, passed[place], row)
                raise
            if 0 <= changed < least:
                raise no_row(place)
            passed[place] += 1
        return set(passed)

    def _execute_steps(self, units: Sequence[Unit]) -> set[str]:
        """Run the statements unit by unit; return the places of those that ran."""
        places: set[str] = set()
        for self._current in units:
            unit = self._current
            for write, row, results in self._plan.steps(unit):
                if write.name is not None and write.name in self._plan.results:
                    changed, results[write.name] = self.database.execute_returning(
                        write.statement.sql, row, place=write.place
                    )
                else:
                    changed = self.database.execute(write.statement.sql, row, place=write.place)
                if write.must_change and changed == 0:
                    raise no_row(write.place)
                places.add(write.place)
        self._current = None
        return places

    def _commit(self, valid: Valid) -> None:
        if not valid():
            raise Stale
        if not self.database.commit_unaltered():
            raise Failed(_ALTERED)
        if self._passing:
            self._brake.passed([*self._passing, "commit"], ())
        self._passed.update(self._passing)
        self._passed["commit"] += 1
        self._passing.clear()

    def _refuse_outdated(self) -> None:
        """Raise Failed, so that all is tried again, if rows were bound for columns that are no longer so."""
        if self.database.outdated():
            raise Failed(_ALTERED)

    def _roll_back(self) -> None:
        self._passing.clear()
        self.database.rollback()


def _refusal_for_a_column(mapped: Unit | Dead | Later) -> Failure | None:
    return mapped.failure if isinstance(mapped, Dead) and mapped.failure.by_target else None


def _all_done(outcomes: list[Outcome]) -> bool:
    return outcomes.count(DONE) == len(outcomes)


def _is_stale(outcome: Outcome) -> bool:
    return isinstance(outcome, Again) and outcome.failure.code == CHANGED


def _repeats_a_key(units: Sequence[Unit], failed: Failed, rows_at_once: int) -> bool:
    """Return whether one message has a key twice in a multi-row upsert (SQLSTATE 21000), which works row by row."""
    return len(units) == 1 and failed.failure.code == "21000" and rows_at_once > 1


def _rejected(failed: Failed) -> Failed:
    """Return a failure that is due to the messages themselves; raise any other."""
    if failed.failure.kind is not Kind.REJECT:
        raise failed
    return failed

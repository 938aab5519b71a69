"""Whether a message could be decoded and mapped, asked without the database. Imports no driver.

What only the database knows (types of columns, constraints, results of earlier statements) is not checked.
"""

from collections.abc import Callable

from connectorlib.config.document import open_document
from connectorlib.effort import Effort
from connectorlib.errors import Failed
from connectorlib.expressions import Scope
from connectorlib.formats import compile_format
from connectorlib.messages import Delivery
from dbconnector import config
from dbconnector.binding import Plan
from dbconnector.columns import Column
from dbconnector.drivers import GENERIC
from dbconnector.inbox import Inbox
from dbconnector.settings import DbConfig
from dbconnector.statements import Statement
from dbconnector.values import make_binder


def checker(file: str) -> Callable[[Delivery], list[str]] | None:
    """Given a configuration file, return what tells the problems of a message; None if it is not dbconnector's.
    Raise ConfigurationError for mistakes in it."""
    if "database" not in open_document(file, {}, resolve_secrets=False).data:
        return None
    return _Checker(config.load(file, resolve_secrets=False)).problems


class _Checker:
    def __init__(self, settings: DbConfig) -> None:
        self._format = compile_format(settings.format, settings.limits)
        self._plan = Plan(settings.database.write, self._format, settings.limits)
        self._limits = settings.limits
        self._plan.bind_with(_binder)
        self._inbox = Inbox(settings.idempotency, settings.name) if settings.idempotency else None

    def problems(self, delivery: Delivery) -> list[str]:
        """Return what would dead-letter this message again."""
        try:
            self._try(delivery)
        except Failed as failed:
            return [str(failed)]
        return []

    def _try(self, delivery: Delivery) -> None:
        effort = Effort(self._limits)
        records = self._format.decode(delivery.body)
        whole = Scope(delivery, encoding=self._format.encoding)
        whole.root = records[0] if len(records) == 1 else records
        if self._inbox is not None:
            self._inbox.key(whole.root, whole)
        for index, record in enumerate(records):
            scope = Scope(delivery, encoding=self._format.encoding, effort=effort)
            scope.root = record
            for write in self._plan.writes:
                scope.index = index
                if not write.uses_results:
                    for _ in write.rows(record, scope):
                        pass


def _binder(statement: Statement) -> Callable[..., tuple[object, ...]]:
    return make_binder(GENERIC, [Column.UNKNOWN] * len(statement.names), statement.names)

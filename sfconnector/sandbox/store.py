"""The org's records, indexes, and a journal for rolling a call back. The org does the locking."""

from collections.abc import Iterator
from typing import Any

from sfconnector.sandbox import ids
from sfconnector.sandbox.objects import OrgField, SObject

Record = dict[str, Any]


class Table:
    """The records of one object by id, without null fields. Deleted ones stay, with IsDeleted."""

    def __init__(self, sobject: SObject) -> None:
        self.sobject = sobject
        self.records: dict[str, Record] = {}
        self.number = 0
        self._indexes: dict[str, dict[Any, list[str]]] = {}

    def new_id(self) -> str:
        self.number += 1
        return ids.make(self.sobject.prefix, self.number)

    def index(self) -> None:
        """Rebuild the indexes, because fields have changed."""
        self._indexes = {}
        for record in self.records.values():
            self._enter(record)

    def live(self) -> Iterator[Record]:
        return (record for record in self.records.values() if not record.get("IsDeleted"))

    def find(self, name: str, value: Any) -> list[str]:
        """Return the ids of the live records with this value in an indexed field, oldest first."""
        known = self.sobject.fields[name]
        return list(self._indexes.get(name, {}).get(known.key(value), ())) if value is not None else []

    def put(self, record_id: str, record: Record | None) -> Record | None:
        """Store a record, or remove it if None; return the previous one."""
        before = self.records.get(record_id)
        if before is not None:
            self._leave(before)
        if record is None:
            self.records.pop(record_id, None)
        else:
            self.records[record_id] = record
            self._enter(record)
        return before

    def _enter(self, record: Record) -> None:
        if record.get("IsDeleted"):
            return
        for each in self.sobject.indexed:
            if (value := record.get(each.name)) is not None:
                self._indexes.setdefault(each.name, {}).setdefault(each.key(value), []).append(record["Id"])

    def _leave(self, record: Record) -> None:
        if record.get("IsDeleted"):
            return
        for each in self.sobject.indexed:
            if (value := record.get(each.name)) is not None:
                self._indexes[each.name][each.key(value)].remove(record["Id"])


class Store:
    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.case_number = 1000
        self._journal: list[tuple[Table, str, Record | None]] = []

    def table(self, sobject: SObject) -> Table:
        table = self.tables.get(sobject.name)
        if table is None:
            table = self.tables[sobject.name] = Table(sobject)
        return table

    def put(self, sobject: SObject, record: Record) -> None:
        table = self.table(sobject)
        self._journal.append((table, record["Id"], table.put(record["Id"], record)))

    def get(self, sobject: SObject, record_id: str) -> Record | None:
        return self.table(sobject).records.get(record_id)

    def find(self, sobject: SObject, key: OrgField, value: object) -> list[str]:
        """Return the ids of the live records with this key."""
        if key.type == "id":
            wanted = ids.full(value)
            record = self.get(sobject, wanted) if wanted else None
            return [record["Id"]] if record is not None and not record.get("IsDeleted") else []
        return self.table(sobject).find(key.name, value)

    def clear(self) -> None:
        self.tables.clear()
        self._journal.clear()

    def begin(self) -> None:
        self._journal.clear()

    def roll_back(self) -> None:
        """Undo the writes since `begin`. Used numbers are not reused."""
        for table, record_id, before in reversed(self._journal):
            table.put(record_id, before)
        self._journal.clear()

"""Pages of query results: keeps the records of the latest queries that need more than one page."""

import threading
from collections import OrderedDict
from typing import Any

from sfconnector.sandbox import ids
from sfconnector.sandbox.query import Rows
from sfconnector.sandbox.refusals import refused

KEPT = 50


class Cursors:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[Rows, int]] = OrderedDict()
        self._number = 0

    def first(self, rows: Rows, size: int, base: str) -> dict[str, Any]:
        """Return the first page of an answer."""
        if len(rows) <= size:
            return {"totalSize": rows.total, "done": True, "records": rows}
        with self._lock:
            self._number += 1
            cursor = ids.make("01g", self._number)
            self._open[cursor] = (rows, size)
            if len(self._open) > KEPT:
                self._open.popitem(last=False)
        return self.next(f"{cursor}-0", base)

    def next(self, locator: str, base: str) -> dict[str, Any]:
        """Return the page of a locator. Raise ApiError for an unknown one."""
        cursor, _, start = locator.rpartition("-")
        with self._lock:
            found = self._open.get(cursor)
        if found is None or not start.isdigit():
            raise refused("INVALID_QUERY_LOCATOR", "invalid query locator", None)
        records, size = found
        end = int(start) + size
        page: dict[str, Any] = {"totalSize": len(records), "done": end >= len(records)}
        if not page["done"]:
            page["nextRecordsUrl"] = f"{base}/query/{cursor}-{end}"
        return page | {"records": records[int(start) : end]}

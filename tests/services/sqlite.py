"""Fresh SQLite databases: a file each."""

import sqlite3
from pathlib import Path

from tests.services.database import Connection, Database


class SqliteDatabase(Database):
    placeholder = "?"

    def __init__(self, path: Path) -> None:
        super().__init__("sqlite", "sqlite", path.name, {"Driver": "SQLite3", "Database": str(path)}, None)
        self.path = path

    def connect(self) -> Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=5)

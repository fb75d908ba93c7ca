"""Direct looks at the tables of a harness, wherever its store is: for those who judge what the engine says."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from stepwell.storage.tables import TABLES
from stepwell.testing import Harness
from stepwell.testing.audit import audit, audit_file
from stepwell.testing.invariants import Violation
from stepwell.testing.tables import Tables
from tests import postgres
from tests.crash.copied import copied


class InMemory:
    """Those of a store in memory."""

    def __init__(self, t: Harness) -> None:
        self._tables = Tables(t.store)
        self.ask = self._tables.ask

    def audit(self) -> list[Violation]:
        return list(audit(self.ask))

    def all(self) -> list[Any]:
        """Every row, behind the name of its table."""
        return self._tables.all()

    def version(self) -> object:
        """Another one when anything was written."""
        return self._tables.changes()


class InDatabase:
    """Those of a PostgreSQL database, asked in what SQLite and PostgreSQL both understand."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, text: str, *values: Any) -> list[Any]:
        numbers = iter(range(1, len(values) + 1))
        asked = re.sub(r"\?", lambda _: f"${next(numbers)}", text)
        return postgres.kept_connection(self._url).ask(asked, *values)

    def audit(self) -> list[Violation]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "copied.db"
            copied(self._url, file)
            return audit_file(file)

    def all(self) -> list[Any]:
        return [(table.name, *row) for table in TABLES for row in self.ask(f"SELECT * FROM {table.name}")]

    def version(self) -> object:
        return self.ask("SELECT shard, version FROM shards ORDER BY shard")


def tables(t: Harness) -> InMemory | InDatabase:
    """As somebody beside the engine sees them."""
    return InMemory(t) if t._url is None else InDatabase(t._url)

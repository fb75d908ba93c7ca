"""What all examples stand on: one app, one folder for what they produce, one pace at which their days go by.

Two settings, both environment variables:

- ``DEMO_HOME`` is the folder, by default ``demo-output`` where you are. Delete it to start afresh.
- ``DEMO_SPEED`` says how many times faster than life the examples sleep and wait. At 86400 a day takes a second.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell import Stepwell

if TYPE_CHECKING:
    from stepwell.embedded import Embedded

app = Stepwell("examples")

DATA = Path(__file__).parent / "data"
MARK = "# Made by the examples of Stepwell, which also delete it.\n*\n"
SPEED = float(os.environ.get("DEMO_SPEED", "1"))


def paced(**length: float) -> timedelta:
    """A length of time as ``timedelta`` takes it, shortened when the examples are told to hurry."""
    return timedelta(**length) / SPEED


def home() -> Path:
    """The folder that the examples write to. It is made on first use, and tells git to look away."""
    folder = Path(os.environ.get("DEMO_HOME", "demo-output"))
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text(MARK)
    return folder


def folder(name: str) -> Path:
    """A folder in ``home()``."""
    path = home() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it, and so that writing it twice changes nothing."""
    # A name of its own for each process and path: two steps may write next to each other.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(path)


@contextmanager
def database(name: str = "app.db") -> Generator[sqlite3.Connection]:
    """One transaction on a SQLite file of the app: committed at the end of the block, rolled back if it raises.

    This is the app's own data, which knows nothing of Stepwell. A step that writes here may be tried twice, so each of
    them is written to change nothing the second time.
    """
    connection = sqlite3.connect(home() / name, timeout=30, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        # Writers queue at the door instead of failing half-way, when a read turns into a write.
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.close()


async def quiet(engine: Embedded) -> None:
    """Wait until every run has ended."""
    while (totals := (await engine.health()).totals) is None or totals.live_runs:  # noqa: ASYNC110
        await asyncio.sleep(0.02)

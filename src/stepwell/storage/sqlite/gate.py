"""Lets processes that share a database file take turns at writing.

SQLite's write lock has no queue: a process that commits without pause gives the others, who try now and then, next to
no chance. So whoever waits says so in one byte of memory that all share, and whoever has just committed sees it, clears
it and steps aside for longer than a waiting process sleeps. The byte is a hint: left behind by a process that died, it
costs one pause (ADR 0002).
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from threading import Event
from typing import Final

_RETRY_S: Final = 0.0004
_ASIDE_S: Final = 0.0015
_RETRIES_MAX: Final = 50_000  # half a minute or more: a lock held that long is another program's mistake


class Gate:
    """One process's view of the shared byte."""

    def __init__(self, path: str) -> None:
        self._sleep = Event().wait  # an event that nobody sets
        file = Path(f"{path}-gate")
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size == 0:
                os.write(descriptor, b"\0")
            self._byte = mmap.mmap(descriptor, 1)
        finally:
            os.close(descriptor)

    def wait(self, tries: int) -> bool:
        """SQLite's busy handler: say that we wait, sleep a little, and whether to try again."""
        self._byte[0] = 1
        # Steps that differ between processes, so that two of them do not stay in step.
        self._sleep(_RETRY_S * (1 + (tries * 7 + os.getpid()) % 5 / 5))
        return tries < _RETRIES_MAX

    def step_aside(self) -> None:
        """After a commit: if anybody waits, let them write before we go on."""
        if self._byte[0]:
            self._byte[0] = 0
            self._sleep(_ASIDE_S)

    def close(self) -> None:
        self._byte.close()

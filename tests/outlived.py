"""Ends a PostgreSQL of tests when whoever started it is gone, also by SIGKILL: nobody can say so themselves then.

``ends_with_us`` starts this file as a process of its own, which waits for the end of a pipe that only the one who
started it holds open.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

STOP_S_MAX = 10.0


def ends_with_us(folder: str | Path) -> None:
    """From now on a server whose data are in this folder stops when this process ends, and the folder is removed."""
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # what is sent to all of us does not reach it
    )
    assert watcher.stdin is not None
    atexit.register(watcher.wait)
    atexit.register(watcher.stdin.close)


def end(folder: Path) -> None:
    """Stop the server at once, if it runs: nothing of it is looked at any more."""
    with suppress(OSError, ValueError, IndexError):  # it has stopped; one that is about to start finds no folder
        pid = int((folder / "postmaster.pid").read_text().split()[0])
        running = os.pidfd_open(pid)
        if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():  # nobody else has its number by now
            signal.pidfd_send_signal(running, signal.SIGQUIT)
            if not select.select([running], [], [], STOP_S_MAX)[0]:
                signal.pidfd_send_signal(running, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(Path(sys.argv[1]))

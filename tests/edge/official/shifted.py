"""Runs a module as ``python -m`` does, with the clock of Stepwell set: ``shifted.py SECONDS python -m MODULE …``.

So that a test can be there at nine in New York, or come back after three days. Only Stepwell's clock is set: timers,
and the app beside it, go by the machine's.
"""

from __future__ import annotations

import runpy
import sys
import time
from types import SimpleNamespace


def main(seconds: int, module: str, arguments: list[str]) -> None:
    from stepwell import clock

    ahead_ns = seconds * 1_000_000_000
    vars(clock)["time"] = SimpleNamespace(time_ns=lambda: time.time_ns() + ahead_ns, monotonic=time.monotonic)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this directory, which is none of packages
    assert sys.argv[3] == "-m", "it goes before a command of Python"
    main(int(sys.argv[1]), sys.argv[4], sys.argv[5:])

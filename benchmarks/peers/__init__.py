"""Other durable execution on PostgreSQL, each in an environment of its own that is made when it is first asked for.

Versions are pinned. Each runs the same load in the way that its documentation recommends for many runs at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PEERS: Final[Mapping[str, tuple[str, ...]]] = {
    "dbos": ("dbos==3.4.0",),
    "absurd": ("absurd-sdk==0.5.1", "absurdctl==0.5.1"),
}
_HERE: Final = Path(__file__).resolve().parent
_CACHE: Final = _HERE.parents[1] / "build" / "bench" / "peers"  # git ignores it


def command(peer: str, url: str, process: int) -> list[str]:
    """What starts one process of the load on a peer. The first process, 0, makes its tables."""
    return [str(_interpreter(peer)), str(_HERE / f"{peer}_load.py"), url, str(process)]


def _interpreter(peer: str) -> Path:
    packages = PEERS[peer]
    folder = _CACHE / "+".join(packages)
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return python

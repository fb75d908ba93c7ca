"""The app of ``app.py`` served over HTTP, in a process of its own: ``python -m tests.crash.served PORT``.

Its ledger, its keys and the server it reports to are in the environment.
"""

from __future__ import annotations

import sys

import uvicorn

from tests.crash.app import app

if __name__ == "__main__":
    uvicorn.run(app.serve(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")

"""The Python half of ``test_behaviours_of_*.py``: the same functions as in ``javascript_behaviours.mjs``.

Run it as ``python -m tests.edge.official.python_behaviours FRAMEWORK PORT``.
"""

from __future__ import annotations

import sys

from tests.edge.official import (
    python_behaviours_of_limits,
    python_behaviours_of_runs,
    python_behaviours_of_starts,
    python_behaviours_of_steps,
)
from tests.edge.official.python_app import serve
from tests.edge.official.python_base import FUNCTIONS, client

assert python_behaviours_of_steps.define is python_behaviours_of_starts.define, "each module adds its own functions"
streamed = (python_behaviours_of_runs.streamed_client, python_behaviours_of_runs.STREAMED)
second = (python_behaviours_of_limits.second_client, python_behaviours_of_limits.SECOND_APP)

if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), client, FUNCTIONS, streamed=streamed, second=second)

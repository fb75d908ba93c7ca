"""What the tests of requests for steps share."""

from __future__ import annotations

from tests.core.runtime.wired import Wired
from tests.tables import tables

MODEL = "https://models.test/v1/chat/completions"
API = "https://api.test/things"
KEY = "sk-planted-0123456789"


def everything(t: Wired) -> str:
    """All that the store has, except what is to be sent."""
    return "".join(str(row) for row in tables(t).all() if row[0] != "requests")

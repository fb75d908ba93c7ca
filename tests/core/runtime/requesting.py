"""What the tests of requests for steps share."""

from __future__ import annotations

from stepwell.testing.tables import Tables
from tests.core.runtime.wired import Wired

MODEL = "https://models.test/v1/chat/completions"
API = "https://api.test/things"
KEY = "sk-planted-0123456789"


def everything(t: Wired) -> str:
    """All that the store has, except what is to be sent."""
    return "".join(str(row) for row in Tables(t.store).all() if row[0] != "requests")

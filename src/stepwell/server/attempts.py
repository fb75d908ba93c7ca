"""How often somebody may try to log in: some times a minute for each name, and some for all together (invariants S18).

Kept by each process for itself: several let several times as many through, which is far from enough for a guess.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from stepwell.limits import LOGIN_FAILURES_MAX, LOGIN_FAILURES_OF_ALL_MAX

_MINUTE_MS: Final = 60_000


class Attempt(NamedTuple):
    """One that is not known to have succeeded."""

    at: int
    number: int
    name: str


class Attempts:
    """Those of the last minute that have failed, or have not ended. A name counts whether anybody has it or not."""

    def __init__(self) -> None:
        self._attempts: deque[Attempt] = deque()
        self._number = 0

    def begin(self, name: str, now: int) -> Attempt | int:
        """An attempt, or for how many seconds there may be none."""
        while self._attempts and not 0 <= now - self._attempts[0].at < _MINUTE_MS:
            self._attempts.popleft()
        own = [each for each in self._attempts if each.name == name]
        for found, most in ((own, LOGIN_FAILURES_MAX), (self._attempts, LOGIN_FAILURES_OF_ALL_MAX)):
            if len(found) >= most:
                return max(1, -(-(found[-most].at + _MINUTE_MS - now) // 1000))
        self._number += 1
        attempt = Attempt(now, self._number, name)
        self._attempts.append(attempt)
        return attempt

    def forgive(self, attempt: Attempt) -> None:
        """It has succeeded."""
        if attempt in self._attempts:
            self._attempts.remove(attempt)

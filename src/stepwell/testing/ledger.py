"""What the functions of a world really did, kept outside of it: no crash makes it forget."""

from __future__ import annotations

from collections import Counter

import msgspec


class Start(msgspec.Struct, frozen=True):
    """The body of a step began. ``token`` is the lease of the call in which it did; ``stale`` if it was lost."""

    run_id: str
    step_id: str
    name: str
    attempt: int
    token: int
    at: int
    stale: bool


class Ledger:
    """Starts of step bodies in their order, and how often the functions' own code has failed at each place.

    ``calls_again`` are those after such a failure: the run, what is called so, when that was, until when it was to
    wait, and when it did.
    """

    def __init__(self) -> None:
        self.starts: list[Start] = []
        self.calls_again: list[tuple[str, str, int, int, int]] = []
        self.working: dict[int, Start] = {}
        self.stumbles: Counter[tuple[str, str]] = Counter()

    def begin(self, start: Start) -> int:
        """Note the start of a body; its number."""
        self.starts.append(start)
        self.working[len(self.starts)] = start
        return len(self.starts)

    def end(self, number: int) -> None:
        """The body is over, or its process is gone."""
        del self.working[number]

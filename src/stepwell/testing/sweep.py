"""Crashes at every point: a scenario is played again and again, and each time the process dies one commit later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.clock import to_ms
from stepwell.model.changes import Decision
from stepwell.testing.audit import audit
from stepwell.testing.harness import Harness, harness
from stepwell.testing.invariants import Guard
from stepwell.testing.loop import Stuck
from stepwell.testing.tables import Tables

if TYPE_CHECKING:
    from stepwell.sdk.app import Stepwell

Scenario = Callable[[Harness], None]


class CrashFailure(msgspec.Struct, frozen=True):
    """What went wrong when the process died at one point."""

    point: int
    before: bool
    what: str
    error: str

    def __str__(self) -> str:
        when = "before" if self.before else "after"
        return f"crash {when} commit {self.point} ({self.what}): {self.error}"


class CrashReport(msgspec.Struct, frozen=True):
    """How a scenario fared: ``points`` commits, at each of which the process died once before and once after.

    ``places`` says what each of them writes when nothing dies.
    """

    points: int
    failures: tuple[CrashFailure, ...] = ()
    places: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = "".join(f"\n  {failure}" for failure in self.failures)
        return f"{self.points} crash points, {len(self.failures)} failures{lines}"


def crash_sweep(app: Stepwell | Sequence[Stepwell], scenario: Scenario, **options: Any) -> CrashReport:
    """Play a scenario with a crash at its commit 1, 2, 3, … until none is left, and say how often it was played.

    ``scenario`` is given a harness; it sends, advances and asserts. The process dies just before a commit takes effect,
    and in another play just after, and the next process goes on with what was written; an event that was not
    acknowledged is sent again. What a scenario asserts has to hold each time: that a body ran at least once and perhaps
    twice, that what was recorded did not run again. It must make anew whatever it counts in. ``options`` are those of
    ``harness``. Raises ``AssertionError`` naming the points at which an assertion failed.
    """
    report = sweep(app, scenario, judged=False, **options)
    if report.failures:
        raise AssertionError(str(report))
    return report


def sweep(
    app: Stepwell | Sequence[Stepwell],
    scenario: Scenario,
    *,
    judged: bool,
    **options: Any,
) -> CrashReport:
    """As ``crash_sweep``, but failures are reported, not raised. If ``judged`` the invariants are checked as well."""
    failures: list[CrashFailure] = []
    whole = _Play(0, False)
    error = whole.run(app, scenario, judged, options)
    if error is not None:
        return CrashReport(0, (CrashFailure(0, False, "no crash at all", error),))
    places = tuple(whole.places)
    point = 0
    while True:
        point += 1
        for before in (True, False):
            play = _Play(point, before)
            error = play.run(app, scenario, judged, options)
            if not play.struck:
                return CrashReport(point - 1, tuple(failures), places)
            if error is not None:
                failures.append(CrashFailure(point, before, places[point - 1], error))


class _Play:
    """One play of the scenario, in which the process dies at one commit; at none if ``point`` is 0."""

    def __init__(self, point: int, before: bool) -> None:
        self.struck = False
        self.places: list[str] = []
        self._point = point
        self._before = before
        self._count = 0
        self._guard: Guard | None = None
        self._violations: list[str] = []

    def run(
        self,
        app: Stepwell | Sequence[Stepwell],
        scenario: Scenario,
        judged: bool,
        options: dict[str, Any],
    ) -> str | None:
        """Play it; the error it ended with."""
        t = harness(app, **options)
        t.die_when(self.dies)
        try:
            with t:
                if judged:
                    self._guard = Guard(Tables(t.store), lambda: to_ms(t.now))
                scenario(t)
                if judged:
                    self._violations += map(str, audit(Tables(t.store).ask))
        except (AssertionError, Stuck) as error:
            return str(error) or type(error).__name__
        return self._violations[0] if self._violations else None

    def dies(self, before: bool, work: object) -> bool:
        if self._guard is not None and not before:
            self._violations += map(str, self._guard.check())
        if not before:
            self.places.append(_what(work))
        self._count += before
        if self.struck or self._count != self._point or before != self._before:
            return False
        self.struck = True
        return True


def _what(work: object) -> str:
    if isinstance(work, Decision):
        return ", ".join(type(change).__name__ for change in work.changes) or "nothing"
    return "an epoch"

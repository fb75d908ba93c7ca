"""Tests of durable functions, in virtual time: ``from stepwell.testing import harness``."""

from __future__ import annotations

from stepwell.testing.answers import FetchRequest
from stepwell.testing.harness import Harness, harness
from stepwell.testing.loop import Stuck
from stepwell.testing.stubs import TIMEOUT
from stepwell.testing.sweep import CrashFailure, CrashReport, crash_sweep
from stepwell.testing.views import RunView, StepView

__all__ = [
    "TIMEOUT",
    "CrashFailure",
    "CrashReport",
    "FetchRequest",
    "Harness",
    "RunView",
    "StepView",
    "Stuck",
    "crash_sweep",
    "harness",
]

"""One file per instruction a function can give. ``protocol/instructions.py`` reads them from the wire."""

from __future__ import annotations

from typing import Final

from stepwell.ops.annotated import Annotated, plain
from stepwell.ops.base import Effect, Invocation, Op, Turn
from stepwell.ops.defer import DeferAbort, DeferAdd
from stepwell.ops.gateway import Gateway
from stepwell.ops.invoke import Invoke
from stepwell.ops.plan import StepPlanned
from stepwell.ops.run import StepError, StepRun
from stepwell.ops.sleep import Sleep
from stepwell.ops.wait_for_event import WaitForEvent
from stepwell.ops.wait_for_signal import WaitForSignal

OPS: Final[dict[str, type[Op]]] = {
    "StepPlanned": StepPlanned,
    "StepRun": StepRun,
    "StepError": StepError,
    "StepFailed": StepError,
    "Sleep": Sleep,
    "WaitForEvent": WaitForEvent,
    "WaitForSignal": WaitForSignal,
    "InvokeFunction": Invoke,
    "DeferAdd": DeferAdd,
    "DeferAbort": DeferAbort,
    "AIGateway": Gateway,
    "Gateway": Gateway,
}

__all__ = [
    "OPS",
    "Annotated",
    "DeferAbort",
    "DeferAdd",
    "Effect",
    "Gateway",
    "Invocation",
    "Invoke",
    "Op",
    "Sleep",
    "StepError",
    "StepPlanned",
    "StepRun",
    "Turn",
    "WaitForEvent",
    "WaitForSignal",
    "plain",
]

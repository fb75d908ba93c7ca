"""Runs that apps begin by themselves and report: from the wire's ops to decisions (protocol §8.3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from stepwell.engine.endpoints import Report, carry_on, declare, take_on
from stepwell.engine.reports import Standing
from stepwell.model.run import Run, RunStatus
from stepwell.ops import Op as Instruction
from stepwell.protocol.codec import Unreadable, answer_of, decode_ops
from stepwell.protocol.config import parse_function
from stepwell.protocol.endpoints import Creation, Replayed, replay
from stepwell.protocol.instructions import UnknownOp, instruction
from stepwell.protocol.messages import DISCOVERY_REQUEST, STEP_RUN, Completed, Failed, Op
from stepwell.runtime.engine import Engine
from stepwell.runtime.groups import in_groups

_USUAL_VERSION: Final = 2
_LAZY: Final = frozenset({"DeferAdd", "DeferAbort"})
_UNCOUNTED: Final = _LAZY | {DISCOVERY_REQUEST}
_WHILE_RUNNING: Final = _LAZY | {STEP_RUN}


async def begin(engine: Engine, creation: Creation) -> Standing:
    """An app has begun a run. Raises ``Unreadable``, ``ConfigurationError``, ``LimitExceeded`` and ``NotRunning``."""
    engine.refuse_if_stopping()
    report = read_report(creation.ops, engine.clock.now_ms(), creation.version)
    function = parse_function(creation.config, creation.app_id)
    known = engine.registry.get(function.id)
    if known is None or known.config != function.config:
        await engine.declare(partial(declare, function=function))
        known = engine.registry.get(function.id) or function
    owner, silence_ms = known, engine.settings.endpoint_silence_ms
    opened = await engine.commit(
        lambda draft: take_on(draft, owner, creation.run_id, creation.event, creation.version, silence_ms)
    )
    standing: Standing = opened.result.value
    if standing is Standing.STORED and (report.ops or report.rests or report.output or report.failure):
        return await tell(engine, creation.run_id, report)
    return standing


async def tell(engine: Engine, run_id: str, report: Report) -> Standing:
    """An app reports of a run that it has begun."""
    verdict = await engine.commit(lambda draft: carry_on(draft, run_id, report, engine.settings.endpoint_silence_ms))
    standing: Standing = verdict.result.value if verdict.held else Standing.STALE
    return standing


def answer_of_run(engine: Engine, run: Run) -> Replayed | None:
    """What the endpoint of a run has answered, if that is how the run has ended."""
    if run.status != RunStatus.COMPLETED:
        return None
    function = engine.registry.of_run(run.function_id)
    return replay(run.output or b"null", None if function is None else function.endpoint)


def read_report(text: bytes, now: int, version: int = _USUAL_VERSION) -> Report:
    """What these ops say of a run that its app executes by itself. Raises ``Unreadable``.

    Results of steps are told while it goes on. With anything else, or several at once, the app has stopped and leaves
    the run to us (protocol §8.3).
    """
    answer = answer_of(decode_ops(text, now=now, called_at=now), version)
    if isinstance(answer, Completed):
        return Report(output=answer.data, version=version)
    if isinstance(answer, Failed):
        return _failed(version, answer)
    rests = answer.then is None and any(op.op not in _WHILE_RUNNING for op in answer.ops)
    found = in_groups(answer, version) if rests else list(answer.ops)
    ops = _instructions(found)
    step_ids = tuple(op.id for op in found if op.op not in _UNCOUNTED)
    if isinstance(answer.then, Completed):
        return Report(ops=ops, step_ids=step_ids, output=answer.then.data, version=version)
    if isinstance(answer.then, Failed):
        return msgspec.structs.replace(_failed(version, answer.then), ops=ops, step_ids=step_ids)
    return Report(ops=ops, step_ids=step_ids, rests=rests, version=version)


def _failed(version: int, failed: Failed) -> Report:
    return Report(version=version, failure=failed.error, final=failed.no_retry, retry_at=failed.retry_at, rests=True)


def _instructions(ops: Sequence[Op]) -> tuple[Instruction, ...]:
    found: list[Instruction] = []
    for op in ops:
        try:
            if op.op != DISCOVERY_REQUEST:
                found.append(instruction(op))
        except (UnknownOp, msgspec.MsgspecError) as error:
            if op.op not in _LAZY:  # what is put off, nothing waits for (protocol §6.1)
                raise Unreadable(str(error)) from None
    return tuple(found)

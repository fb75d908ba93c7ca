"""The state of a run for its app: what is too large for a call, and steps reported while one is under way (protocol
§5.4, §8.2)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response

from stepwell.engine.reports import Standing
from stepwell.model.questions import GetEvent, GetRun, GetSteps, HeldEvents
from stepwell.model.run import Run
from stepwell.model.step import DEFER
from stepwell.protocol.codec import Unreadable, decode_ops, encode_events, encode_memos, generation_of
from stepwell.protocol.instructions import inputs, memo
from stepwell.protocol.messages import LAZY, STEP_FAILED, STEP_PLANNED, STEP_RUN, Memo
from stepwell.runtime.checkpoints import store
from stepwell.runtime.engine import Engine
from stepwell.server.desk import find_run
from stepwell.server.endpoints import PREFIXES, STEPS, accept
from stepwell.server.envelopes import plain
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.parameters import ULID
from stepwell.server.replies import Refused

_REPORTED: Final = LAZY | {STEP_RUN, STEP_FAILED}  # the last by our own SDK
_GENERATION_MAX: Final = 1 << 62  # beyond are the leases of durable endpoints, which report otherwise
_IGNORED: Final = frozenset({STEP_PLANNED})


class _Checkpoint(msgspec.Struct):
    run_id: str
    steps: msgspec.Raw = msgspec.Raw(b"[]")
    qi_id: str | None = None
    generation_id: int | None = None


_decode: Final = msgspec.json.Decoder(_Checkpoint).decode
_CHECKPOINT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["run_id"],
    "properties": {
        "run_id": ULID,
        "steps": STEPS,
        "qi_id": {"type": ["string", "null"]},
        "generation_id": {"type": ["integer", "null"]},
    },
}


class Stored(msgspec.Struct, frozen=True):
    """What was reported is durable."""

    ok: bool = True


class State:
    """The endpoints of an engine that the apps it calls use meanwhile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Operation]:
        return [
            *(
                Operation(
                    "POST",
                    f"{prefix}/{{run_id}}/async",
                    self.checkpoint,
                    "takes steps of a call that goes on; 409 if another has taken its place",
                    style=Style.PLAIN,
                    body=Opaque(schema=_CHECKPOINT),
                    answer=Stored,
                    refuses=[409, 413],
                )
                for prefix in PREFIXES
            ),
            Operation(
                "GET",
                "/v0/runs/{run_id}/actions",
                self.actions,
                "all results of its steps, for its app; 410 if it has ended",
                style=Style.PLAIN,
                answer=dict[str, Any],
                refuses=[410],
            ),
            Operation(
                "GET",
                "/v0/runs/{run_id}/batch",
                self.batch,
                "its events, for its app; 410 if it has ended",
                style=Style.PLAIN,
                answer=list[dict[str, Any]],
                refuses=[410],
            ),
            Operation(
                "DELETE",
                "/v0/runs/{run_id}",
                self.cancel,
                "cancels it; no body; 409 if it had ended",
                style=Style.PLAIN,
                status=204,
                refuses=[409],
            ),
        ]

    async def actions(self, asked: Asked) -> Response:
        """All memos, in the order in which they became known."""
        run = await self._run(asked.path["run_id"])
        steps = await self._engine.store.read(GetSteps(run.id))
        steps.sort(key=lambda step: (step.position, step.ended_at or 0, step.id))
        known: dict[str, Memo] = {step.id: found for step in steps if step.kind != DEFER and (found := memo(step))}
        return Response(encode_memos(known, list(known), inputs(run, known)), media_type="application/json")

    async def batch(self, asked: Asked) -> Response:
        """The events of the run."""
        run = await self._run(asked.path["run_id"])
        events = await self._engine.store.read(HeldEvents(run.id)) if run.batch else []
        event = None if events else await self._engine.store.read(GetEvent(run.event_id, run.place))
        return Response(encode_events(events if event is None else [event]), media_type="application/json")

    async def cancel(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        if run.ended or not await self._engine.cancel(run.id):
            raise Refused(409, "run-ended", f"the run {run.id} has ended already", "what has ended stays as it is")
        return Response(status_code=204)

    async def checkpoint(self, asked: Asked) -> Response:
        """Steps of a call that goes on. 409 if it is not the present call of its run any more."""
        try:
            found = _decode(asked.body)
            now = self._engine.clock.now_ms()
            ops = decode_ops(bytes(found.steps), now=now, called_at=now)
        except (Unreadable, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, "invalid-checkpoint", "the checkpoint cannot be read", str(error)) from None
        wrong = [op.op for op in ops if op.op not in _REPORTED | _IGNORED]
        if wrong or found.run_id != asked.path["run_id"]:
            what = f"{wrong[0]} cannot be reported while a call is under way" if wrong else "it is about another run"
            raise Refused(400, "invalid-checkpoint", what, "such an op ends the call", "answer the call with it")
        reported = [op for op in ops if op.op in _REPORTED]
        token = _generation(found)
        try:
            standing = Standing.STALE if token is None else await store(self._engine, found.run_id, token, reported)
        except Unreadable as error:
            raise Refused(400, "invalid-checkpoint", "the checkpoint cannot be read", str(error)) from None
        accept(standing, found.run_id)
        return plain(Stored())

    async def _run(self, run_id: str) -> Run:
        run = await self._engine.store.read(GetRun(run_id))
        if run is None or run.ended:
            raise Refused(410, "state-gone", f"the run {run_id} has no state any more", "it has ended or is forgotten")
        return run


def _generation(found: _Checkpoint) -> int | None:
    """The generation of the call that it comes from. Only newer SDKs give that back as a number."""
    if found.generation_id is not None:
        return found.generation_id if 0 < found.generation_id < _GENERATION_MAX else None
    return generation_of(found.qi_id or "", found.run_id)

"""Durable endpoints: apps begin runs by themselves and report them, their users wait for the result (protocol §8)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from starlette.responses import Response

from stepwell.engine.reports import Standing
from stepwell.errors import EventTooLarge, NotFound
from stepwell.limits import OUTPUT_TOKEN_LIFE, OUTPUT_WAIT_MAX, REALTIME_TOKEN_LIFE
from stepwell.model.event import HTTP_REQUEST
from stepwell.model.run import RunStatus
from stepwell.protocol.codec import Unreadable, function_uuid
from stepwell.protocol.endpoints import (
    Creation,
    may_read,
    output_claims,
    read_creation,
    read_steps,
    stream_claims,
)
from stepwell.protocol.tokens import InvalidToken, read, sign
from stepwell.runtime import endpoints
from stepwell.runtime.endings import Endings
from stepwell.runtime.engine import Engine
from stepwell.server.apps import Apps, app_uuid, attaching
from stepwell.server.envelopes import plain
from stepwell.server.guard import Guard
from stepwell.server.operations import Asked, Opaque, Operation, Style, Written
from stepwell.server.parameters import ULID, text
from stepwell.server.replies import Refused
from stepwell.server.token_keys import TokenKeys

PREFIXES: Final = ("/v1/checkpoint", "/v1/http/runs")
_WAIT_MS: Final = OUTPUT_WAIT_MAX // type(OUTPUT_WAIT_MAX)(milliseconds=1)
# What an app has answered is shown as coming from us: it must not act in our name (invariants S20).
_SANDBOX: Final = {"content-security-policy": "sandbox"}
_SHARED: Final = {"access-control-allow-origin": "*", "cache-control": "no-store"}

STEPS: Final[dict[str, Any]] = {"type": "array", "items": {"type": "object"}}  # ops, as an answer to a call has them
_REPORT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["run_id"],
    "properties": {"run_id": ULID, "steps": STEPS},
}
_MAYBE: Final = {"type": ["string", "null"]}
_HTTP_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["domain", "method", "path"],
    "properties": {
        **{name: {"type": "string"} for name in ("domain", "method", "path")},
        **dict.fromkeys(("query_params", "content_type", "body", "fn"), _MAYBE),
    },
}
_CREATION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["run_id", "event"],
    "properties": {
        "run_id": ULID,
        "event": {
            "type": "object",
            "required": ["data"],
            "properties": {"name": {"const": HTTP_REQUEST}, "data": _HTTP_REQUEST},
        },
        "steps": STEPS,
        "request_version": {"type": "integer"},
        "retries": {"type": ["integer", "null"]},
    },
}


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is known now. ``token`` reads its result, and ``realtime_token`` hears what it streams."""

    fn_id: str
    app_id: str
    run_id: str
    token: str
    realtime_token: str


class BegunAnswer(msgspec.Struct, frozen=True):
    """A run has begun."""

    data: Begun


class Reported(msgspec.Struct, frozen=True):
    """The run of which was reported."""

    run_id: str


class ReportedAnswer(msgspec.Struct, frozen=True):
    """What was reported is durable."""

    data: Reported


class Endpoints:
    """The endpoints of an engine for durable endpoints. ``guard`` has the keys with which tokens are signed."""

    def __init__(self, engine: Engine, apps: Apps | None, guard: Guard) -> None:
        self._engine = engine
        self._apps = apps
        self._keys = TokenKeys(engine, guard)
        self._endings = Endings(engine)

    def routes(self) -> list[Operation]:
        op = partial(Operation, style=Style.PLAIN)
        return [
            each
            for prefix in PREFIXES
            for each in (
                op(
                    "POST",
                    prefix,
                    self.create,
                    "a durable endpoint has begun a run; 409 if there is another of that id",
                    body=Opaque(schema=_CREATION),
                    answer=BegunAnswer,
                    refuses=[409, 413, 429],
                ),
                op(
                    "POST",
                    f"{prefix}/{{run_id}}/steps",
                    self.steps,
                    "takes steps of such a run; 409 if it is not in its hands any more",
                    body=Opaque(schema=_REPORT),
                    answer=ReportedAnswer,
                    refuses=[409, 413],
                ),
                op(
                    "GET",
                    f"{prefix}/{{run_id}}/output",
                    self.output,
                    "waits for the result of such a run, and gives it as the endpoint would have",
                    query=(text("token", "what was given with the run, to read it", required=True),),
                    answer=Written(),
                ),
            )
        ]

    async def create(self, asked: Asked) -> Response:
        """An app has begun a run. The same again is no other: its answer may have been lost on the way."""
        creation = self._read_creation(asked)
        if self._engine.registry.get(creation.function_id) is None:
            await attaching(self._apps).check(creation.app_id)
        try:
            standing = await endpoints.begin(self._engine, creation)
        except Unreadable as error:
            raise _unreadable(error) from None
        accept(standing, creation.run_id)
        keys, now_s = await self._keys.all(), self._engine.clock.now_ms() // 1000
        told = output_claims(creation.run_id, now_s=now_s, life_s=int(OUTPUT_TOKEN_LIFE.total_seconds()))
        heard = stream_claims(
            creation.run_id,
            token_id=self._engine.token_id(),
            now_s=now_s,
            life_s=int(REALTIME_TOKEN_LIFE.total_seconds()),
        )
        begun = Begun(
            fn_id=function_uuid(creation.function_id),
            app_id=app_uuid(creation.app_id),
            run_id=creation.run_id,
            token=sign(told, keys[0]),
            realtime_token=sign(heard, keys[0]),
        )
        return plain(BegunAnswer(begun))

    async def steps(self, asked: Asked) -> Response:
        """An app reports of a run that it has begun."""
        run_id: str = asked.path["run_id"]
        try:
            report = endpoints.read_report(read_steps(asked.body, run_id), self._engine.clock.now_ms())
        except Unreadable as error:
            raise _unreadable(error) from None
        accept(await endpoints.tell(self._engine, run_id, report), run_id)
        return plain(ReportedAnswer(Reported(run_id)))

    async def output(self, asked: Asked) -> Response:
        """What a run has come to, once it has. Whoever asks shows the token that was given for this run."""
        run_id: str = asked.path["run_id"]
        await self._check_token(run_id, asked.query["token"] or "")
        run = await self._endings.wait(run_id, _WAIT_MS, asked.request.is_disconnected)
        if run is None:
            raise NotFound(f"there is no run {run_id}", "retention has removed it", "ask sooner")
        if not run.ended:
            said = {"status": "running", "message": "the run has not ended yet: ask again", "run_id": run_id}
            return Response(_encode(said), media_type="application/json", headers=_SHARED)
        found = endpoints.answer_of_run(self._engine, run)
        if found is not None:
            return Response(found.body, found.status, headers={**found.headers, **_SHARED, **_SANDBOX})
        if run.status == RunStatus.COMPLETED:
            body, status = run.output or b"null", 200
        else:
            body, status = run.output or _encode({"error": f"the run was {run.status.lower()}", "status": 500}), 500
        return Response(body, status, media_type="application/json", headers=_SHARED)

    async def _check_token(self, run_id: str, token: str) -> None:
        now = self._engine.clock.now_ms()
        for key in await self._keys.all():
            try:
                if may_read(read(token, key, now), run_id):
                    return
            except InvalidToken:
                continue
        raise Refused(401, "unauthorized", "the token is missing, wrong or too old", "", "use the address as it is")

    def _read_creation(self, asked: Asked) -> Creation:
        headers = asked.request.headers
        sdk = headers.get("x-inngest-sdk") or headers.get("user-agent", "")
        try:
            return read_creation(asked.body, sdk=sdk, bytes_max=self._engine.settings.event_bytes_max)
        except Unreadable as error:
            raise _unreadable(error) from None
        except EventTooLarge as error:
            raise Refused(413, error.slug, error.what, error.why, error.fix) from None


def accept(standing: Standing, run_id: str) -> None:
    """Raises ``Refused`` unless what was reported of this run is stored."""
    if standing is Standing.STORED:
        return
    if standing is Standing.TAKEN:
        raise Refused(409, "run-exists", f"there is another run {run_id}", "each run has an id of its own")
    if standing is Standing.STALE:
        raise Refused(
            409,
            "stale-run",
            f"the run {run_id} is not in the hands of whoever reports of it",
            "it has ended, another call has taken its place, or its app was silent until it was called again",
        )
    raise Refused(
        413,
        "state-too-large",
        "the result is too large, or all results of the run together are",
        "they are sent with each call; one may have 4 MiB, all together 32 MiB",
        "keep large results elsewhere, and give back where they are",
    )


def _unreadable(error: Unreadable) -> Refused:
    return Refused(400, "invalid-checkpoint", "the checkpoint cannot be read", str(error))


_encode: Final[Any] = msgspec.json.Encoder().encode

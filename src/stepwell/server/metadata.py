"""``POST /v1/runs/{id}/metadata``: something is to be known of a run (protocol §10.1)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response

from stepwell.engine.annotation import annotate
from stepwell.protocol.metadata import UnreadableMetadata, read_request
from stepwell.runtime.engine import Engine
from stepwell.server.desk import find_run
from stepwell.server.envelopes import v1
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.replies import Refused


class Noted(msgspec.Struct, frozen=True):
    """The run about which it is known now."""

    run_id: str


_WHETHER: Final = {"type": ["string", "null"]}
_NUMBER: Final = {"type": ["integer", "null"]}
_METADATA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["metadata"],
    "properties": {
        "target": {
            "type": "object",
            "properties": {
                "run_id": _WHETHER,
                "step_id": _WHETHER,
                "step_index": _NUMBER,
                "step_attempt": _NUMBER,
            },
        },
        "metadata": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["kind", "values"],
                "properties": {
                    "kind": {"type": "string", "minLength": 1},
                    "op": {"type": "string", "enum": ["set", "merge"]},
                    "values": {"type": "object"},
                },
            },
        },
    },
}


class Annotations:
    """The endpoint of an engine. A run may be told of after its end, too: scores come late."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Operation]:
        return [
            Operation(
                "POST",
                "/v1/runs/{run_id}/metadata",
                self.write,
                "says something about a run, one of its steps or an attempt",
                style=Style.V1,
                body=Opaque(schema=_METADATA),
                answer=Noted,
                refuses=[413],
            )
        ]

    async def write(self, asked: Asked) -> Response:
        engine = self._engine
        run = await find_run(engine, asked.path["run_id"])
        try:
            entries = read_request(asked.body, run.id)
        except UnreadableMetadata as error:
            fix = (
                'send {"target": {"run_id": …}, "metadata": [{"kind": "userland.default", "op": "set", "values": {…}}]}'
            )
            raise Refused(400, "invalid-metadata", "the metadata cannot be read", str(error), fix) from None
        verdict = await engine.commit(lambda draft: annotate(draft, run, entries))
        if verdict.result.value is not None:
            why = str(verdict.result.value)
            raise Refused(413, "metadata-too-large", "the metadata is not kept", why, "keep the bulk elsewhere")
        return v1(engine.clock, Noted(run.id))

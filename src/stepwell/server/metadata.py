"""``POST /v1/runs/{id}/metadata``: something is to be known of a run (protocol §10.1)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepwell.engine.annotation import annotate
from stepwell.protocol.metadata import UnreadableMetadata, read_request
from stepwell.runtime.engine import Engine
from stepwell.server.desk import find_run
from stepwell.server.envelopes import v1
from stepwell.server.guard import envelope
from stepwell.server.ingest import read_body
from stepwell.server.replies import Refused


class Annotations:
    """The endpoint of an engine. A run may be told of after its end, too: scores come late."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        return [Route("/v1/runs/{run_id}/metadata", self.write, methods=["POST"])]

    async def write(self, request: Request) -> Response:
        engine = self._engine
        run = await find_run(engine, request.path_params["run_id"])
        body = await read_body(envelope(request.scope["headers"]).length, request.receive)
        try:
            entries = read_request(body, run.id)
        except UnreadableMetadata as error:
            fix = (
                'send {"target": {"run_id": …}, "metadata": [{"kind": "userland.default", "op": "set", "values": {…}}]}'
            )
            raise Refused(400, "invalid-metadata", "the metadata cannot be read", str(error), fix) from None
        verdict = await engine.commit(lambda draft: annotate(draft, run, entries))
        if verdict.result.value is not None:
            why = str(verdict.result.value)
            raise Refused(413, "metadata-too-large", "the metadata is not kept", why, "keep the bulk elsewhere")
        return v1(engine.clock, {"run_id": run.id})

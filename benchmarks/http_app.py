"""The app of ``benchmarks.over_http``, of our SDK or of the official one: ``http_app SDK PORT SERVER_PORT``."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from stepwell import Context, Stepwell

STEPS = 5
ended: list[None] = []  # one for each run that this app has brought to its end


async def said(_: Any) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(len(ended))


def by_step(server: str) -> Any:
    return own(server, checkpointing=False)


def own(server: str, *, checkpointing: bool = True) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    app = Stepwell("bench")

    @app.create_function(id="five", trigger="bench/five")
    async def five(ctx: Context[dict[str, Any]]) -> int:
        for n in range(STEPS):
            await ctx.step.run(f"step {n}", body, n)
        ended.append(None)
        return STEPS

    async def body(n: int) -> int:
        return n

    serving = Route("/api/inngest", app.serve(dev=True, server=server, checkpointing=checkpointing))
    return Starlette(routes=[serving, Route("/ended", said)])


def official(server: str) -> Any:
    import fastapi
    import inngest
    import inngest.fast_api

    client = inngest.Inngest(
        app_id="bench", is_production=False, api_base_url=server, event_api_base_url=server, logger=None
    )

    async def body() -> int:
        return 1

    @client.create_function(fn_id="five", trigger=inngest.TriggerEvent(event="bench/five"))
    async def five(ctx: inngest.Context) -> int:
        for n in range(STEPS):
            await ctx.step.run(f"step {n}", body)
        ended.append(None)
        return STEPS

    site = fastapi.FastAPI()
    inngest.fast_api.serve(site, client, [five])
    site.add_route("/ended", said)
    return site


if __name__ == "__main__":
    sdk, port, server_port = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    site = {"own": own, "by-step": by_step, "official": official}[sdk](f"http://127.0.0.1:{server_port}")
    uvicorn.run(site, host="127.0.0.1", port=port, log_level="error", access_log=False)

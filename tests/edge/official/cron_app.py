"""Functions of the official Python SDK that the clock starts: ``python -m tests.edge.official.cron_app PORT``."""

from __future__ import annotations

import sys
import time
from typing import Any

import inngest

from tests.edge.official.python_app import note, serve

client = inngest.Inngest(app_id="py", logger=None)
TICKS: dict[str, tuple[str, str | None]] = {
    "new-york": ("TZ=America/New_York 0 3 * * *", None),
    "skipped": ("TZ=America/New_York 30 2 * * *", None),
    "paris": ("TZ=Europe/Paris 0 8 * * *", None),
    "utc": ("0 7 * * *", None),
    "tokyo": ("TZ=Asia/Tokyo 0 7 * * *", None),
    "jittered": ("0 7 * * *", "3s"),
}


async def tick(ctx: inngest.Context) -> object:
    event: Any = ctx.event
    note(
        "tick",
        of=event.data["cron"],
        run=ctx.run_id,
        at=time.time(),
        id=event.id,
        name=event.name,
        data=dict(event.data),
    )
    return event.data["scheduledAt"]


FUNCTIONS = [
    client.create_function(fn_id=id, trigger=inngest.TriggerCron(cron=cron, jitter=jitter))(tick)
    for id, (cron, jitter) in TICKS.items()
]

if __name__ == "__main__":
    serve("fastapi", int(sys.argv[1]), client, FUNCTIONS)

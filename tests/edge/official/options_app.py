"""An app for each option that the official Python SDK has for a function, each at a path of its own.

Run it as ``python -m tests.edge.official.options_app PORT``.
"""

from __future__ import annotations

import datetime
import sys
from typing import Any

import fastapi
import inngest
import inngest.fast_api
import uvicorn

ON = inngest.TriggerEvent(event="opt/go")
MINUTE = datetime.timedelta(minutes=1)
KEY = "event.data.key"


async def _on_failure(ctx: inngest.Context) -> None:
    pass


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "name": {"name": "With a name"},
    "no-retries": {"retries": 0},
    "retries": {"retries": 20},
    "cron": {"trigger": inngest.TriggerCron(cron="TZ=Europe/Paris 0 9 * * 1", jitter="30s")},
    "triggers": {
        "trigger": [ON, inngest.TriggerEvent(event="opt/*", expression="event.data.n > 1")],
    },
    "cancel": {"cancel": [inngest.Cancel(event="opt/stop", if_exp="event.data.id == async.data.id", timeout=MINUTE)]},
    "concurrency": {"concurrency": [inngest.Concurrency(limit=3, key="event.data.user", scope="env")]},
    "idempotency": {"idempotency": "event.data.id"},
    "timeouts": {"timeouts": inngest.Timeouts(start=MINUTE, finish=2 * MINUTE)},
    "on-failure": {"on_failure": _on_failure},
    "batch": {"batch_events": inngest.Batch(max_size=5, timeout=MINUTE)},
    "rate-limit": {"rate_limit": inngest.RateLimit(limit=1, period=MINUTE)},
    "throttle": {"throttle": inngest.Throttle(limit=1, period=MINUTE)},
    "debounce": {"debounce": inngest.Debounce(period=MINUTE)},
    "priority": {"priority": inngest.Priority(run="event.data.priority")},
    "singleton": {"singleton": inngest.Singleton(mode="skip")},
    "concurrency-two": {"concurrency": [inngest.Concurrency(limit=9), inngest.Concurrency(limit=1, key=KEY)]},
    "batch-whole": {"batch_events": inngest.Batch(max_size=5, timeout=MINUTE, key=KEY, if_exp="event.data.n > 1")},
    "rate-limit-whole": {"rate_limit": inngest.RateLimit(limit=3, period=MINUTE, key=KEY)},
    "throttle-whole": {"throttle": inngest.Throttle(limit=3, period=MINUTE, burst=4, key=KEY)},
    "debounce-whole": {"debounce": inngest.Debounce(period=MINUTE, timeout=2 * MINUTE, key=KEY)},
    "singleton-whole": {"singleton": inngest.Singleton(mode="cancel", key=KEY)},
}


def main(port: int) -> None:
    site = fastapi.FastAPI()
    for name, options in OPTIONS.items():
        client = inngest.Inngest(app_id=f"opt-{name}", logger=None)

        @client.create_function(fn_id="f", **{"trigger": ON, **options})
        async def function(ctx: inngest.Context) -> str:
            return "done"

        path = "/api/inngest" if name == "plain" else f"/api/{name}"
        inngest.fast_api.serve(site, client, [function], serve_path=path)
    uvicorn.run(site, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))

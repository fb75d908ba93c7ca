"""Apps of the official Python SDK, each with one option that no server can accept, and with a good one until then.

Run it as ``python -m tests.edge.official.bad_app PORT``. While there is a file ``bad`` in its directory, the bad ones
are served, with one function more; each app is at a path of its own.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import fastapi
import inngest
import inngest.fast_api
import uvicorn

ON = inngest.TriggerEvent(event="bad/go")
DAY = datetime.timedelta(days=1)
MINUTE = datetime.timedelta(minutes=1)
LIMIT = inngest.Concurrency
CRON = inngest.TriggerCron
BATCH = inngest.Batch(max_size=5, timeout=MINUTE)
STOP = inngest.Cancel(event="bad/stop")

BAD: dict[str, dict[str, Any]] = {
    "limit": {"concurrency": [LIMIT(limit=-1)]},
    "limits": {"concurrency": [LIMIT(limit=n) for n in (1, 2, 3)]},
    "scope": {"concurrency": [LIMIT(limit=1, scope="env")]},
    "condition": {"trigger": inngest.TriggerEvent(event="bad/go", expression="event.data.n >")},
    "pattern": {"trigger": inngest.TriggerEvent(event="bad/*/go")},
    "key": {"throttle": inngest.Throttle(limit=1, period=MINUTE, key="event.data.(")},
    "cron": {"trigger": CRON(cron="61 * * * *")},
    "seconds": {"trigger": CRON(cron="0 0 9 * * *")},
    "zone": {"trigger": CRON(cron="TZ=Mars/Olympus 0 9 * * *")},
    "jitter": {"trigger": CRON(cron="0 9 * * *", jitter="10m")},
    "twice": {"trigger": [CRON(cron="0 9 * * *"), CRON(cron="0 9 * * *")]},
    "triggers": {"trigger": [inngest.TriggerEvent(event=f"bad/{n}") for n in range(11)]},
    "cancels": {"cancel": [inngest.Cancel(event=f"bad/{n}") for n in range(6)]},
    "cancel-if": {"cancel": [inngest.Cancel(event="bad/stop", if_exp="async.data.list.exists(x, x == 1)")]},
    "throttle": {"throttle": inngest.Throttle(limit=1, period=8 * DAY)},
    "rate": {"rate_limit": inngest.RateLimit(limit=1, period=2 * DAY)},
    "rate-limit": {"rate_limit": inngest.RateLimit(limit=0, period=MINUTE)},
    "debounce": {"debounce": inngest.Debounce(period=8 * DAY)},
    "batch": {"batch_events": inngest.Batch(max_size=1_000, timeout=MINUTE)},
    "priority": {"priority": inngest.Priority(run="event.data.(")},
    "batch-and-some": {
        "batch_events": BATCH,
        "debounce": inngest.Debounce(period=MINUTE),
        "rate_limit": inngest.RateLimit(limit=1, period=MINUTE),
        "singleton": inngest.Singleton(mode="skip"),
        "cancel": [STOP],
        "priority": inngest.Priority(run="1"),
    },
    "batch-and-idempotency": {"batch_events": BATCH, "idempotency": "event.data.id"},
    "many": {"concurrency": [LIMIT(limit=-1)], "debounce": inngest.Debounce(period=8 * DAY)},
}


async def done(ctx: inngest.Context) -> str:
    return "done"


def main(port: int) -> None:
    good, bad = fastapi.FastAPI(), fastapi.FastAPI()
    for name, options in BAD.items():
        path = "/api/inngest" if name == "limit" else f"/api/{name}"
        for site, given in ((good, [{}]), (bad, [options, {"trigger": CRON(cron="never")} if name == "many" else {}])):
            client = inngest.Inngest(app_id=f"bad-{name}", logger=None)
            functions = [
                client.create_function(fn_id=id, **{"trigger": ON, **each})(done)
                for id, each in zip(("f", "new"), given, strict=False)
            ]
            inngest.fast_api.serve(site, client, functions, serve_path=path)

    flag = Path("bad").exists

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await (bad if flag() else good)(scope, receive, send)

    uvicorn.run(either, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(int(sys.argv[1]))

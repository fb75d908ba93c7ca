"""What this process tells the dashboard of itself."""

from __future__ import annotations

from stepwell.dashboard.source import Here, Pulse
from stepwell.runtime.engine import Engine
from stepwell.runtime.health import health_of


def here(engine: Engine) -> Here:
    async def health() -> Pulse:
        found = await health_of(engine, count=False)
        return Pulse(found.healthy, found.why)

    return Here(health)

"""Who uses the slots of a limit, and what they do."""

from __future__ import annotations

from typing import Final

from stepwell.engine.ending import lock_owner
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import GetItem, GetRun, SlotHolders
from stepwell.views.nouns import Reader, moment
from stepwell.views.queues.shapes import HolderView
from stepwell.views.trace import Bodies

HOLDERS_SHOWN: Final = 5


async def holders(reader: Reader, key: str, bodies: Bodies, limit: int = HOLDERS_SHOWN) -> list[HolderView]:
    """Who uses the slots of a key: the first so many. ``bodies`` are those that execute in this process."""
    return [await _holder(reader, holder, bodies) for holder in await reader.read(SlotHolders(key, limit, EVERYWHERE))]


async def _holder(reader: Reader, holder: str, bodies: Bodies) -> HolderView:
    run_id = lock_owner(holder).partition("/")[0]
    run, item = await reader.read(GetRun(run_id)), await reader.read(GetItem(run_id))
    found = list(bodies(run_id).values())
    since = min((body.started_at for body in found), default=run.started_at if run is not None else None)
    return HolderView(
        run_id=run_id,
        function_id=run.function_id if run is not None else None,
        step=", ".join(body.name for body in found) or None,
        since=moment(since),
        until=moment(item.at) if item is not None and item.lease else None,
    )

"""Steps that an app reports while a call of it goes on (protocol §8.2, ADR 0019)."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.engine.reports import Standing, checkpoint, too_large
from stepwell.protocol.codec import Unreadable
from stepwell.protocol.instructions import UnknownOp, instruction
from stepwell.protocol.messages import Op, Superseded
from stepwell.runtime.engine import Engine


async def store(engine: Engine, run_id: str, token: int, ops: Sequence[Op]) -> Standing:
    """Make them durable, whichever process makes the call. Raises ``Unreadable``.

    The call is this process's if it runs all that runs. Else whoever makes it knows of them before the app does: the
    next request of the call must not lack what the app was told is stored.
    """
    try:
        given = [instruction(op) for op in ops]
    except UnknownOp as error:
        raise Unreadable(str(error)) from None
    live = engine.caller.live.get(run_id)
    # A call that goes on here although its lease has run out says nothing of the one that a peer makes meanwhile.
    if live is not None and live.leased.lease.token == token:
        await live.hear()  # of what it has reported elsewhere before
        if live.lost:
            return Standing.STALE
        if too_large(live.leased, given):
            return Standing.TOO_LARGE
        try:
            await live.report(ops, None)
        except Superseded:
            return Standing.STALE
        return Standing.STORED
    if engine.alone:
        return Standing.STALE
    verdict = await engine.commit(lambda draft: checkpoint(draft, run_id, token, given))
    standing: Standing = verdict.result.value if verdict.held else Standing.STALE
    if standing is Standing.STORED:
        await engine.until_seen()
    return standing

"""One request to an app and what it answered; durable endpoints are asked in a form of their own."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stepwell.clock import Clock
from stepwell.protocol.codec import Unreadable, decode_answer
from stepwell.protocol.endpoints import reentry
from stepwell.protocol.messages import Answer, Call, Failed, WireError
from stepwell.protocol.signing import HEADER
from stepwell.runtime.outbound import Unreachable
from stepwell.runtime.signed import Signed


async def asked(
    outbound: Signed,
    clock: Clock,
    call: Call,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    signed: bytes | None = None,
) -> Answer:
    """Make this request for a call. Whatever goes wrong is a failed attempt."""
    now = clock.now_ms()
    try:
        reply = await outbound.request(method, url, headers, body, signed=signed)
    except Unreachable as error:
        return Failed(WireError("Error", f"the app could not be called: {error}", code=error.code), started_at=now)
    believed = outbound.believable(reply)
    if believed is None:
        return Failed(WireError("Error", "the app's answer is not signed with our key"), started_at=now)
    answer = decode_answer(
        believed.status, believed.headers, believed.body, now=clock.now_ms(), attempt=call.attempt, called_at=now
    )
    return msgspec.structs.replace(answer, started_at=now) if isinstance(answer, Failed) else answer


async def ask_endpoint(outbound: Signed, call: Call, request_id: str, clock: Clock) -> Answer:
    """Call a durable endpoint again: with the request of its user, and what else it has to know in the headers.

    There is no room for memos, which its SDK fetches (protocol §8.4).
    """
    try:
        again = reentry(call.events[0].data, call.endpoint or "")
    except Unreadable as error:  # no attempt would change what is in the event
        return Failed(WireError("Error", f"the endpoint cannot be called again: {error}"), no_retry=True)
    headers = {
        **again.headers,
        HEADER: "",  # its presence is how an SDK knows us, also where nothing is signed
        "X-Run-ID": call.run_id,
        "X-Request-ID": request_id,
        "X-Inngest-Req-Version": str(call.version),
    }
    if call.step_id != "step":
        headers["X-Inngest-Step-ID"] = call.step_id
    if call.plans_only:
        headers["X-Inngest-Force-Step-Plan"] = "true"
    return await asked(outbound, clock, call, again.method, again.url, headers, again.body, signed=again.signed)

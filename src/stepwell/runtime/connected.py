"""A call to an app whose worker has connected to us, and its answer as one over HTTP would be (protocol §11.4, 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from stepwell.limits import ANSWER_BYTES_MAX
from stepwell.model.function import app_uuid, function_uuid
from stepwell.protocol.codec import decode_answer, encode_call
from stepwell.protocol.connect import ExecutorRequest, Status, WorkerReply
from stepwell.protocol.messages import Answer, Call, Failed, WireError
from stepwell.runtime.workers import NotAnswered, Workers

Stored = Callable[[], None]
"""What to do when an answer is written down."""

_STATUS: Final[dict[int, int]] = {Status.NOT_COMPLETED: 206, Status.DONE: 200, Status.ERROR: 500}
_BAD_REQUEST: Final = 400
_EMPTY: Final = b"{}"  # no trace to go on with
_decode_error: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def ask_worker(workers: Workers, call: Call, app_id: str, now: Callable[[], int]) -> tuple[Answer, Stored | None]:
    """One request. An answer that came is to be acknowledged once it is written down. Raises ``LeaseLost``."""
    called_at = now()
    request = ExecutorRequest(
        request_id=call.request_id,
        app_id=app_uuid(app_id),
        app_name=app_id,
        function_id=function_uuid(call.function_id),
        function_slug=call.function_id,
        step_id=call.step_id,
        request_payload=encode_call(call),
        system_trace_ctx=_EMPTY,
        user_trace_ctx=_EMPTY,
        run_id=call.run_id,
        job_id=call.run_id,
    )
    try:
        reply, stored = await workers.ask(request)
    except NotAnswered as error:
        failed = Failed(WireError("Error", f"the call failed: {error}", code=error.code), started_at=called_at)
        return failed, None
    if len(reply.body) > ANSWER_BYTES_MAX:  # by a frame it would not have come, but over HTTP more gets in
        what = f"the call failed: the answer is larger than {ANSWER_BYTES_MAX:,} bytes"
        return Failed(WireError("Error", what, code="output_too_large"), started_at=called_at), stored
    status, headers = _as_over_http(reply)
    answer = decode_answer(status, headers, reply.body, now=now(), attempt=call.attempt, called_at=called_at)
    if isinstance(answer, Failed):
        answer = msgspec.structs.replace(answer, started_at=called_at)
    return answer, stored


def _as_over_http(reply: WorkerReply) -> tuple[int, dict[str, str]]:
    status = _STATUS.get(reply.status, 500)
    if status == 200 and reply.no_retry and _is_error(reply.body):
        status = _BAD_REQUEST  # JavaScript has no word for it (protocol §11.3)
    headers = {
        "x-inngest-sdk": reply.sdk_version or "connect",
        "x-inngest-no-retry": "true" if reply.no_retry else "false",
        "x-inngest-req-version": str(reply.request_version),
    }
    if reply.retry_after:
        headers["retry-after"] = reply.retry_after
    return status, headers


def _is_error(body: bytes) -> bool:
    try:
        members = _decode_error(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return {"name", "message"} <= members.keys()

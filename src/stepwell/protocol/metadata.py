"""Metadata as the wire has it: in ops (protocol §6.1) and in requests (§10.1)."""

from __future__ import annotations

from typing import Final

import msgspec

from stepwell.limits import METADATA_KIND_BYTES_MAX
from stepwell.model.metadata import EVERY_ATTEMPT, RUN, Entry

_SCOPES: Final = ("run", "step", "step_attempt", "extended_trace")


class UnreadableMetadata(ValueError):
    """Nobody can tell what is to be kept."""


class _Entry(msgspec.Struct):
    kind: str
    values: msgspec.Raw
    op: str = "set"
    scope: str = "step"


class _Target(msgspec.Struct):
    run_id: str | None = None
    step_id: str | None = None
    step_index: int | None = None
    step_attempt: int | None = None


class _Request(msgspec.Struct):
    metadata: list[_Entry]
    target: _Target = msgspec.field(default_factory=_Target)


_decode_entries: Final = msgspec.json.Decoder(list[_Entry]).decode
_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_of_step(text: bytes, step_id: str, attempt: int) -> tuple[Entry, ...]:
    """What came with a step. Raises ``UnreadableMetadata``."""
    try:
        found = _decode_entries(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableMetadata(str(error)) from None
    return tuple(
        _entry(
            one,
            RUN if one.scope == "run" else step_id,
            attempt=attempt if one.scope == "step_attempt" else EVERY_ATTEMPT,
        )
        for one in found
    )


def read_request(body: bytes, run_id: str) -> tuple[Entry, ...]:
    """What is to be known of a run. Raises ``UnreadableMetadata``."""
    try:
        found = _decode_request(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableMetadata(str(error)) from None
    target = found.target
    if target.run_id not in (None, run_id):
        raise UnreadableMetadata(f"the target is another run, {target.run_id!r:.80}")
    attempt = EVERY_ATTEMPT if target.step_attempt is None or not target.step_id else target.step_attempt
    if attempt < EVERY_ATTEMPT:
        raise UnreadableMetadata("attempts are counted from 0")
    return tuple(_entry(one, target.step_id or RUN, target.step_index or 0, attempt) for one in found.metadata)


def _entry(one: _Entry, step_id: str, repeat: int = 0, attempt: int = EVERY_ATTEMPT) -> Entry:
    if not one.kind or len(one.kind.encode()) > METADATA_KIND_BYTES_MAX:
        raise UnreadableMetadata(f"a kind has 1 to {METADATA_KIND_BYTES_MAX} bytes")
    if one.op not in ("set", "merge"):
        raise UnreadableMetadata(f"there is no op {one.op!r:.80}: it is 'set' or 'merge'")
    if one.scope not in _SCOPES:
        raise UnreadableMetadata(f"there is no scope {one.scope!r:.80}: it is one of {', '.join(_SCOPES)}")
    values = bytes(one.values)
    try:
        _decode_object(values)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UnreadableMetadata(f"the values of {one.kind!r} are no JSON object") from None
    return Entry(kind=one.kind, values=values, merge=one.op == "merge", step_id=step_id, repeat=repeat, attempt=attempt)

"""What people change about a run when they start it again: the data of its event, and what its steps are given."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from stepwell.engine.again import FromStep
from stepwell.errors import ConfigurationError
from stepwell.limits import STEP_BYTES_MAX
from stepwell.model.questions import GetEvent, GetRun
from stepwell.protocol.events import Incoming, validate_incoming
from stepwell.runtime.engine import Engine

_NAME: Final = "edited"  # names of ours are reserved, and the event keeps the one that it has
_OURS: Final = "_inngest"  # where an event came from and goes to, which no sender may say

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def edit(engine: Engine, run_id: str, data: bytes | None, merge: bytes | None) -> bytes | None:
    """The data of the event of a run as they are to be, checked like those of an event that is sent. ``None`` if the
    run is not there. Raises ``ConfigurationError`` and ``InvalidEvent``."""
    if data is not None and merge is not None:
        raise ConfigurationError(
            "new data and a patch are given",
            "data take the place of those of the event, and a patch changes those",
            "give one of the two",
        )
    run = await engine.store.read(GetRun(run_id))
    event = await engine.store.read(GetEvent(run.event_id, run.place)) if run is not None else None
    if event is None:
        return None
    text = data if data is not None else _patched(event.data, merge or b"{}")
    bytes_max = engine.settings.event_bytes_max
    found = validate_incoming(Incoming(name=_NAME, data=text), bytes_max=bytes_max).data
    ours = _members(event.data).get(_OURS)
    return found if ours is None else _encode({**_members(found), _OURS: ours})


def check_values(from_step: FromStep) -> None:
    """Raises ``ConfigurationError`` for what is no input and for an output that no step may have."""
    if from_step.input is not None:
        try:
            msgspec.json.decode(from_step.input, type=list[Any])
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"the input of step {from_step.step!r} cannot be read",
                f"it is a JSON array, of the arguments of the step's body: {error}",
                'write it like [1, "two"]; for a request like [{"model": "small"}]',
            ) from None
    for name, value in (("the input", from_step.input or b""), *from_step.outputs.items()):
        if len(value) > STEP_BYTES_MAX:
            raise ConfigurationError(
                f"{name!r} has {len(value):,} bytes",
                f"the limit is {STEP_BYTES_MAX:,} bytes, as for what a step gives",
                "keep what is large elsewhere, and give its address",
            )


def _patched(data: bytes, merge: bytes) -> bytes:
    try:
        patch = _decode(merge)
    except msgspec.MsgspecError as error:
        raise ConfigurationError("the patch cannot be read", str(error), "give a JSON object") from None
    if not isinstance(patch, dict):
        raise ConfigurationError(
            "the patch is no object", "the data of an event are an object", "give a JSON object, or new data"
        )
    return _encode(merged(_decode(data), patch))


def merged(value: Any, patch: Any) -> Any:
    """A JSON value with a merge patch applied (RFC 7396): members that are ``null`` are removed."""
    if not isinstance(patch, dict):
        return patch
    found = dict(cast("dict[str, Any]", value)) if isinstance(value, dict) else dict[str, Any]()
    for name, new in cast("dict[str, Any]", patch).items():
        if new is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), new)
    return found

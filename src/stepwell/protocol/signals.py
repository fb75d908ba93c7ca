"""Signals on their way in: ``POST /v1/signals``, and what apps send in the process of the engine (protocol §10.1)."""

from __future__ import annotations

from typing import Final

import msgspec

from stepwell.errors import InvalidSignal
from stepwell.limits import SIGNAL_BYTES_MAX

_FIX: Final = 'send {"signal": "…", "data": …}'
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Signal(msgspec.Struct, frozen=True):
    """A signal that was checked. ``data`` is JSON text."""

    name: str
    data: bytes


class _Wire(msgspec.Struct):
    signal: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode: Final = msgspec.json.Decoder(_Wire).decode
_decode_any: Final = msgspec.json.Decoder().decode


def read_signal(body: bytes, *, bytes_max: int) -> Signal:
    """The signal of a request. Raises ``InvalidSignal``."""
    try:
        found = _decode(body)
        _decode_any(bytes(found.data))
    except _UNREADABLE as error:
        raise InvalidSignal("the request holds no signal", str(error), _FIX) from None
    return checked_signal(found.signal, bytes(found.data), bytes_max=bytes_max)


def checked_signal(name: object, data: bytes, *, bytes_max: int) -> Signal:
    """Raises ``InvalidSignal``."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidSignal(f"the signal has the name {name!r:.80}", "whoever waits for it is found by it", _FIX)
    if not name.isprintable():
        why = "control characters and broken Unicode look like other text or break databases"
        raise InvalidSignal(f"the signal has the name {name!r:.80}", why, "use letters, digits and punctuation")
    if (size := len(name.encode())) > SIGNAL_BYTES_MAX:
        raise InvalidSignal(
            f"the signal has {size} bytes in its name", f"the limit is {SIGNAL_BYTES_MAX}", "shorten it"
        )
    if len(data) > bytes_max:
        raise InvalidSignal(
            f"signal {name!r:.80} has {len(data):,} bytes of data",
            f"they are in every further call of the run; the limit is {bytes_max:,} bytes, as for events",
            "store the bulk elsewhere and send its address",
        )
    return Signal(name, data)

"""What the steps that rest are made of on the wire: options as JSON text (protocol §6.2)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha1
from typing import Any, Final

import msgspec

from stepwell import clock
from stepwell.errors import ConfigurationError
from stepwell.ids import is_ulid, ulid_ms
from stepwell.model.duration import to_ms
from stepwell.protocol.messages import Call
from stepwell.sdk.codec import encode
from stepwell.sdk.events import event_name
from stepwell.sdk.options import Duration, condition

_encode: Final = msgspec.json.Encoder().encode


def sleep_opts(duration: Duration) -> bytes:
    """Less than nothing is nothing: code that works out what is left may find that it is late. Raises
    ``InvalidDuration``."""
    return b'{"duration_ms":%d}' % max(0, to_ms(duration))


def sleep_until_opts(moment: datetime) -> bytes:
    if not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"sleep_until got {moment!r}",
            why="it rests until a moment",
            fix='pass a datetime; for a length of time use ctx.step.sleep("id", "1h")',
        )
    return b'{"until_ms":%d}' % clock.to_ms(moment)


def wait_opts(
    event: str | type,
    match: str | None,
    if_: str | None,
    timeout: Duration | datetime,
    lookback: Duration | None,
) -> bytes:
    name = event_name(event)
    if "*" in name:
        raise ConfigurationError(
            what=f"a wait for {name!r}",
            why="a wait looks up one event name; patterns are for triggers",
            fix="name the event, and wait for several in parallel branches",
        )
    opts: dict[str, Any] = {"event": name}
    expression = condition(if_, match)
    if expression is not None:
        opts["if"] = expression
    if isinstance(timeout, datetime):
        opts["until_ms"] = clock.to_ms(timeout)
    else:
        opts["timeout_ms"] = _length("timeout", timeout)
    if lookback == "run":
        opts["lookback"] = "run"
    elif lookback is not None:
        opts["lookback_ms"] = _length("lookback", lookback)
    return _encode(opts)


def signal_opts(signal: str, timeout: Duration | datetime, on_conflict: str) -> bytes:
    if not isinstance(signal, str) or not signal.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"a wait for the signal {signal!r:.80}",
            why="whoever sends it names it",
            fix='give it a name, as in ctx.step.wait_for_signal("approval", "order-7/approved", timeout="3d")',
        )
    if on_conflict not in ("fail", "replace"):
        raise ConfigurationError(
            what=f"on_conflict is {on_conflict!r:.80}",
            why="it says what becomes of a run that waits for the same signal already",
            fix="give 'fail', so that this run fails, or 'replace', so that it takes the name over",
        )
    opts: dict[str, Any] = {"signal": signal, "conflict": on_conflict}
    if isinstance(timeout, datetime):
        opts["until_ms"] = clock.to_ms(timeout)
    else:
        opts["timeout_ms"] = _length("timeout", timeout)
    return _encode(opts)


def target(function: object) -> str:
    """The full id of a function that is to be invoked."""
    function_id = getattr(function, "id", None)
    if isinstance(function_id, str):
        return function_id
    fix = f"write invoke_by_id(…, {function!r:.40})" if isinstance(function, str) else "pass the decorated function"
    raise ConfigurationError(
        what=f"{function!r:.80} is not a function that can be invoked",
        why="a run is started of what @app.create_function gives",
        fix=fix,
    )


def target_by_id(app_id: object, function_id: object) -> str:
    """The full id of a function of which only the two ids are known."""
    for what, given in (("app_id", app_id), ("function_id", function_id)):
        if not isinstance(given, str) or not given.strip():
            raise ConfigurationError(
                what=f"invoke_by_id got {what}={given!r:.80}",
                why="a function is found by the id of its app and its own id",
                fix='give both as text, as in invoke_by_id("report", "monthly", app_id="reports")',
            )
    return f"{app_id}-{function_id}"


def invoke_opts(
    function_id: str, data: object, timeout: Duration | None, cancel_child: bool, sessions: Mapping[str, str]
) -> bytes:
    text = b"{}" if data is None else encode(data, "data")
    if not text.startswith(b"{"):
        raise ConfigurationError(
            what=f"{function_id!r} is invoked with data of type {type(data).__name__}",
            why="data becomes the data of an event, which is a JSON object",
            fix='wrap it, as in data={"value": …}',
        )
    opts: dict[str, Any] = {"function_id": function_id, "data": msgspec.Raw(text)}
    if timeout is not None:
        opts["timeout_ms"] = _length("timeout", timeout)
    if cancel_child:
        opts["cancel_child"] = True
    if sessions:
        opts["meta"] = {"propagated_sessions": sessions}
    return _encode(opts)


def seed(call: Call, step_id: str) -> str:
    """The seed of the events of a step: the same in every attempt, so they are accepted once (protocol §9.3)."""
    entropy = sha1((call.run_id + step_id).encode(), usedforsecurity=False).digest()[:10]
    millis = call.started_at or (ulid_ms(call.run_id) if is_ulid(call.run_id) else 1)
    return f"{millis},{b64encode(entropy).decode()}"


def _length(name: str, duration: Duration) -> int:
    ms = to_ms(duration)
    if ms < 0:
        raise ConfigurationError(
            what=f"{name} is {duration!r}", why="a length of time cannot be negative here", fix="give 0 or more"
        )
    return ms

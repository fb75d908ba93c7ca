"""What the name of a backlog says: what its runs wait for, and whose they are (``engine/admission.py``)."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from stepwell.engine.admission import paused, ready, unserved
from stepwell.engine.pressure import PREFIX, whole
from stepwell.flow import Concurrency, RunConcurrency, Throttle
from stepwell.flow.keys import owned, owner, within
from stepwell.model.function import Function

By = Literal["concurrency", "run-concurrency", "throttle", "back-pressure", "paused", "unserved", "room", "other"]
Scope = Literal["fn", "env", "account"]

ALL: Final = ("", "\x7f")  # names begin with ASCII
_WHOLE: Final[dict[str, By]] = {paused(""): "paused", unserved(""): "unserved", ready(""): "room"}
_SCOPES: Final[tuple[Scope, ...]] = ("env", "account")


class Named(NamedTuple):
    """``function_id`` is ``None`` if functions share it, ``value`` if there is but one key."""

    by: By
    scope: Scope
    function_id: str | None
    value: str | None


def named(name: str) -> Named:
    """What is said by the name of a backlog."""
    for prefix, by in _WHOLE.items():
        if name.startswith(prefix):
            return Named(by, "fn", name.removeprefix(prefix), None)
    if name.startswith(PREFIX):
        queue = name.removeprefix(PREFIX)
        if queue.startswith(whole("")):
            return Named("back-pressure", "fn", owned(queue.removeprefix(whole(""))), None)
        _, scope, function_id, value = named(queue)
        return Named("back-pressure", scope, function_id, value)
    if name.startswith("throttle/"):
        _, function, value = name.split("/", 2)
        return Named("throttle", "fn", owned(function), value)
    slot = name.removeprefix("run/")
    by = "concurrency" if slot == name else "run-concurrency"
    for scope in _SCOPES:
        if slot.startswith(f"{scope}/"):
            return Named(by, scope, None, slot.removeprefix(f"{scope}/"))
    if not slot.startswith("fn/"):
        return Named("other", "fn", None, name)
    _, function, *rest = slot.split("/", 3)
    return Named(by, "fn", owned(function), rest[1] if len(rest) > 1 else None)


def ranges(function_id: str, function: Function | None) -> list[tuple[str, str]]:
    """Where the backlogs are that runs of a function can be in, but for what it shared under older configurations."""
    own = owner(function_id)
    found = [within(text) for part in ("fn/", "run/fn/") for text in (f"{part}{own}", f"{part}{own}/")]
    found.append(within(f"throttle/{own}/"))
    found.append(within(f"{PREFIX}{whole(function_id)}"))
    found += [within(f"{PREFIX}{part}/{own}/") for part in ("fn", "throttle")]
    found += [(name, f"{name}\x01") for name in (f"{prefix}{function_id}" for prefix in _WHOLE)]
    if function is not None:
        shared = {
            control.prefix(function_id)
            for control in function.controls
            if isinstance(control, Concurrency | RunConcurrency) and control.scope != "fn"
        }
        found += [within(text) for prefix in sorted(shared) for text in (prefix, f"{PREFIX}{prefix}")]
    return found


def limit_of(name: str, function: Function | None) -> Concurrency | RunConcurrency | Throttle | None:
    """The control of a function that fills this backlog, or whose key it has, if it still has it."""
    if function is None:
        return None
    name = name.removeprefix(PREFIX)
    for control in function.controls:
        if isinstance(control, Concurrency | RunConcurrency | Throttle):
            first, last = within(control.prefix(function.id))
            if first <= name < last and (control.key is not None or name == first):
                return control
    return None

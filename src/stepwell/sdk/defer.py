"""``ctx.defer``: a function is put off until the run ends (semantics §5.11, protocol §6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.errors import ConfigurationError, InvalidOutput
from stepwell.ids import hashed
from stepwell.model.event import DEFERRED
from stepwell.protocol.messages import DEFER_ABORT, DEFER_ADD, Op
from stepwell.sdk.codec import encode, mismatch
from stepwell.sdk.execution import DEFER, Execution

if TYPE_CHECKING:
    from stepwell.sdk.function import DeferredFunction

_encode: Final = msgspec.json.Encoder().encode


class Deferred:
    """A function that is to start when the run has ended."""

    __slots__ = ("_execution", "_function_id", "_hashed", "_name")

    def __init__(self, execution: Execution, name: str, function_id: str) -> None:
        self._execution = execution
        self._name = name
        self._function_id = function_id
        self._hashed = hashed(name, 0)

    def abort(self) -> None:
        """Do not start it after all. That is for good: the run cannot put it off again under this id."""
        execution = self._execution
        if execution.call.defers.get(self._hashed) is False or self._hashed in execution.aborted:
            return
        execution.aborted.add(self._hashed)
        opts = _encode({"target_hashed_id": self._hashed, "fn_slug": self._function_id, "id": self._name})
        execution.lazy.append(
            Op(op=DEFER_ABORT, id=hashed(f"{self._hashed}:abort", 0), name=self._name, kind=DEFER, opts=opts)
        )


def defer(execution: Execution, name: str, function: DeferredFunction[Any, Any], data: object) -> Deferred:
    """Put it off, unless the run has done so already. Raises ``ConfigurationError``."""
    from stepwell.sdk.function import DeferredFunction  # which knows of contexts, which know of us

    if not isinstance(function, DeferredFunction):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"{function!r:.80} cannot be put off",
            why="a run puts off what @app.create_defer gives",
            fix="declare it with @app.create_defer(id=…), or start it now: ctx.step.invoke, ctx.step.send_event",
        )
    if not isinstance(name, str) or not name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"{name!r:.80} is not the id of what is put off",
            why="a run that is called again knows by it that this was said before",
            fix='name it, as in ctx.defer("receipt", function=receipt, data=…)',
        )
    found = Deferred(execution, name, function.id)
    key = hashed(name, 0)
    running = execution.running
    place = (running.step.id, running.attempt) if running is not None else ("", 0)
    before = execution.put_off.get(key)
    # A body that is tried again says again what it has said.
    if before is not None and (before == place or before[0] != place[0]):
        raise ConfigurationError(
            what=f"{name!r} is put off a second time in this run",
            why="it is remembered by its id, which is not counted as those of steps are",
            fix=f'give each an id of its own, such as f"{name}-{{item.id}}"',
        )
    execution.put_off[key] = place
    if key not in execution.call.defers and before is None:
        text, problem = _input(function, data)
        opts: dict[str, Any] = {"fn_slug": function.id, "input": msgspec.Raw(text)}
        if problem is not None:
            opts["problem"] = problem
        if execution.sessions:
            opts["meta"] = {"propagated_sessions": execution.sessions}
        execution.lazy.append(Op(op=DEFER_ADD, id=key, name=name, kind=DEFER, opts=_encode(opts)))
    return found


def _input(function: DeferredFunction[Any, Any], data: object) -> tuple[bytes, str | None]:
    """The data as JSON text, and what is wrong with it: the run notes that and goes on without (semantics §5.11)."""
    try:
        text = b"{}" if data is None else encode(data, "data")
    except InvalidOutput as error:
        return b"{}", f"its data cannot be written as JSON: {error.what}"
    if not text.startswith(b"{"):
        return b"{}", f"its data is of type {type(data).__name__}, and no JSON object"
    try:
        function.decode(DEFERRED)(text)
    except Exception as error:
        return b"{}", f"its data is not what {function.id} takes: {mismatch(error, 'data')}"
    return text, None

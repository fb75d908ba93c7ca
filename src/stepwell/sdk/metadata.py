"""What a run says about itself and its steps, for people and for later questions (semantics §5.10)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from stepwell.errors import ConfigurationError, NotRunning
from stepwell.limits import METADATA_KIND_BYTES_MAX
from stepwell.protocol.messages import Op
from stepwell.sdk.codec import encode
from stepwell.sdk.execution import Execution, Running
from stepwell.sdk.lines import take_lines

_SCOPES: Final = {"step": "step", "attempt": "step_attempt", "run": "run"}
_SCORE: Final = "inngest.score"

_encode: Final = msgspec.json.Encoder().encode


def metadata_entry(values: Mapping[str, Any], kind: str, target: str) -> dict[str, Any]:
    """One entry as the wire has it. Raises ``ConfigurationError``."""
    if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"metadata is {values!r:.80}", why="it is values by their names", fix='give a dict, {"tokens": 7}'
        )
    if not isinstance(kind, str) or not 0 < len(f"userland.{kind}".encode()) <= METADATA_KIND_BYTES_MAX or not kind:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"the kind of metadata is {kind!r:.80}",
            why=f"what is said takes the place of what was said of its kind; with userland. before it, it has at most "
            f"{METADATA_KIND_BYTES_MAX} bytes",
            fix='name it, as in kind="progress"',
        )
    if target not in _SCOPES:
        raise ConfigurationError(
            what=f"the target of metadata is {target!r:.80}",
            why="it is what is spoken of",
            fix=f"give one of {', '.join(map(repr, _SCOPES))}",
        )
    text = encode(dict(values), "metadata")
    return {"kind": f"userland.{kind}", "scope": _SCOPES[target], "op": "set", "values": msgspec.Raw(text)}


def score_entry(name: str, value: float | bool) -> dict[str, Any]:
    """A score as the wire has it. Raises ``ConfigurationError``."""
    if not isinstance(name, str) or not name.strip() or len(name.encode()) > METADATA_KIND_BYTES_MAX:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"a score is called {name!r:.80}",
            why=f"it is found by its name, of 1 to {METADATA_KIND_BYTES_MAX} bytes",
            fix='name it, as in ctx.step.score("judge", "accuracy", 0.9)',
        )
    if not isinstance(value, int | float) or not isfinite(value):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"the score {name!r:.80} is {value!r:.80}",
            why="a score is a finite number, or true or false",
            fix="leave it out where there is none",
        )
    return {"kind": _SCORE, "scope": "run", "op": "merge", "values": {name: {"value": value}}}


def say(execution: Execution, values: Mapping[str, Any], kind: str, target: str) -> None:
    """Say it with the step whose body runs now. Raises ``NotRunning`` and ``ConfigurationError``."""
    running = execution.running
    if running is None:
        raise NotRunning(
            what="ctx.metadata speaks of a step, and no step body is running",
            why="outside of steps it would be said again each time the function is called",
            fix='write await ctx.step.metadata("id", {…}), or call it inside the function you give to ctx.step.run',
        )
    _keep(running, metadata_entry(values, kind, target))


async def add(execution: Execution, entry: dict[str, Any]) -> None:
    """The body of a step that says something."""
    running = execution.running
    assert running is not None, "this is the body of a step"
    _keep(running, entry)


def _keep(running: Running, entry: dict[str, Any]) -> None:
    if running.metadata is None:
        running.metadata = []
    running.metadata.append(entry)


def annotated(op: Op, running: Running | None) -> Op:
    """The op of a step with what its body has said, and what it has logged and was not told yet."""
    if running is None or (not running.metadata and running.lines is None):
        return op
    return msgspec.structs.replace(
        op,
        metadata=_encode(running.metadata) if running.metadata else None,
        logs=take_lines(running),
    )

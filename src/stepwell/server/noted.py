"""Which requests are noted as what a person did, and in which words: one table over all that change something
(ADR 0048)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple

import msgspec

from stepwell.runtime.acting import Actor, described
from stepwell.runtime.engine import Engine
from stepwell.server.guard import Guard, Headers
from stepwell.server.operations import Asked, Operation

API: Final = "api"
CLI: Final = "cli"
_AGENT: Final = b"stepwell-cli/"
_REQUEST_CHARS_MAX: Final = 128


class Noted(NamedTuple):
    """``action`` is what the log says. What ``programs`` ask for as a matter of course is noted if a person at a
    command line does; what it makes, an event or a run, says where it came from."""

    action: str
    programs: bool = False


_OPERATORS: Final = {
    ("POST", "/v2/runs/{run_id}/cancel"): Noted("cancel-run"),
    ("DELETE", "/v1/runs/{run_id}"): Noted("cancel-run"),
    ("DELETE", "/v0/runs/{run_id}"): Noted("cancel-run"),
    ("POST", "/v2/runs/{run_id}/rerun"): Noted("rerun"),
    ("POST", "/v2/runs/{run_id}/retry"): Noted("retry-now"),
    ("POST", "/v2/runs/{run_id}/skip-sleep"): Noted("skip-sleep"),
    ("POST", "/v1/cancellations"): Noted("cancel-many"),
    ("POST", "/v2/cancellations"): Noted("cancel-many"),
    ("DELETE", "/v1/cancellations/{cancellation_id}"): Noted("end-cancellation"),
    ("DELETE", "/v2/cancellations/{cancellation_id}"): Noted("end-cancellation"),
    ("POST", "/v2/replays"): Noted("replay"),
    ("POST", "/v2/replays/{replay_id}/abort"): Noted("abort-replay"),
    ("POST", "/v2/functions/{function_id}/pause"): Noted("pause"),
    ("POST", "/v2/functions/{function_id}/resume"): Noted("resume"),
    ("POST", "/v2/orders"): Noted("give-order"),
    ("DELETE", "/v2/orders"): Noted("withdraw-order"),
    ("POST", "/v2/functions/{function_id}/limits/reset"): Noted("reset-limit"),
    ("POST", "/v2/functions/{function_id}/windows/run"): Noted("run-window"),
    ("POST", "/v2/functions/{function_id}/windows/delete"): Noted("drop-window"),
    ("POST", "/v2/apps/{app_id}/syncs"): Noted("sync-app"),
    ("POST", "/v2/syncs"): Noted("sync-app"),
    ("DELETE", "/v2/syncs"): Noted("remove-app"),
    ("POST", "/v2/events"): Noted("send-events", programs=True),
    ("POST", "/v2/apps/{app_id}/functions/{function_id}/invoke"): Noted("invoke", programs=True),
    ("POST", "/invoke/{slug}"): Noted("invoke", programs=True),
    ("POST", "/v1/signals"): Noted("send-signal", programs=True),
    ("POST", "/v2/users"): Noted("add-user"),
    ("DELETE", "/v2/users/{user}"): Noted("remove-user"),
    ("POST", "/v2/users/{user}/role"): Noted("change-role"),
    ("POST", "/v2/users/{user}/password"): Noted("change-password"),
    ("DELETE", "/v2/sessions/{session}"): Noted("end-session"),
}
# What apps and workers do while they run functions, and publish to whoever listens: nobody decides about it.
OF_APPS: Final = frozenset(
    {
        "/e/{key}",
        "/fn/register",
        "/fn/remove",
        "/v0/connect/start",
        "/v0/connect/flush",
        "/v0/telemetry",
        "/v1/checkpoint",
        "/v1/checkpoint/{run_id}/steps",
        "/v1/checkpoint/{run_id}/async",
        "/v1/http/runs",
        "/v1/http/runs/{run_id}/steps",
        "/v1/http/runs/{run_id}/async",
        "/v1/runs/{run_id}/metadata",
        "/v1/realtime/publish",
        "/v1/realtime/publish/tee",
        "/v1/realtime/token",
        "/v1/traces/userland",
    }
)
_TWICE: Final = "/api"
_ABOUT: Final = ("run_id", "function_id", "slug", "app_id", "cancellation_id", "replay_id", "user", "session")
_MEANT: Final = ("name", "function_id", "functionId", "app_id", "appId", "url", "app", "kind")
"""Which member of a body or a query says what is meant, where the address does not."""


def noted(method: str, path: str) -> Noted | None:
    """What is noted of a request; nothing of one that only reads, or that apps make."""
    return _OPERATORS.get((method, path.removeprefix(_TWICE)))


class Noting:
    """Opens an action for each request of a person to an operation (``runtime/acting.py``)."""

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self._engine = engine
        self._guard = guard

    def __call__(self, operation: Operation, asked: Asked) -> AbstractContextManager[object]:
        found = noted(operation.method, operation.path)
        if found is None:
            return nullcontext()
        actor = self._actor(asked.request.scope["headers"])
        if found.programs and actor.via != CLI:
            return nullcontext()
        return actor.act(found.action, *_about(asked))

    def _actor(self, headers: Headers) -> Actor:
        """Who sends a request that was let in, as far as can be known."""
        via, request, authorization = API, "", None
        for name, value in headers:
            if name == b"user-agent" and value.startswith(_AGENT):
                via = CLI
            elif name == b"x-request-id":
                request = value.decode("latin-1")
            elif name == b"authorization":
                authorization = value
        request = request if request.isprintable() and len(request) <= _REQUEST_CHARS_MAX else ""
        return Actor(self._engine, self._guard.holder(authorization), via, request)


def _about(asked: Asked) -> tuple[str, str]:
    """What a request is about, and the rest of what it asks for."""
    body: object = asked.body
    said: dict[str, object] = {**asked.query}
    if isinstance(body, msgspec.Struct):
        said |= msgspec.structs.asdict(body)
    named = [str(asked.path[name]) for name in _ABOUT if name in asked.path]
    meant = [value for name in _MEANT if isinstance(value := said.get(name), str) and value]
    target = named[0] if named else meant[0] if meant else ""
    return target, described({name: value for name, value in said.items() if value != target})

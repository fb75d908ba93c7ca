"""An engine that calls scripted apps through ``Remote``, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from stepwell.model.settings import Settings
from stepwell.protocol.events import parse_events
from stepwell.protocol.signals import Signal
from stepwell.protocol.signing import SigningKey
from stepwell.runtime.remote import Remote
from stepwell.runtime.signed import Signed
from stepwell.server.app import App as Server
from stepwell.server.apps import Apps
from stepwell.server.guard import Guard
from stepwell.testing.driver import Died
from stepwell.testing.harness import START, Harness
from stepwell.testing.node import Door, Node
from stepwell.testing.views import RunView
from tests.core.runtime.scripted import App, Handler, Javascript, Request, Steps

_ROUNDS_MAX = 300_000  # in all, so that a loop without end is found soon
URL = "http://app.test/api/inngest"


class Said(NamedTuple):
    """What the server has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wired(Harness):
    """A harness whose functions answer over an ``Outbound``. ``app`` is what stands behind it."""

    url = URL

    def __init__(
        self,
        dialect: type[Steps] = Javascript,
        *,
        version: int = 2,
        seed: int = 0,
        retry_interval: int | None = 1_000,
        keys: Sequence[SigningKey] = (),
        steps_max: int | None = None,
    ) -> None:
        settings = Settings(retry_ms=retry_interval, **({} if steps_max is None else {"steps_max": steps_max}))
        super().__init__((), START, seed, 30.0, settings)
        self._loop._rounds_max = _ROUNDS_MAX
        self.app = App(dialect, version)
        self.app.clock = self._clock
        self.keys = keys
        self.kills = 0
        self.guard = Guard()
        self.apps: Apps | None = None
        self._configs: list[dict[str, Any]] = []

    def function(self, id: str, *, trigger: str | None = None, **config: Any) -> Callable[[Handler], Handler]:
        """Serve a function, from now on; ``trigger`` is the id if nothing is given."""
        full = f"app-{id}"

        def decorate(handler: Handler) -> Handler:
            retries = config.pop("retries", 4)
            self.app.handlers[full] = handler
            self._configs.append(
                {
                    "id": full,
                    "name": id,
                    "triggers": [{"event": trigger or id}],
                    "steps": {
                        "step": {
                            "id": "step",
                            "name": "step",
                            "runtime": {"type": "http", "url": f"{self.url}?fnId={full}&stepId=step"},
                            "retries": {"attempts": retries},
                        }
                    },
                    **config,
                }
            )
            if self._node is not None:
                self._do(lambda: self.engine.register("app", self._configs))
            return handler

        return decorate

    def start(self, name: str, data: Any = None) -> RunView:
        """Send an event that starts one run of the function of that name, and give that."""
        before = {run.id for run in self.runs(name)}
        self.send(name, data)
        (run,) = [run for run in self.runs(name) if run.id not in before]
        return run

    def finish(self, name: str, data: Any = None, *, within: str = "1h") -> RunView:
        """The run that this event starts, after so much time."""
        run = self.start(name, data)
        self.advance(within)
        return run

    def send(self, event: Any, data: Any = None, **_: Any) -> list[str]:
        payload = event if isinstance(event, dict) else {"name": event, "data": data or {}}
        incoming = parse_events(json.dumps(payload).encode())
        return self._do(lambda: self.engine.send(incoming))

    def signal(self, name: str, data: Any = None) -> str | None:
        return self._do(lambda: self.engine.signal(Signal(name, json.dumps(data).encode())))

    @property
    def rounds(self) -> int:
        """How often the event loop has had something to do."""
        return self._loop.rounds

    def kill(self) -> None:
        """The process ends in the middle of whatever it does, and another one begins."""
        self.kills += 1
        self.crash()
        self._loop._rounds_max = self._loop.rounds + _ROUNDS_MAX

    def requests(self, run: RunView | None = None) -> list[Request]:
        return [each for each in self.app.requests if run is None or each.ctx["run_id"] == run.id]

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> Said:
        """One request to the server, repeated if its process dies meanwhile."""
        return self._do(lambda: self.asked(method, path, body, **headers))

    async def asked(self, method: str, path: str, body: Any = None, **headers: str) -> Said:
        server = Server(self.engine, self.guard, self.apps or Apps(self.engine, Signed(self.app, self._clock)))
        target, _, query = path.partition("?")
        text = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = {"host": "localhost", "content-length": str(len(text)), **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": target,
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()],
        }
        sent: list[Any] = []
        asked = iter([{"type": "http.request", "body": text, "more_body": False}])

        async def receive() -> Any:
            found = next(asked, None)
            if found is None:  # the client is still there, and has no more to say
                await asyncio.get_running_loop().create_future()
            return found

        async def send(message: Any) -> None:
            sent.append(message)

        await server(scope, receive, send)
        names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Said(sent[0]["status"], names, b"".join(each.get("body", b"") for each in sent[1:]))

    async def _bind(self) -> None:
        pass

    def _remote(self) -> Remote:
        return Remote(Signed(self.app, self._clock, keys=self.keys), self._where, self._clock, self._ids)

    def _boot(self) -> None:
        self._node = Node(
            Door(self.store, self._watch if self._dies is not None else None),
            self._remote(),
            self._clock,
            self._timers,
            self._ids,
            {"app": self._configs},
            settings=self._settings,
            tidies=False,
            outbound=self._answers,
        )
        with suppress(Died):
            self._finish(self._node.start())

    def _where(self, function_id: str) -> str | None:
        found = self.engine.registry.get(function_id)
        return None if found is None else found.url

    def _function_id(self, function: Any) -> str:
        return function if function.startswith("app-") else f"app-{function}"

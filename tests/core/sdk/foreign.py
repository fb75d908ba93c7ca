"""A server of another vendor, as far as protocol §5-§7 say what one does: one run, in memory, with a clock of its own.

It asks for one thing after the other, takes no reports while a call goes on, and knows nothing of what only we have.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, NamedTuple

from stepwell.model.duration import parse_duration
from stepwell.protocol.moments import read_retry_after
from stepwell.sdk.app import Stepwell
from stepwell.sdk.serve import Request, Response

RUN_ID = "01HF7YAT00000000000000000A"
URL = "http://app.test/api/inngest"
RETRY_MS = 10_000
DISCOVERY = "step"
ENDS = ("StepRun", "StepFailed")


class Item(NamedTuple):
    """What is owed: a call for this step, or to find out what comes next; or a step (``wakes``) that is over then."""

    due: int
    number: int
    step_id: str
    attempt: int
    wakes: bool = False


class RunFailed(Exception):
    """The run has failed with this error."""


class Foreign:
    """One run of one function.

    ``loses`` says of the n-th answer whether it is lost on its way; ``chance`` mixes what is owed at one moment.
    """

    def __init__(
        self,
        app: Stepwell,
        function_id: str,
        data: object = None,
        *,
        retries: int = 4,
        loses: Callable[[int], bool] = lambda _: False,
        chance: Random | None = None,
        **options: Any,
    ) -> None:
        self.endpoint = app.serve(dev=True, **options)
        self.function_id = function_id
        self.event = {"name": "test/started", "data": data or {}, "id": "e1", "ts": 1_700_000_000_000, "user": {}}
        self.now = 0
        self.retries = retries
        self.memos: dict[str, Any] = {}
        self.stack: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.answers: list[Response] = []
        self.ops: list[dict[str, Any]] = []  # each that was news
        self.output: Any = None
        self.error: dict[str, Any] | None = None
        self.ended = False
        self._loses = loses
        numbers = count()
        self._number = lambda: next(numbers) if chance is None else chance.randrange(1000)
        self._queue: list[Item] = []
        self._known: dict[str, str] = {}  # how the function goes on after a step that was told
        self._group: set[str] = set()  # members that are waited for before it goes on
        self.forced = False
        self._owe(DISCOVERY)

    async def to_end(self) -> Any:
        """Do what is owed, in its time, until the run has ended: its output. Raises ``RunFailed``."""
        for _ in range(1000):
            if self.ended:
                break
            assert self._queue, "the run waits for something that time does not bring"
            await self.step()
        assert self.ended, "the run does not end"
        if self.error is not None:
            raise RunFailed(self.error["message"])
        return self.output

    async def until_waiting(self) -> None:
        """Do all that needs no time to pass."""
        while self._queue and self._queue[0].due <= self.now and not self.ended:
            await self.step()

    async def step(self) -> None:
        """Do the next thing that is owed."""
        item = heapq.heappop(self._queue)
        self.now = max(self.now, item.due)
        if item.wakes:
            self.settle(item.step_id, None)
            return
        response = await self.ask(item)
        if self._loses(len(self.calls)):
            self._again(item, {"name": "Error", "message": "the answer was lost"}, None)
            return
        self.answers.append(response)
        if response.status == 206:
            await self._take(item, response)
        elif response.status == 200:
            self.output, self.ended = json.loads(response.body), True
        elif response.headers.get("X-Inngest-No-Retry") == "true":
            self.error, self.ended = json.loads(response.body), True
        else:
            self._again(item, json.loads(response.body), response)

    async def ask(self, item: Item) -> Response:
        call = {
            "ctx": {
                "attempt": item.attempt,
                "disable_immediate_execution": self.forced,
                "env": "",
                "fn_id": "0190c5a0-0000-7000-8000-000000000001",
                "max_attempts": self.retries + 1,
                "qi_id": "am9iOjpzaGFyZA==",
                "generation_id": len(self.calls) + 1,
                "run_id": RUN_ID,
                "stack": {"current": len(self.stack), "stack": self.stack},
                "step_id": DISCOVERY,
                "use_api": False,
            },
            "defers": {},
            "event": self.event,
            "events": [self.event],
            "steps": self.memos,
            "use_api": False,
            "version": -1 if not self.answers else 2,
        }
        self.calls.append({"step": item.step_id, "attempt": item.attempt, "forced": self.forced})
        query = {"fnId": self.function_id, "stepId": item.step_id}
        return await self.endpoint.handle(Request("POST", URL, query, {}, json.dumps(call).encode()))

    def settle(self, step_id: str, memo: Any) -> None:
        """A step has its result."""
        if self.ended or step_id in self.memos:
            return
        self.memos[step_id] = memo
        self.stack.append(step_id)
        self._group.discard(step_id)
        if self._known.get(step_id) != "wait" or not self._group:
            if not self._group:
                self.forced = False
            self._owe(DISCOVERY)

    def named(self, name: str) -> str:
        """The hashed id of the step that was told under this name."""
        return next(op["id"] for op in self.ops if op["displayName"] == name)

    def said(self) -> list[str]:
        """Opcode and name of all that was told, in order."""
        return [f"{op['op']} {op['displayName']}" for op in self.ops]

    async def _take(self, item: Item, response: Response) -> None:
        ops = json.loads(response.body)
        assert isinstance(ops, list)
        many = len(ops) > 1
        self.forced = self.forced or many
        news = [op for op in ops if op["id"] not in self.memos and op["op"] in (*ENDS, "StepError")]
        news += [op for op in ops if op["id"] not in self.memos and op["id"] not in self._known and op not in news]
        self.ops += news
        for op in news:
            mode = (op.get("opts") or {}).get("parallelMode", "wait")
            if op["op"] not in (*ENDS, "StepError"):
                self._known[op["id"]] = mode if many else "alone"
                if many:
                    self._group.add(op["id"])
            self._act(item, op, response)

    def _act(self, item: Item, op: dict[str, Any], response: Response) -> None:
        match op["op"]:
            case "StepRun":
                self.settle(op["id"], {"data": op["data"]})
            case "StepFailed":
                self.settle(op["id"], {"error": op["error"]})
            case "StepError" if item.attempt + 1 < self.retries + 1:
                self._again(item, op["error"], response)
            case "StepError":
                self.settle(op["id"], {"error": op["error"]})
            case "StepPlanned":
                self._owe(op["id"])
            case "Sleep":
                ms = parse_duration(op.get("opts", {}).get("duration") or op["name"])
                heapq.heappush(self._queue, Item(self.now + ms, self._number(), op["id"], 0, wakes=True))
            case _:
                pass  # a test brings it to its end

    def _again(self, item: Item, error: dict[str, Any], response: Response | None) -> None:
        if item.attempt >= self.retries:
            self.error, self.ended = error, True
            return
        told = None if response is None else read_retry_after(response.headers.get("Retry-After", ""), self.now)
        self._owe(item.step_id, item.attempt + 1, RETRY_MS if told is None else 1000)

    def _owe(self, step_id: str, attempt: int = 0, after: int = 0) -> None:
        discovery = any(item.step_id == step_id for item in self._queue)
        if step_id != DISCOVERY or not discovery:
            heapq.heappush(self._queue, Item(self.now + after, self._number(), step_id, attempt))

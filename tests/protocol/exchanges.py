"""What the official SDKs are asked when their messages are recorded: one call for each opcode and each kind of answer.

``recorded/<sdk>.json`` holds what we send for each of these, what each SDK makes of it, and what it asks of its server
meanwhile. ``python -m tests.edge.official.recording`` makes these files anew from the real SDKs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from stepwell.ids import hashed
from stepwell.model.event import Event
from stepwell.protocol.messages import Call, Memo

PYTHON, JS3, JS4 = "python", "javascript-3", "javascript-4"
SDKS: Final = (PYTHON, JS3, JS4)
JAVASCRIPT: Final = (JS3, JS4)
RUN_ID: Final = "01HF7YAT00000000000000000A"
NOW: Final = 1_700_000_000_000
RECORDED: Final = {sdk: Path(__file__).parent / "recorded" / f"{sdk}.json" for sdk in SDKS}


class Asked(NamedTuple):
    """One call of ``function``. ``steps`` are known by the names that the code gives them, in this order.

    ``version`` is that of the run so far; by default the one that an SDK picks for itself.
    """

    function: str
    sdks: tuple[str, ...] = SDKS
    steps: Mapping[str, Memo] = {}
    target: str | None = None
    attempt: int = 0
    plans_only: bool = False
    version: int | None = None
    generation: int = 0
    data: object = {}

    def call(self, sdk: str) -> Call:
        own = 1 if sdk == JS3 else 2
        return Call(
            function_id=f"app-{self.function}",
            run_id=RUN_ID,
            request_id="01HF7YAT00000000000000000R",
            attempt=self.attempt,
            max_attempts=3,
            events=(
                Event(
                    id="01HF7YAT00000000000000000E",
                    name=f"app/{self.function}",
                    ts=NOW,
                    received_at=NOW,
                    data=msgspec.json.encode(self.data),
                ),
            ),
            steps={hashed(name): memo for name, memo in self.steps.items()},
            stack=[hashed(name) for name in self.steps],
            pending={},
            step_id="step" if self.target is None else hashed(self.target),
            version=own if self.version is None else self.version,
            plans_only=self.plans_only,
            generation=self.generation,
        )


def _data(value: object) -> Memo:
    return Memo("data", json.dumps(value).encode())


_ERROR: Final = Memo("error", b'{"name":"ValueError","message":"it broke","stack":"the stack"}')
_EVENT: Final = Memo("bare", b'{"id":"e2","name":"app/heard","data":{"n":5},"ts":1700000000000,"user":{}}')
_TIMEOUT: Final = Memo("bare", b"null")

EXCHANGES: Final[dict[str, Asked]] = {
    # Steps that are run.
    "first-call": Asked("one", version=-1),
    "step-run": Asked("one"),
    "step-known": Asked("one", steps={"load": _data({"id": 7})}),
    "step-of-nothing": Asked("nothing"),
    "step-of-nothing-known": Asked("nothing", steps={"nothing": _data(None)}),
    "step-planned": Asked("one", plans_only=True),
    "step-asked-for": Asked("one", target="load", plans_only=True),
    "step-repeated": Asked("repeats", steps={"again": _data(0)}),
    "step-error": Asked("breaks"),
    "step-error-again": Asked("breaks", attempt=1),
    "step-failed": Asked("breaks", attempt=2),
    "step-failed-asked-for": Asked("breaks", target="break", attempt=2, plans_only=True),
    "step-failed-known": Asked("breaks", steps={"break": _ERROR}),
    "step-failed-caught": Asked("catches", steps={"break": _ERROR}),
    "step-final": Asked("refuses"),
    "step-later": Asked("waits-a-moment"),
    "send-event": Asked("sends"),
    # Steps that rest.
    "sleep": Asked("sleeps"),
    "sleep-known": Asked("sleeps", steps={"nap": _TIMEOUT}),
    "sleep-until": Asked("sleeps-until"),
    "wait-for-event": Asked("hears"),
    "wait-for-event-known": Asked("hears", steps={"hear": _EVENT}),
    "wait-for-event-too-late": Asked("hears", steps={"hear": _TIMEOUT}),
    "wait-for-event-if": Asked("hears-if"),
    "wait-for-signal": Asked("signalled", JAVASCRIPT),
    "wait-for-signal-known": Asked("signalled", JAVASCRIPT, {"signal": _data({"signal": "go", "data": 3})}),
    "wait-for-signal-replace": Asked("signalled-instead", JAVASCRIPT),
    "send-signal": Asked("signals", JAVASCRIPT),
    "invoke": Asked("invokes"),
    "invoke-known": Asked("invokes", steps={"ask": _data("answered")}),
    "invoke-failed-known": Asked("invokes", steps={"ask": _ERROR}),
    "invoke-elsewhere": Asked("invokes-elsewhere"),
    "invoke-without-data": Asked("invokes-without-data"),
    "ai-gateway": Asked("infers"),
    "gateway": Asked("fetches", JAVASCRIPT),
    "defer": Asked("defers", (JS4,)),
    "defer-then-nothing": Asked("defers-nothing", (JS4,), steps={"load": _data({"id": 7})}),
    # Groups.
    "group": Asked("both"),
    "group-first-version": Asked("both", (JS4,), version=1),
    "group-second-version": Asked("both", (JS3,), version=2),
    "group-race": Asked("races", (PYTHON, JS4)),
    "group-member": Asked("both", target="b", plans_only=True),
    "group-half-known": Asked("both", steps={"a": _data("a")}, plans_only=True),
    "group-known": Asked("both", steps={"b": _data("b"), "a": _data("a")}),
    "group-of-everything": Asked("everything"),
    # The function itself.
    "returns-object": Asked("returns", data={"value": {"n": 1}}),
    "returns-null": Asked("returns", data={"value": None}),
    "returns-list": Asked("returns", data={"value": [{"op": "StepRun", "id": "x"}]}),
    "function-error": Asked("fails"),
    "function-failed": Asked("fails", attempt=2),
    "function-final": Asked("gives-up"),
    "function-later": Asked("comes-back"),
    "function-unknown": Asked("is-not-there"),
    # Reports during a call.
    "checkpoints": Asked("sequence", (JS4,), generation=3, version=-1),
    "checkpoints-after-some": Asked("sequence", (JS4,), {"a": _data("a")}, generation=4),
    "checkpoints-then-rests": Asked("runs-then-sleeps", (JS4,), generation=3),
    "checkpoints-then-breaks": Asked("runs-then-breaks", (JS4,), generation=3),
}

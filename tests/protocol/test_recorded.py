"""What was recorded from the official SDKs, of each opcode and each kind of answer: we send exactly that, and read it.

``tests/edge/official/test_recorded.py`` sees that the SDKs still say the same.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell.protocol.codec import decode_answer, decode_ops, encode_call
from stepwell.protocol.messages import Completed, Failed, Ops
from tests.protocol.exchanges import EXCHANGES, JS3, JS4, NOW, PYTHON, RECORDED, SDKS

FOUND: dict[str, dict[str, Any]] = {sdk: json.loads(RECORDED[sdk].read_text()) for sdk in SDKS}
EACH = [(sdk, name) for sdk in SDKS for name in FOUND[sdk]]
MOMENT_MS = int(datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp() * 1000)  # which is written in the apps
OPCODES = {
    "StepRun",
    "StepPlanned",
    "StepError",
    "StepFailed",
    "Sleep",
    "WaitForEvent",
    "InvokeFunction",
    "AIGateway",
}
JAVASCRIPT_OPCODES = OPCODES | {"WaitForSignal", "Gateway"}
LATEST_OPCODES = {"RunComplete", "DeferAdd", "DeferAbort"}

each = pytest.mark.parametrize(("sdk", "name"), EACH)


def answer(sdk: str, name: str) -> Any:
    told = FOUND[sdk][name]["answer"]
    return decode_answer(told["status"], told["headers"], json.dumps(told["body"]).encode(), now=NOW)


def sayings(sdk: str, name: str) -> list[Any]:
    """The ops of an answer as they travel."""
    told = FOUND[sdk][name]["answer"]
    return told["body"] if told["status"] == 206 else []


def test_every_exchange_is_recorded_with_every_sdk_it_is_for() -> None:
    assert {(sdk, name) for name, asked in EXCHANGES.items() for sdk in asked.sdks} == {*EACH}


@pytest.mark.parametrize("sdk", SDKS)
def test_every_opcode_of_an_sdk_is_recorded(sdk: str) -> None:
    found = {op["op"] for name in FOUND[sdk] for op in sayings(sdk, name)}

    assert found == {PYTHON: OPCODES, JS3: JAVASCRIPT_OPCODES, JS4: JAVASCRIPT_OPCODES | LATEST_OPCODES}[sdk]


@each
def test_a_call_is_sent_as_it_was_recorded(sdk: str, name: str) -> None:
    call = EXCHANGES[name].call(sdk)

    assert json.loads(encode_call(call)) == FOUND[sdk][name]["call"]["body"]
    assert call.step_id == FOUND[sdk][name]["call"]["step"]


@each
def test_an_answer_is_read_for_what_it_is(sdk: str, name: str) -> None:
    told, found = FOUND[sdk][name]["answer"], answer(sdk, name)

    if told["status"] == 200:
        assert isinstance(found, Completed)
        assert json.loads(found.data) == told["body"]
    elif told["status"] == 206:
        complete = [op for op in told["body"] if op["op"] == "RunComplete"]
        steps = [op for op in told["body"] if op["op"] != "RunComplete"]
        ended = found.then if isinstance(found, Ops) else found
        assert [json.loads(ended.data)] == [op["data"] for op in complete] if complete else ended is None
        ops = found.ops if isinstance(found, Ops) else ()
        wanted = [(op["op"], op["id"], op["userland"]["id"], op["userland"].get("index") or 0) for op in steps]
        assert [(op.op, op.id, op.name, op.repeat) for op in ops] == wanted
        assert not ops or found.version == int(told["headers"]["x-inngest-req-version"])
        for op, said in zip(ops, steps, strict=True):
            assert op.op != "StepRun" or json.loads(op.data or b"") == said["data"]
            error = said.get("error")
            assert op.error is None or (op.error.name, op.error.message) == (error["name"], error["message"])
            assert op.parallel == (said.get("opts") or {}).get("parallelMode")
    else:
        assert isinstance(found, Failed)
        assert (found.error.name, found.error.message) == (told["body"]["name"], told["body"]["message"])
        assert found.no_retry == (told["headers"].get("x-inngest-no-retry") == "true")
        assert (found.retry_at is None) == ("retry-after" not in told["headers"])


@pytest.mark.parametrize("sdk", SDKS)
def test_the_options_of_what_rests_are_read_alike(sdk: str) -> None:
    """However an SDK writes them."""

    def options(name: str) -> Any:
        (op,) = answer(sdk, name).ops
        return json.loads(op.opts)

    hour, days = 3_600_000, 2 * 86_400_000
    # Python says when it is over, by its own clock.
    assert options("sleep") == ({"until_ms": NOW + hour} if sdk == PYTHON else {"duration_ms": hour})
    assert options("sleep-until") == {"until_ms": MOMENT_MS}
    assert options("wait-for-event") == {"event": "app/heard", "timeout_ms": hour}
    condition = "event.data.n == async.data.n"
    assert options("wait-for-event-if") == {"event": "app/heard", "timeout_ms": days, "if": condition}
    assert options("invoke") == {"function_id": "app-one", "data": {"n": 1}, "timeout_ms": hour}
    assert options("invoke-elsewhere") == {"function_id": "other-answer", "data": {"n": 1}}
    assert options("invoke-without-data") == {"function_id": "app-one", "data": {}}
    if sdk != PYTHON:
        assert options("wait-for-signal") == {"signal": "go", "timeout_ms": hour, "conflict": "fail"}
        assert options("wait-for-signal-replace")["conflict"] == "replace"


@pytest.mark.parametrize("sdk", SDKS)
def test_verdicts_of_steps_are_read_as_each_sdk_gives_them(sdk: str) -> None:
    """§15, 3 to 6: Python says of the function what JavaScript says of the step."""
    final, later = answer(sdk, "step-final"), answer(sdk, "step-later")

    if sdk == PYTHON:
        assert isinstance(final, Failed)
        assert isinstance(later, Failed)
        assert (final.no_retry, later.retry_at) == (True, MOMENT_MS)
    else:
        assert [op.op for op in final.ops] == ["StepFailed"]
        assert [(op.op, op.retry_at) for op in later.ops] == [("StepError", MOMENT_MS)]


def test_what_is_reported_during_a_call_is_read() -> None:
    (first, second) = FOUND[JS4]["checkpoints"]["meanwhile"]

    assert [first["body"][key] for key in ("run_id", "generation_id")] == ["01HF7YAT00000000000000000A", 3]
    assert first["body"]["qi_id"] == FOUND[JS4]["checkpoints"]["call"]["body"]["ctx"]["qi_id"]
    found = [decode_ops(json.dumps(each["body"]["steps"]).encode(), now=NOW) for each in (first, second)]
    assert [[(op.op, op.name, op.data) for op in ops] for ops in found] == [
        [("StepRun", "a", b'"a"')],
        [("StepRun", "b", b'"b"')],
    ]


@pytest.mark.parametrize("sdk", SDKS)
def test_events_are_sent_with_a_seed(sdk: str) -> None:
    (sent,) = FOUND[sdk]["send-event"]["meanwhile"]

    assert sent["path"] == "/e/NO_EVENT_KEY_SET"
    assert sent["headers"]["x-inngest-event-id-seed"] == "SEED"
    assert [(event["name"], event["data"]) for event in sent["body"]] == [
        ("app/told", {"n": 0}),
        ("app/told", {"n": 1}),
    ]

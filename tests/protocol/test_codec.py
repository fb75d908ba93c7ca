"""Messages to and from the JSON of the wire (protocol §5, §6).

The golden messages are for every SDK: ``wire`` is what travels (``text`` if it is not JSON), ``means`` is what it says
in the words of ``protocol/messages.py``, without defaults. With ``both`` we also write exactly that. The moment of all
of them is 2023-11-14T22:13:20Z.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.model.event import Event
from stepwell.model.log import Line, Logs
from stepwell.protocol import codec
from stepwell.protocol.codec import (
    CALL_BYTES_MAX,
    Unreadable,
    decode_answer,
    decode_call,
    decode_memo,
    decode_ops,
    dispatch_id,
    encode_answer,
    encode_call,
    encode_events,
    encode_memo,
    encode_memos,
    encode_ops,
    function_uuid,
)
from stepwell.protocol.messages import Answer, Call, Completed, Failed, Memo, Op, Ops, Pending, WireError

NOW = 1_700_000_000_000
SDK = "stepwell-py:v0.1.0"
GOLDEN = {path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("golden/*.json"))}


def golden(kind: str) -> pytest.MarkDecorator:
    names = [name for name in GOLDEN if name.startswith(f"{kind}-")]
    return pytest.mark.parametrize("message", [GOLDEN[name] for name in names], ids=names)


def words(message: msgspec.Struct) -> dict[str, Any]:
    """A message as the golden files describe it: JSON text as what it says, defaults left out."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes | msgspec.Raw):
            return json.loads(bytes(value))
        if isinstance(value, msgspec.Struct):
            return words(value)
        if isinstance(value, dict):
            return {key: plain(member) for key, member in value.items()}
        return [plain(member) for member in value] if isinstance(value, tuple | list) else value

    fields = msgspec.structs.fields(message)
    kept = {field.name: getattr(message, field.name) for field in fields}
    return {field.name: plain(kept[field.name]) for field in fields if kept[field.name] != field.default}


def wire_error(means: dict[str, Any]) -> WireError:
    cause = {"cause": msgspec.Raw(json.dumps(means["cause"]).encode())} if "cause" in means else {}
    return WireError(**{**means, **cause})


def op(means: dict[str, Any]) -> Op:
    texts = {name: json.dumps(means[name]).encode() for name in ("opts", "data", "metadata") if name in means}
    error = {"error": wire_error(means["error"])} if "error" in means else {}
    logs = means.get("logs")
    said = {"logs": Logs(tuple(Line(**line) for line in logs["lines"]), logs["dropped"])} if logs else {}
    return Op(**{**means, **texts, **error, **said})


def answer(means: dict[str, Any]) -> Answer:
    if means["is"] == "Completed":
        return Completed(json.dumps(means["data"]).encode())
    if means["is"] == "Ops":
        then = means.get("then")
        end = None if then is None else Completed(json.dumps(then["data"]).encode())
        return Ops(tuple(map(op, means["ops"])), means.get("version"), end, means.get("in_one_call", False))
    return Failed(WireError(**means["error"]), means.get("no_retry", False), means.get("retry_at"))


def call(means: dict[str, Any]) -> Call:
    def text(member: object) -> bytes:
        return json.dumps(member).encode()

    texts = ("data", "user", "meta")
    return Call(
        **{
            **means,
            "events": tuple(
                Event(**{k: text(v) if k in texts else v for k, v in event.items()}, received_at=event["ts"])
                for event in means["events"]
            ),
            "steps": {id: Memo(m["kind"], text(m["data"]), m.get("at", 0)) for id, m in means["steps"].items()},
            "stack": tuple(means["stack"]),
            "pending": {id: Pending(**pending) for id, pending in means["pending"].items()},
        }
    )


def body(message: dict[str, Any]) -> bytes:
    return message["text"].encode() if "text" in message else json.dumps(message["wire"]).encode()


# Golden messages -----------------------------------------------------------------------------------------------------


@golden("op")
def test_an_op_is_read_as_what_it_means(message: dict[str, Any]) -> None:
    (found,) = decode_ops(body(message), now=NOW)

    assert {"kind": found.kind, **words(found)} == message["means"]


@golden("op")
def test_an_op_is_written_as_the_wire_has_it(message: dict[str, Any]) -> None:
    if message["both"]:
        assert json.loads(encode_ops([op(message["means"])])) == [message["wire"]]


@golden("memo")
def test_a_memo_is_read_and_written(message: dict[str, Any]) -> None:
    memo = decode_memo(body(message))

    assert words(memo) == message["means"]
    assert json.loads(encode_memo(memo)) == message["wire"]


@golden("answer")
def test_an_answer_is_read_as_what_it_means(message: dict[str, Any]) -> None:
    found = decode_answer(message["status"], message["headers"], body(message), now=NOW)

    expected = answer(message["means"])
    if isinstance(expected, Completed) and isinstance(found, Completed):
        assert json.loads(found.data) == json.loads(expected.data)
    else:
        assert words(found) == words(expected)
        assert type(found) is type(expected)


@golden("answer")
def test_an_answer_is_written_as_the_wire_has_it(message: dict[str, Any]) -> None:
    if message["both"]:
        status, headers, text = encode_answer(answer(message["means"]), sdk=SDK)

        assert (status, headers, json.loads(text)) == (message["status"], message["headers"], message["wire"])


@golden("call")
def test_a_call_is_read_as_what_it_means(message: dict[str, Any]) -> None:
    found = decode_call(body(message), function_id="shop-bill")

    assert words(found) == words(call(message["means"]))


@golden("call")
def test_a_call_is_written_as_the_wire_has_it(message: dict[str, Any]) -> None:
    if message["both"]:
        assert json.loads(encode_call(call(message["means"]))) == message["wire"]


def test_every_message_we_know_has_a_golden_one() -> None:
    opcodes = {message["wire"]["op"] for name, message in GOLDEN.items() if name.startswith("op-")}
    answers = {message["means"]["is"] for name, message in GOLDEN.items() if name.startswith("answer-")}
    memos = {message["means"]["kind"] for name, message in GOLDEN.items() if name.startswith("memo-")}

    assert opcodes >= {"StepRun", "StepError", "StepFailed", "Sleep", "WaitForEvent", "InvokeFunction", "RunComplete"}
    assert opcodes >= {"AIGateway", "Gateway"}
    assert opcodes >= {"StepRun", "StepPlanned", "StepError", "StepFailed", "RunComplete"}
    assert opcodes >= {"Sleep", "WaitForEvent", "WaitForSignal", "InvokeFunction"}
    assert answers == {"Completed", "Ops", "Failed"}
    assert memos == {"data", "error", "input", "bare"}


def test_the_old_word_for_a_step_that_was_run_means_the_same() -> None:
    (found,) = decode_ops(b'{"id": "a", "op": "Step", "displayName": "load-user", "data": 1}', now=NOW)

    assert (found.op, found.name, found.data) == ("StepRun", "load-user", b"1")


def test_each_call_of_a_run_has_an_id_of_its_own_to_report_steps_by() -> None:
    given = call(GOLDEN["call-first"]["means"])
    first, second = (
        json.loads(encode_call(msgspec.structs.replace(given, generation=generation)))["ctx"] for generation in (16, 17)
    )

    assert first["qi_id"] == f"{given.run_id}.10" == dispatch_id(given.run_id, 16)
    assert second["qi_id"] != first["qi_id"]
    assert first["fn_id"] == second["fn_id"] == function_uuid(given.function_id)


def test_of_steps_that_nobody_has_signed_for_nothing_is_shown() -> None:
    found = decode_answer(206, {}, b'[{"op":"AIGateway","opts":{"auth_key":"sk-planted"}}]', now=NOW)

    assert isinstance(found, Failed)
    assert found.error.message == "status 206, and not from an SDK: (steps)"


# Round trips ---------------------------------------------------------------------------------------------------------

texts = st.text(min_size=1, max_size=8)
moments = st.integers(0, 4 * 10**12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
).map(lambda value: msgspec.json.encode(value))
lengths = st.integers(0, 366 * 86_400_000)
OPTIONS = {
    "Sleep": ("sleep", st.fixed_dictionaries({"duration_ms": lengths}) | st.fixed_dictionaries({"until_ms": moments})),
    "WaitForEvent": (
        "waitForEvent",
        st.fixed_dictionaries({"event": texts, "timeout_ms": lengths}, optional={"if": texts, "lookback_ms": lengths}),
    ),
    "AIGateway": (
        "aiInfer",
        st.fixed_dictionaries({"url": texts}, optional={"auth_key": texts, "format": texts, "body": st.just({"a": 1})}),
    ),
    "Gateway": ("fetch", st.fixed_dictionaries({"url": texts, "method": texts}, optional={"body": texts})),
    "WaitForSignal": (
        "waitForSignal",
        st.fixed_dictionaries(
            {"signal": texts, "timeout_ms": lengths}, optional={"conflict": st.sampled_from(["fail", "replace"])}
        ),
    ),
    "InvokeFunction": (
        "invoke",
        st.fixed_dictionaries(
            {"function_id": texts, "data": st.dictionaries(texts, st.integers(), max_size=1)},
            optional={"timeout_ms": lengths, "cancel_child": st.just(True)},
        ),
    ),
}


@st.composite
def resting_ops(draw: st.DrawFn) -> Op:
    opcode = draw(st.sampled_from(sorted(OPTIONS)))
    kind, options = OPTIONS[opcode]
    return Op(op=opcode, id=draw(texts), name=draw(texts), repeat=draw(st.integers(0, 9)), kind=kind,
              opts=msgspec.json.encode(draw(options)))  # fmt: skip


lines = st.builds(Line, at=moments, level=st.integers(0, 60), logger=texts, text=texts, own=st.booleans())
all_logs = st.none() | st.builds(
    Logs, lines=st.lists(lines, min_size=1, max_size=2).map(tuple), dropped=st.integers(0, 9)
)
run_ops = st.builds(
    Op,
    op=st.just("StepRun"),
    id=texts,
    name=texts,
    repeat=st.integers(0, 9),
    kind=st.sampled_from(["run", "sendEvent", "aiWrap"]),
    data=json_values,
    attempt=st.integers(0, 20),
    max_attempts=st.none() | st.integers(1, 21),
    started_at=st.just(NOW),
    ended_at=st.integers(NOW, NOW + 10**7),
    logs=all_logs,
)
failed_ops = st.builds(
    Op,
    op=st.sampled_from(["StepError", "StepFailed"]),
    id=texts,
    name=texts,
    repeat=st.integers(0, 9),
    opts=st.none() | st.just(b'{"backoff_ms":[1,2]}'),
    error=st.builds(WireError, name=texts, message=texts, stack=st.none() | texts, code=st.none() | texts),
    attempt=st.integers(0, 20),
    retry_at=st.none() | moments,
    no_retry=st.booleans(),
)


@given(st.lists(run_ops | failed_ops | resting_ops(), max_size=3), st.integers(0, 20))
def test_what_our_sdk_answers_is_read_back_the_same(ops: list[Op], attempt: int) -> None:
    """Also which attempt at a step it was, which is not that of the call."""
    given_answer = Ops(tuple(ops))

    read = decode_answer(*encode_answer(given_answer, sdk=SDK, attempt=attempt), now=NOW, attempt=attempt)

    assert isinstance(read, Ops)
    assert [words(op) for op in read.ops] == [words(op) for op in ops]


@given(
    st.builds(Completed, data=json_values, logs=all_logs)
    | st.builds(Failed, error=st.builds(WireError, name=texts, message=texts), no_retry=st.booleans(), logs=all_logs)
    | st.builds(Ops, ops=st.lists(run_ops, max_size=2).map(tuple), logs=all_logs)
)
def test_what_the_code_between_steps_has_logged_comes_with_any_answer_and_only_to_us(given_answer: Answer) -> None:
    read = decode_answer(*encode_answer(given_answer, sdk=SDK), now=NOW)
    _, _, foreign = encode_answer(given_answer, sdk=SDK, foreign=True)

    assert type(read) is type(given_answer)
    assert read.logs == given_answer.logs
    assert isinstance(given_answer, Ops) or b"logs" not in foreign


@given(
    st.binary(max_size=40) | st.text(alphabet='{}[]":,0123456789opidnameStepRunSleep \\u', max_size=40).map(str.encode)
)
def test_any_answer_is_an_answer(noise: bytes) -> None:
    for status in (200, 201, 206, 500):
        found = decode_answer(status, {"X-Inngest-SDK": "x"}, noise, now=NOW)

        assert isinstance(found, Completed | Ops | Failed)
        if isinstance(found, Completed):
            json.loads(found.data)


# Calls ---------------------------------------------------------------------------------------------------------------


def plain_call(**fields: Any) -> Call:
    return Call(
        **{
            "function_id": "shop-bill",
            "run_id": "r",
            "request_id": "q",
            "attempt": 0,
            "max_attempts": 5,
            "events": (Event(id="i", key="mine", name="a", ts=NOW, received_at=NOW, data=b'{"n":1.0, "b":2}'),),
            "steps": {},
            "stack": (),
            "pending": {},
            **fields,
        }
    )


def test_payloads_pass_through_as_the_text_they_are() -> None:
    text = encode_call(plain_call(steps={"a": Memo("data", b'{"x" : 1e2}')}, stack=("a",)))

    assert b'{"n":1.0, "b":2}' in text
    assert b'"a":{"data":{"x" : 1e2}}' in text
    assert decode_call(text, function_id="shop-bill").steps["a"].data == b'{"x" : 1e2}'


def test_a_signed_call_is_canonical() -> None:
    text = encode_call(plain_call(), signed=True)

    assert text.startswith(b'{"ctx":{"attempt":0,')
    assert b'"data":{"b":2,"n":1}' in text


def test_an_event_shows_the_senders_id() -> None:
    assert json.loads(encode_events(plain_call().events))[0]["id"] == "mine"


def test_the_stack_names_exactly_the_memos_that_are_sent() -> None:
    found = json.loads(encode_call(plain_call(steps={"a": Memo("bare", b"null")}, stack=("b", "a"))))

    assert found["ctx"]["stack"] == {"stack": ["a"], "current": 1}
    assert list(found["steps"]) == ["a"]


def test_a_call_that_is_too_large_leaves_its_state_to_be_fetched() -> None:
    large = Memo("data", b'"%b"' % (b"x" * CALL_BYTES_MAX))
    text = encode_call(plain_call(steps={"b": large, "a": large}, stack=("a", "b")))

    found = json.loads(text)
    assert len(text) < CALL_BYTES_MAX
    assert found["use_api"] is found["ctx"]["use_api"] is True
    assert (found["events"], found["steps"], found["ctx"]["stack"]["stack"]) == ([], {}, ["a", "b"])
    assert found["event"]["name"] == "a"
    with pytest.raises(Unreadable, match="fetched"):
        decode_call(text, function_id="shop-bill")


@pytest.mark.parametrize(("over", "written"), [(-1, [False]), (0, [False]), (1, [False, True]), (2_000_000, [True])])
def test_a_large_body_is_not_written_to_see_that_it_is(
    over: int, written: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(size: int) -> Call:
        return plain_call(steps={"a": Memo("data", b'"%b"' % (b"x" * size))}, stack=("a",))

    size = CALL_BYTES_MAX + over - len(encode_call(call(0)))
    made: list[bool] = []
    real = codec._write_call

    def counted(call: Call, *, use_api: bool) -> object:
        made.append(use_api)
        return real(call, use_api=use_api)

    monkeypatch.setattr(codec, "_write_call", counted)
    found = json.loads(encode_call(call(size)))

    assert (made, found["use_api"]) == (written, over > 0)


def test_fetched_memos_come_in_the_order_in_which_they_became_known() -> None:
    steps = {"a": Memo("data", b"1"), "b": Memo("bare", b"null")}

    assert encode_memos(steps, ("b", "a"), {}) == b'{"b":null,"a":{"data":1}}'


def test_a_replaced_input_is_told_of_a_step_without_a_result_and_is_not_in_the_stack() -> None:
    """Protocol §5.3."""
    call = plain_call(steps={"a": Memo("data", b"1")}, stack=("a",), inputs={"b": b"[1]", "a": b"[2]"})

    text = encode_call(call)
    found, read = json.loads(text), decode_call(text, function_id="shop-bill")

    assert found["steps"] == {"a": {"data": 1}, "b": {"input": [1]}}
    assert found["ctx"]["stack"]["stack"] == ["a"]
    assert (read.inputs, set(read.steps)) == ({"b": b"[1]"}, {"a"})
    assert encode_memos(call.steps, call.stack, call.inputs) == b'{"a":{"data":1},"b":{"input":[1]}}'


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b'{"ctx":{}}', b"\xff", b'{"ctx":{"run_id":1,"attempt":0},"event":{"name":"a"}}', b"[" * 9_999],
)
def test_a_call_that_makes_no_sense_is_unreadable(text: bytes) -> None:
    with pytest.raises(Unreadable):
        decode_call(text, function_id="shop-bill")


def test_a_negative_sleep_is_written_as_none_at_all() -> None:
    assert b'"duration":"0s"' in encode_ops([Op(op="Sleep", id="a", name="a", opts=b'{"duration_ms":-5}')])


@pytest.mark.parametrize("retry_after", ["soon", "", "12345678", "-5", "٣"])
def test_a_retry_after_that_makes_no_sense_is_ignored(retry_after: str) -> None:
    found = decode_answer(500, {"X-Inngest-SDK": "x", "Retry-After": retry_after}, b"{}", now=NOW)

    assert found == Failed(WireError("Error", "status 500: {}"))


LAST = 253_402_300_799_999  # of the year 9999


@pytest.mark.parametrize(
    ("moment", "ms"),
    [
        ("0001-01-01T00:00:00+14:00", 0),
        ("1969-12-31T23:59:59Z", 0),
        ("9999-12-31T23:59:59-14:00", LAST),
        ("9999-12-31T23:59:59.9999Z", LAST),
    ],
)
def test_a_moment_that_no_text_can_tell_is_the_nearest_that_has_one(moment: str, ms: int) -> None:
    (op,) = decode_ops(json.dumps([{"op": "Sleep", "id": "a", "name": moment}]).encode(), now=1)

    assert op.opts is not None
    assert json.loads(op.opts) == {"until_ms": ms}


@pytest.mark.parametrize("began", [-1e300, -1, 1e300, 10**30])
def test_when_a_body_began_can_be_told_whatever_its_app_says(began: float) -> None:
    timing = {"a": began, "b": 1e300}

    (op,) = decode_ops(json.dumps([{"op": "StepRun", "id": "a", "timing": timing}]).encode(), now=1)

    assert (op.started_at, op.ended_at) == (0 if began < 0 else LAST, LAST)


def test_an_op_that_says_nothing_is_nothing() -> None:
    """Protocol §6.2."""
    ops = [{"op": "None", "id": "a"}, {"op": "StepRun", "id": "b", "data": 1}, {"op": "None", "id": ""}]

    assert [op.id for op in decode_ops(json.dumps(ops).encode(), now=1)] == ["b"]
    assert decode_ops(b'{"op":"None","id":"a"}', now=1) == ()

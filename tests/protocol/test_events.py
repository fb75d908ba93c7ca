"""Events as they come in (semantics §1, protocol §9): read, checked, all or nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.errors import EventTooLarge, InvalidEvent
from stepwell.limits import EVENT_BYTES_MAX, JSON_DEPTH_MAX
from stepwell.protocol.events import Incoming, parse_events, seeded_id, validate_incoming

TS = 1_700_000_000_000


def one(**fields: Any) -> Incoming:
    (event,) = parse_events(msgspec.json.encode({"name": "app/x", **fields}))
    return event


def refusal(body: bytes | dict[str, Any] | list[Any]) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        parse_events(body if isinstance(body, bytes) else msgspec.json.encode(body))
    assert caught.value.what and caught.value.why and caught.value.fix
    return caught.value


def test_an_event_may_say_which_run_sends_it() -> None:
    run_id = "01HF7YAT000000000000000001"
    assert one(stepwell={"run_id": run_id}).run_id == run_id
    assert validate_incoming(Incoming(name="a", run_id=run_id)).run_id == run_id
    for other in (None, {}, "text", {"run_id": 7}, {"run_id": "mine"}, {"run_id": None}):
        assert one(stepwell=other).run_id is None


# The shape of a request ----------------------------------------------------------------------------------------------


def test_a_request_is_one_event_or_an_array_of_events() -> None:
    assert [event.name for event in parse_events(b' {"name":"a"} ')] == ["a"]
    assert [event.name for event in parse_events(b'\n[{"name":"a"}, {"name":"b"}]')] == ["a", "b"]
    assert parse_events(b"[]") == []


@pytest.mark.parametrize("body", [b"", b"  ", b"null", b"1", b'"name"', b"name=a", b"\xef\xbb\xbf{}", b"\x00"])
def test_a_request_that_is_neither_is_refused(body: bytes) -> None:
    assert refusal(body).what == "the request holds no event"


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"name":"a"', b'{"name":"a"} x', b'[{"name":"a"},]', b"{'name':'a'}", b'{"name":"a\xff"}', b"[" * 5_000],
)
def test_a_request_that_is_not_json_is_refused(body: bytes) -> None:
    assert "read" in refusal(body).what or "wrong form" in refusal(body).what


def test_5000_events_fit_and_one_more_does_not() -> None:
    assert len(parse_events(msgspec.json.encode([{"name": "a"}] * 5_000))) == 5_000
    assert refusal([{"name": "a"}] * 5_001).what == "Cannot have more than 5000 events in a batch"


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ({"name": ""}, "event [1] has no name"),
        ({"data": {}}, "event [1] has the wrong form"),
        ({"name": 7}, "event [1] has a wrong name"),
        ("a", "event [1] has the wrong form"),
        ({"name": "a", "id": 7}, "event [1] has a wrong id"),
        ({"name": "a", "ts": "now"}, "event [1] has a wrong ts"),
        ({"name": "a", "ts": True}, "event [1] has a wrong ts"),
        ({"name": "a", "ts": 5}, "event [1] has the ts 5"),
        ({"name": "a", "data": []}, "event [1] has data of the wrong type"),
        ({"name": "a", "user": 7}, "event [1] has user of the wrong type"),
        ({"name": "a", "meta": {"sessions": {"k": True}}}, "event [1] has a wrong meta"),
    ],
)
def test_one_bad_event_refuses_all_and_is_named_by_its_place(bad: object, place: str) -> None:
    assert refusal([{"name": "good"}, bad, {"name": "good"}]).what == place


def test_unknown_members_and_doubled_keys_are_tolerated() -> None:
    (event,) = parse_events(b'{"name":"a","name":"b","colour":"red","data":{"x":1,"x":2}}')

    assert (event.name, event.data) == ("b", b'{"x":1,"x":2}')


# Names, ids, versions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "shop/order.created", "müller/straße", "注文/作成", "a b", "x" * 512, "ä" * 256])
def test_names_of_up_to_512_bytes_are_accepted(name: str) -> None:
    assert one(name=name).name == name


@pytest.mark.parametrize("name", ["", " ", "\t", "x" * 513, "ä" * 257, "a\x00b", "a\nb", "\x1b[31m", "a\x7f", "a\x85"])
def test_other_names_are_refused(name: str) -> None:
    refusal({"name": name})


@pytest.mark.parametrize("name", ["inngest/function.finished", "Inngest/x", "INNGEST/", "inngest/"])
def test_94_internal_names_are_reserved(name: str) -> None:
    assert "reserved" in refusal({"name": name}).why


@pytest.mark.parametrize("name", ["inngest", "inngest.x", "my/inngest/x", "stepwell/x"])
def test_names_that_only_look_internal_are_free(name: str) -> None:
    assert one(name=name).name == name


@pytest.mark.parametrize("id", ["order-1", "x" * 512, "ключ", "a b"])
def test_the_senders_id_is_kept(id: str) -> None:
    assert one(id=id).id == id


@pytest.mark.parametrize("id", ["", None])
def test_an_empty_id_is_no_id(id: str | None) -> None:
    assert one(id=id).id is None


@pytest.mark.parametrize("id", [" ", "x" * 513, "a\x00", "a\r\n", "\u2028" * 200])
def test_ids_that_would_make_ghosts_or_break_databases_are_refused(id: str) -> None:
    refusal({"name": "a", "id": id})


def test_a_version_is_kept_and_an_empty_one_is_none() -> None:
    assert one(v="2").v == "2"
    assert one(v="").v is None
    assert one(v=None).v is None
    refusal({"name": "a", "v": "\x00"})


# Moments -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ts", "kept"),
    [
        (TS, TS),
        (0, 0),
        (None, 0),
        (0.0, 0),
        (float(TS), TS),
        (315532800000, 315532800000),
        (4102444800000, 4102444800000),
    ],
)
def test_ts_is_whole_milliseconds_between_1980_and_2100(ts: float | None, kept: int) -> None:
    assert one(ts=ts).ts == kept
    assert type(one(ts=ts).ts) is int


@pytest.mark.parametrize("ts", [315_532_799_999, 4_102_444_800_001, -1, 1, TS + 0.5, TS * 1000, 10**30, 1e300])
def test_any_other_ts_is_refused(ts: float) -> None:
    refusal({"name": "a", "ts": ts})


def test_a_ts_in_seconds_is_recognised() -> None:
    assert "multiply it by 1000" in refusal({"name": "a", "ts": 1_700_000_000}).fix


# Data ----------------------------------------------------------------------------------------------------------------


def test_data_is_kept_as_the_text_it_came_in() -> None:
    (event,) = parse_events(b'{"name":"a","data": {"b" : 1.0, "a":1e2, "c":"\\u00e4" } ,"user":{ "id":1}}')

    assert event.data == b'{"b" : 1.0, "a":1e2, "c":"\\u00e4" }'
    assert event.user == b'{ "id":1}'


@pytest.mark.parametrize("body", [b'{"name":"a"}', b'{"name":"a","data":null}', b'{"name":"a","data":{}}'])
def test_missing_data_is_an_empty_object(body: bytes) -> None:
    assert parse_events(body) == [Incoming(name="a", data=b"{}")]


@pytest.mark.parametrize("data", [b"[]", b"1", b'"x"', b"true", b"[{}]"])
def test_data_that_is_not_an_object_is_refused(data: bytes) -> None:
    assert "JSON object" in refusal(b'{"name":"a","data":%b}' % data).why


@pytest.mark.parametrize("key", ["_inngest", "_inn\\u0067est"])
def test_94_routing_information_of_strangers_is_removed(key: str) -> None:
    (event,) = parse_events(b'{"name":"a","data":{"x":1,"%b":{"fn_id":"other"}}}' % key.encode())

    assert event.data == b'{"x":1}'


@pytest.mark.parametrize(
    "data",
    [
        b'{"x":NaN}',
        b'{"x":Infinity}',
        b'{"x":-Infinity}',
        b'{"x":1e999}',
        b'{"x":01}',
        b'{"x":tru}',
        b'{"x":"\xff"}',
        b'{"\xc3":1}',
        b'{"x":"\\q"}',
        b'{"x":"\t"}',
        b'{"x":"\xed\xa0\x80"}',
        b'{"x":' + b"1" * 6000 + b"}",
    ],
)
def test_data_that_later_readers_would_stumble_over_is_refused_now(data: bytes) -> None:
    refusal(b'[{"name":"a","data":%b}]' % data)


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"a\ud83d", "a\ufffd"),
        (rb"\ude00b", "\ufffdb"),
        (rb"\uDBFFx\uDC00", "\ufffdx\ufffd"),
        (rb"\ud83d\ude00\ud83d", "😀\ufffd"),
        (rb"\\ud800 \ud800", "\\ud800 \ufffd"),
        (rb"\ud800\ud800\udc00", "\ufffd\U00010000"),
    ],
)
def test_half_an_emoji_becomes_a_replacement_character(text: bytes, repaired: str) -> None:
    (event,) = parse_events(b'[{"name":"a","id":"k%b","data":{"x":"%b","%b":1}}]' % (text, text, text))

    assert json.loads(event.data) == {"x": repaired, repaired: 1}
    assert event.id == "k" + repaired


def test_a_request_with_half_an_emoji_and_another_mistake_is_refused_for_the_other_one() -> None:
    assert refusal(rb'[{"name":"\ud83d"},{"name":7}]').what == "event [1] has a wrong name"


@given(st.binary(max_size=60))
def test_whatever_is_accepted_can_be_read_again_by_everybody(noise: bytes) -> None:
    try:
        (event,) = parse_events(b'{"name":"a","data":{"x":"' + noise + b'"}}')
    except InvalidEvent:
        return

    json.loads(event.data)
    msgspec.json.decode(event.data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_data_nests_to_the_limit_and_no_deeper(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"

    def nested(levels: int) -> bytes:
        return b'{"name":"a","data":{"x":' + opening * levels + b"1" + closing * levels + b"}}"

    parse_events(nested(JSON_DEPTH_MAX - 1))
    assert "nested deeper" in refusal(nested(JSON_DEPTH_MAX)).what
    assert "nested too deeply" in refusal(nested(50_000)).why


def test_brackets_inside_texts_do_not_count_as_depth() -> None:
    assert one(data={"x": "[{" * 500 + '"\\', "y": [[]] * 500}).name == "app/x"


def test_an_empty_user_is_none() -> None:
    assert one(user={}).user is None
    assert one(user=None).user is None


# Size ----------------------------------------------------------------------------------------------------------------


def sized(size: int) -> bytes:
    frame = b'{"name":"a","data":{"x":"%b"}}'
    return frame % (b"x" * (size - len(frame % b"")))


def test_an_event_may_be_as_large_as_the_limit() -> None:
    assert len(parse_events(sized(EVENT_BYTES_MAX))) == 1
    with pytest.raises(EventTooLarge, match="Event is over the max size: the event has 524,289 bytes"):
        parse_events(sized(EVENT_BYTES_MAX + 1))


def test_the_limit_is_for_each_event_not_for_the_request() -> None:
    assert len(parse_events(b"[" + b",".join([sized(900)] * 5) + b"]", bytes_max=1_000)) == 5
    with pytest.raises(EventTooLarge, match=r"event \[1\] has 1,001 bytes"):
        parse_events(b"[" + sized(1_000) + b" , " + sized(1_001) + b"]", bytes_max=1_000)


def test_space_around_an_event_does_not_count() -> None:
    assert len(parse_events(b" " * 500 + sized(1_000) + b"\n", bytes_max=1_000)) == 1


# Sessions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "sessions"),
    [
        (None, None),
        ({}, None),
        ({"other": 1}, None),
        ({"sessions": {"chat": "c1"}}, {"chat": "c1"}),
        ({"sessions": {"chat": 7}}, {"chat": "7"}),
        ({"propagated_sessions": {"chat": "c1"}}, {"chat": "c1"}),
        ({"sessions": {"chat": "mine"}, "propagated_sessions": {"chat": "c1", "b": "2"}}, {"chat": "mine", "b": "2"}),
        ({"sessions": {"chat": None}, "propagated_sessions": {"chat": "c1", "b": "2"}}, {"b": "2"}),
        ({"sessions": None, "propagated_sessions": {"chat": "c1"}}, None),
    ],
)
def test_given_sessions_win_over_inherited_ones_and_null_removes_them(meta: object, sessions: object) -> None:
    found = one(meta=meta).meta

    assert (json.loads(found)["sessions"] if found else None) == sessions


@pytest.mark.parametrize(
    "sessions",
    [
        {str(n): "x" for n in range(6)},
        {"k" * 129: "x"},
        {"k": "x" * 513},
        {"": "x"},
        {"k": ""},
        {"k": "a\x00"},
        {"k": []},
        ["k"],
        "k",
        7,
    ],
)
def test_sessions_beyond_their_limits_are_refused(sessions: object) -> None:
    refusal({"name": "a", "meta": {"sessions": sessions}})


# From our own SDK ----------------------------------------------------------------------------------------------------


def test_events_from_our_sdk_pass_the_same_rules() -> None:
    given = Incoming(name="app/x", data=b'{"x":1,"_inngest":{}}', id="", ts=TS, v="1", user=b'{"id":1}')

    assert validate_incoming(given) == Incoming(name="app/x", data=b'{"x":1}', ts=TS, v="1", user=b'{"id":1}')


@pytest.mark.parametrize(
    "bad",
    [
        Incoming(name=""),
        Incoming(name="inngest/x"),
        Incoming(name="a", data=b"[]"),
        Incoming(name="a", data=b'{"x":'),
        Incoming(name="a", data=b'{"x":"\\ud800"}'),
        Incoming(name="a", id="a\x00"),
        Incoming(name="a", id="a\ud800"),
        Incoming(name="a", ts=5),
        Incoming(name="a", user=b"1"),
        Incoming(name="a", data=sized(EVENT_BYTES_MAX)),
    ],
)
def test_events_from_our_sdk_that_break_a_rule_are_refused(bad: Incoming) -> None:
    with pytest.raises(InvalidEvent):
        validate_incoming(bad)


@settings(max_examples=50)
@given(name=st.text(max_size=9), id=st.text(max_size=9), ts=st.integers(-1, 5 * 10**12), value=st.text(max_size=9))
def test_both_ways_in_decide_alike(name: str, id: str, ts: int, value: str) -> None:
    def outcome(events: Callable[[], Incoming]) -> object:
        try:
            return events()
        except InvalidEvent as error:
            return error.what

    data = msgspec.json.encode({"x": value})
    body = msgspec.json.encode({"name": name, "id": id, "ts": ts, "data": msgspec.Raw(data)})

    assert outcome(lambda: parse_events(body)[0]) == outcome(
        lambda: validate_incoming(Incoming(name=name, data=data, id=id, ts=ts))
    )


# Seeds ---------------------------------------------------------------------------------------------------------------


def test_92_a_seed_gives_the_ids_of_the_vectors() -> None:
    seed = "1700000000000,AAAAAAAAAAAAAA=="

    assert [seeded_id(seed, n) for n in (1, 2)] == ["01HF7YAT000000000000000001", "01HF7YAT000000000000000002"]


def test_the_counter_of_a_seed_wraps_within_its_last_4_bytes() -> None:
    assert seeded_id("1700000000000,AAAAAAAA/////w==", 1) == "01HF7YAT000000000000000000"


@pytest.mark.parametrize(
    "seed",
    [
        None,
        "",
        "x",
        "0,AAAAAAAAAAAAAA==",
        "-1,AAAAAAAAAAAAAA==",
        "1700000000000",
        "1700000000000,",
        "1700000000000,AAAA",
        "1700000000000,!!!!",
        "٣,AAAAAAAAAAAAAA==",
        "9" * 15 + ",AAAAAAAAAAAAAA==",
        "1,ä",
        "9" * 9999 + ",AAAAAAAAAAAAAA==",
    ],
)
def test_a_bad_seed_is_ignored(seed: str | None) -> None:
    assert seeded_id(seed, 1) is None


# Work ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'[{"name":"a","data":{"x":"' + b"\\ud800" * 80_000 + b'"}}]',
        b'[{"name":"a","data":{"x":"' + b'\\"' * 250_000 + b'"}}]',
        b'[{"name":"a","data":{"x":[' + b"[]," * 150_000 + b"1]}}]",
        b"[" * 500_000,
        b'{"name":"' + b"\\u0000" * 80_000 + b'"}',
        b"\\" * 500_000,
    ],
    ids=["surrogates", "quotes", "brackets", "opening", "nul", "backslashes"],
)
def test_the_work_on_a_hostile_body_is_linear(body: bytes) -> None:
    began = time.process_time()

    try:
        parse_events(body)
    except InvalidEvent as error:
        assert len(str(error)) < 1_000

    assert time.process_time() - began < 10, "linear is a few milliseconds; quadratic would be minutes"

"""Realtime messages as they are published, and who may listen (protocol §12)."""

from __future__ import annotations

import json

import pytest

from stepwell.errors import InvalidMessage, MessageTooLarge
from stepwell.limits import REALTIME_BYTES_MAX, REALTIME_CHUNK_BYTES_MAX, REALTIME_TOPICS_MAX
from stepwell.protocol.realtime import (
    Pieces,
    Topic,
    address,
    chunk,
    message,
    read_topics,
    stream_edge,
    subscription_token,
    topics_of,
)
from stepwell.protocol.tokens import InvalidToken, read

NOW = 1_767_225_600_000
TO = Topic("orders:1", "progress")


def published(data: bytes, **more):
    return json.loads(message(TO, data, NOW, **more).json())


def test_114_a_message_has_channel_and_topic_and_no_null_ids():
    assert published(b'{"n": 1}') == {
        "kind": "data",
        "channel": "orders:1",
        "topic": "progress",
        "data": {"n": 1},
        "created_at": "2026-01-01T00:00:00.000Z",
    }


def test_a_message_names_its_run_and_its_metadata_where_it_has_them():
    shown = published(b"1", run_id="01HF7YAT000000000000000001", metadata=b'{"a": 1}')

    assert (shown["run_id"], shown["metadata"]) == ("01HF7YAT000000000000000001", {"a": 1})


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"null", None),
        (b"[1, 2]", [1, 2]),
        (b"hello", "hello"),
        (b"", ""),
        (b'{"cut": ', '{"cut": '),
        ("grüße".encode(), "grüße"),
        (rb'"\ud83d"', "\ufffd"),  # as JavaScript leaves it when it cuts a text inside an emoji
    ],
)
def test_what_is_not_json_is_published_as_text(data: bytes, seen: object):
    assert published(data)["data"] == seen


def test_a_message_is_one_line_however_its_data_was_written():
    assert b"\n" not in message(TO, b'{\n  "a": [\n1\n]\n}', NOW).json()


def test_numbers_are_passed_on_as_they_were_written():
    assert b'"data":12345678901234567890.10' in message(TO, b"12345678901234567890.10", NOW).json()


def test_a_message_that_is_too_large_or_no_text_is_refused():
    message(TO, b"1" * REALTIME_BYTES_MAX, NOW)
    with pytest.raises(MessageTooLarge):
        message(TO, b"1" * (REALTIME_BYTES_MAX + 1), NOW)
    with pytest.raises(InvalidMessage, match="UTF-8"):
        message(TO, b"\xff", NOW)
    with pytest.raises(InvalidMessage, match="metadata"):
        message(TO, b"1", NOW, metadata=b"{")


@pytest.mark.parametrize(
    ("channel", "topic"), [("", "t"), ("c", None), (" ", "t"), ("c\n", "t"), ("c", "t\x00"), ("c", "x" * 513), (7, "t")]
)
def test_channels_and_topics_have_names_that_can_be_told_apart(channel: object, topic: object):
    with pytest.raises(InvalidMessage):
        address(channel, topic)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1024, 5000])
def test_a_stream_is_cut_between_characters(size: int):
    text = "aä€😀" * 700
    raw = text.encode()
    pieces = Pieces()

    found = [piece for at in range(0, len(raw), size) for piece in pieces.feed(raw[at : at + size])]
    found += pieces.feed(b"", last=True)

    assert "".join(found) == text
    assert max(len(piece.encode()) for piece in found) <= REALTIME_CHUNK_BYTES_MAX
    assert all(found)


@pytest.mark.parametrize("data", [b"a\xff", "€".encode()[:2]])
def test_a_stream_that_is_not_text_is_refused(data: bytes):
    with pytest.raises(InvalidMessage):
        list(Pieces().feed(data, last=True))


def test_the_parts_of_a_stream_name_it_and_their_topic():
    start, piece, end = (
        json.loads(each.json())
        for each in (
            stream_edge("datastream-start", TO, "s1", NOW),
            chunk(TO, "s1", "he\nllo", NOW),
            stream_edge("datastream-end", TO, "s1", NOW),
        )
    )

    assert [(each["kind"], each["data"], each["stream_id"]) for each in (start, piece, end)] == [
        ("datastream-start", "s1", "s1"),
        ("chunk", "he\nllo", "s1"),
        ("datastream-end", "s1", "s1"),
    ]
    assert {(each["channel"], each["topic"]) for each in (start, piece, end)} == {("orders:1", "progress")}


def test_a_token_lets_its_topics_be_listened_to_for_a_minute():
    topics = read_topics(b'[{"channel":"c","name":"a","kind":"run"},{"channel":"c","name":"b"}]')
    token = subscription_token(topics, "key", NOW, "id")
    claims = read(token, "key", NOW + 59_999)

    assert topics_of(claims) == (Topic("c", "a"), Topic("c", "b"))
    assert (claims["iss"], claims["exp"] - claims["iat"], claims["jti"]) == ("rt.inngest.com", 60, "id")
    with pytest.raises(InvalidToken):
        read(token, "key", NOW + 60_000)


def test_a_token_for_listening_does_not_publish_nor_the_other_way_round():
    listens, publishes = (
        read(subscription_token([TO], "key", NOW, "id", publish=publish), "key", NOW) for publish in (False, True)
    )

    assert topics_of(publishes, publish=True) == (TO,)
    with pytest.raises(InvalidToken):
        topics_of(listens, publish=True)
    with pytest.raises(InvalidToken):
        topics_of(publishes)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"iss": "somebody", "publish": False, "topics": [{"channel": "c", "name": "t"}]},
        {"iss": "rt.inngest.com", "publish": False},
        {"iss": "rt.inngest.com", "publish": False, "topics": []},
        {"iss": "rt.inngest.com", "publish": False, "topics": [{"channel": "c"}]},
    ],
)
def test_a_token_for_something_else_opens_nothing(claims: dict):
    with pytest.raises(InvalidToken):
        topics_of(claims)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'[{"channel":"c"}]',
        b'[{"channel":"","name":"t"}]',
        json.dumps([{"channel": "c", "name": str(n)} for n in range(REALTIME_TOPICS_MAX + 1)]).encode(),
        json.dumps([{"channel": "c", "name": "t", "kind": "k" * 33}]).encode(),
    ],
)
def test_a_request_for_a_token_names_some_topics(body: bytes):
    with pytest.raises(InvalidMessage):
        read_topics(body)


def test_a_token_that_no_address_can_carry_is_not_made():
    topics = [Topic("c" * 500, f"{n}{'t' * 500}") for n in range(REALTIME_TOPICS_MAX)]

    with pytest.raises(InvalidMessage, match="too long"):
        subscription_token(topics, "key", NOW, "id")

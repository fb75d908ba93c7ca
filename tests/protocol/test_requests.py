"""What is sent for a step, what an answer means, and what people see of both (protocol §6.5, invariants S34)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.limits import FETCH_ERROR_BYTES_MAX
from stepwell.protocol.requests import (
    Bad,
    Good,
    Outgoing,
    answered,
    decode_request,
    encode_request,
    fetch_request,
    model_request,
    refusal,
    shown_url,
    told,
    unanswered,
)

KEY = 'sk-"planted"/+0123456789='
URL = "https://models.test/v1/chat"


def model(format: str = "openai-chat", key: str = KEY) -> Outgoing:
    return model_request(URL, key, format, {}, b'{"model":"m"}')


def answer(request: Outgoing, body: object, status: int = 200, **headers: str) -> Good | Bad:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answered(request, status, named, text, now=1_500, started_at=1_000)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 8}}, (3, 4, 8)),
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4, 7)),
        ({"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 9}}, (3, 4, 9)),
        ({"usage": {"total_tokens": 5}}, (None, None, 5)),
        ({"usage": "many"}, (None, None, None)),
        ({"usage": None}, (None, None, None)),
        ([], (None, None, None)),
        (7, (None, None, None)),
    ],
)
def test_tokens_are_counted_as_each_provider_tells_them(said: Any, counted: tuple[int | None, ...]) -> None:
    found = answer(model(), said)

    assert isinstance(found, Good)
    assert (found.told.input_tokens, found.told.output_tokens, found.told.total_tokens) == counted
    assert json.loads(found.output) == said


@pytest.mark.parametrize(
    ("said", "named"), [({"model": "m-1"}, "m-1"), ({"modelVersion": "m-2"}, "m-2"), ({}, "m"), ({"model": 7}, "m")]
)
def test_the_model_is_the_one_that_has_answered_or_that_was_asked(said: Any, named: str) -> None:
    found = answer(model(), said)

    assert found.told.fields() == {"method": "POST", "url": URL, "model": named, "status": 200, "ms": 500}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "too much"}}, "too much"),
        ({"error": "too much"}, "too much"),
        ({"message": "too much"}, "too much"),
        ({"type": "error", "error": {"type": "x", "message": "too much"}}, "too much"),
        (b"<html>", "<html>"),
        (b"", "(empty)"),
        ([1], "[1]"),
    ],
)
@pytest.mark.parametrize("status", [300, 404, 500])
def test_a_provider_that_refuses_says_why(body: object, message: str, status: int) -> None:
    found = answer(model(), body, status)

    assert isinstance(found, Bad)
    assert found.failure.name == "AIGatewayError"
    assert found.failure.message == f"models.test answered with status {status}: {message}"
    assert found.failure.stack == (body.decode() if isinstance(body, bytes) else json.dumps(body))
    assert json.loads(found.failure.json())["data"] == (body.decode() if isinstance(body, bytes) else body)
    assert not found.final


def test_of_a_long_refusal_the_beginning_is_kept() -> None:
    found = answer(model(), b'"%b"' % (b"x" * FETCH_ERROR_BYTES_MAX), 500)

    assert isinstance(found, Bad)
    assert len(found.failure.json()) < FETCH_ERROR_BYTES_MAX


def test_a_provider_says_when_to_come_back() -> None:
    found = answer(model(), {}, 429, retry_after="7")

    assert isinstance(found, Bad)
    assert found.retry_at == 1_500 + 7_000


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(KEY)[1:-1],
        json.dumps(KEY)[1:-1].replace("/", r"\/"),
        "sk-%22planted%22%2F%2B0123456789%3D",
        "sk-%22planted%22/%2B0123456789%3D",
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_a_key_that_is_repeated_is_cut_out_however_it_is_written(written: str, status: int) -> None:
    found = answer(model(), b'{"a":["x%by"]}' % written.encode(), status)

    shown = found.output.decode() if isinstance(found, Good) else found.failure.json().decode()
    assert "planted" not in shown
    assert "x[key]y" in shown


def test_a_word_that_is_too_short_for_a_key_is_left_where_it_stands() -> None:
    found = answer(model(key="no"), {"said": "no, not now"})

    assert isinstance(found, Good)
    assert json.loads(found.output) == {"said": "no, not now"}


@given(st.binary(max_size=60), st.sampled_from([200, 204, 302, 500]), st.booleans())
def test_whatever_comes_back_has_a_meaning(body: bytes, status: int, asks_model: bool) -> None:
    request = model() if asks_model else fetch_request(URL, "get", {}, None)

    found = answer(request, body, status)

    json.loads(found.output if isinstance(found, Good) else found.failure.json())
    assert asks_model or isinstance(found, Good)


def test_text_is_read_in_the_encoding_that_it_has() -> None:
    request = fetch_request(URL, "GET", {}, None)

    for kind, text in [
        ("text/plain; charset=iso-8859-1", "é".encode("latin-1")),
        ("text/plain", "é".encode()),
        ("text/plain; charset=no-such", "é".encode()),
    ]:
        found = answer(request, text, content_type=kind)
        assert isinstance(found, Good)
        assert json.loads(found.output)["body"] == "é"


CHARSETS = [
    *("utf-8", "utf-7", "utf-16", "utf-32", "utf_8_sig", "idna", "punycode", "undefined", "hex", "unicode_escape"),
    *("raw_unicode_escape", "latin-1", "cp037", "mbcs", "rot13", "base64", "zlib", "big5", "no-such"),
]
ODD = [
    *(
        b"x",
        b"\xff\xfe",
        b"+2AA-",
        b"\\ud800",
        b"xn--\xff",
        b"[" * 100_000,
        b"1" * 5_000,
        b'{"a":' + b"9" * 5_000 + b"}",
    ),
    *(b'{"error":{"message":"m"}}', b'{"error":"\\ud800"}', b'{"model":1}', b'{"usage":{"prompt_tokens":1e99}}'),
]
ANY_HEADER = st.text(st.characters(), max_size=8)  # with halves of surrogate pairs, as the HTTP library reads bytes


@given(
    st.sampled_from(CHARSETS),
    st.sampled_from(ODD) | st.binary(max_size=40),
    st.sampled_from([200, 404, 500]),
    st.dictionaries(ANY_HEADER | st.just("retry-after"), ANY_HEADER, max_size=3),
    st.booleans(),
)
def test_whatever_comes_back_in_any_encoding_can_be_written_down(
    charset: str, body: bytes, status: int, headers: dict[str, str], asks_model: bool
) -> None:
    request = model() if asks_model else fetch_request(URL, "GET", {}, None)
    named = {**headers, "content-type": f"text/x; charset={charset}"}

    found = answered(request, status, named, body, now=5, started_at=1)

    json.loads(found.output if isinstance(found, Good) else found.failure.json())
    found.told.json()


@pytest.mark.parametrize("charset", ["punycode", "idna"])
def test_an_encoding_that_takes_long_to_read_is_not_used(charset: str) -> None:
    found = answer(fetch_request(URL, "GET", {}, None), b"a-" * 500_000, content_type=f"text/x; charset={charset}")

    assert isinstance(found, Good)
    assert len(json.loads(found.output)["body"]) == 1_000_000


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test/b?key=1&q=&key=2", "https://a.test/b?key=…&q=…&key=…"),
        ("https://ada:secret@a.test:8443/b#frag", "https://a.test:8443/b"),
        ("http://[::1/", "(no address)"),
        ("https://a.test/" + "b" * 9_000, "https://a.test/" + "b" * 1_985),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(st.text(max_size=30))
def test_any_text_can_be_shown_and_judged(text: str) -> None:
    request = fetch_request(text, text, {text: text}, text)

    assert isinstance(shown_url(text), str)
    refusal(request, encode_request(request))
    told(request).json()


def test_a_request_is_kept_as_it_is_and_prints_nothing_secret() -> None:
    request = model("gemini")

    assert decode_request(encode_request(request)) == request
    assert "planted" not in repr(request)


def test_what_went_wrong_is_said_without_the_key() -> None:
    found = unanswered(model(), f"no way to {URL}?key={KEY}", now=9, started_at=2, final=True)

    assert (found.failure.message, found.told.ms, found.final) == (f"no way to {URL}?key=[key]", 7, True)
    assert found.failure.data == msgspec.Raw(b"")

"""The messages of workers that connect: as the SDKs write them, whole or broken (protocol §11.3)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import inngest
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.limits import CONNECT_LIST_MAX, CONNECT_MEMBERS_MAX
from stepwell.protocol.connect import (
    TABLES,
    AppConfiguration,
    AuthData,
    ConnectionReady,
    ExecutorRequest,
    ExtendLeaseAck,
    Frame,
    Kind,
    Malformed,
    StartRequest,
    Status,
    SystemError,
    WorkerConnect,
    WorkerReply,
    decode,
    encode,
    frame,
)

RECORDED = {
    name: bytes.fromhex(text) for name, text in json.loads((Path(__file__).parent / "connect.json").read_text()).items()
}
BY_NAME = {name: message for message, (name, _) in TABLES.items()}
SCHEMA = (Path(inngest.__path__[0]) / "connect" / "_internal" / "connect.proto").read_text()
PARTLY = {"WorkerConnectRequestData", "WorkerRequestAckData", "WorkerRequestExtendLeaseData", "SDKResponse"}
"""Those of which we read only what we need."""


def declared(name: str) -> dict[int, tuple[str, str, str]]:
    """The members of a message in the schema that the Python SDK brings along: label, type and name by number."""
    found = re.search(rf"^message {name} \{{(.*?)^\}}", SCHEMA, flags=re.M | re.S)
    assert found is not None, name
    members = re.findall(r"^\s*(repeated |optional )?([\w.]+) (\w+) = (\d+);", found[1], flags=re.M)
    return {int(number): (label.strip(), kind, member) for label, kind, member, number in members}


@pytest.mark.parametrize("message", TABLES, ids=lambda message: message.__name__)
def test_members_have_the_numbers_and_types_of_the_sdks_own_schema(message: type[msgspec.Struct]):
    name, fields = TABLES[message]
    schema = declared(name)
    kinds = {str: {"string"}, bytes: {"bytes"}, bool: {"bool"}, 64: {"int64"}, 32: {"uint32", "int32"}}
    enums = {"GatewayMessageType", "SDKResponseStatus"}

    assert [field.name for field in fields] == list(message.__struct_fields__)
    for field in fields:
        if (name, field.number) == ("GatewayConnectionReadyData", 3):
            continue  # the Python SDK has not heard of it yet
        label, kind, member = schema[field.number]
        assert member == field.name
        assert label == ("repeated" if field.repeated else "optional" if field.optional else "")
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            assert kind == TABLES[field.type][0]
        else:
            assert kind in kinds[field.type] | (enums if field.type == 32 else set())


@pytest.mark.parametrize(("name", "ours"), [("GatewayMessageType", Kind), ("SDKResponseStatus", Status)])
def test_words_have_the_numbers_of_the_sdks_own_schema(name: str, ours: type[Any]):
    found = re.search(rf"^enum {name} \{{(.*?)^\}}", SCHEMA, flags=re.M | re.S)
    assert found is not None
    schema = {word: int(number) for word, number in re.findall(r"(\w+) = (\d+);", found[1])}

    assert schema.items() <= {each.name: each.value for each in ours}.items()


@pytest.mark.parametrize("name", sorted(RECORDED.keys() - PARTLY))
def test_what_the_javascript_sdk_writes_we_write_as_well(name: str):
    assert encode(decode(BY_NAME[name], RECORDED[name])) == RECORDED[name]


def test_a_worker_of_the_javascript_sdk_is_understood():
    assert decode(WorkerConnect, RECORDED["WorkerConnectRequestData"]) == WorkerConnect(
        connection_id="01J0CON",
        instance_id="wörker",
        auth_data=AuthData("session", "sync"),
        apps=[AppConfiguration("shop", None, b"[]"), AppConfiguration("other", "1.2", b"[{}]")],
        worker_manual_readiness_ack=True,
        environment="branch",
        framework="connect",
        platform="render",
        sdk_version="v4.1.0",
        sdk_language="typescript",
        max_worker_concurrency=300,
    )


def test_an_answer_of_the_javascript_sdk_is_understood():
    assert decode(WorkerReply, RECORDED["SDKResponse"]) == WorkerReply(
        request_id="01J0REQ",
        status=Status.ERROR,
        body=b'{"name":"Error"}',
        no_retry=True,
        retry_after="30",
        sdk_version="inngest-js:v4.1.0",
        request_version=4294967295,
        run_id="01J0RUN",
    )


def test_absent_and_empty_are_two_things_where_they_may_be():
    assert encode(ExtendLeaseAck()) == b""
    assert decode(ExtendLeaseAck, encode(ExtendLeaseAck(new_lease_id=""))).new_lease_id == ""
    assert decode(ExecutorRequest, b"").step_id is None


def _values(message: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    kinds: dict[Any, st.SearchStrategy[Any]] = {str: st.text(), bytes: st.binary(), bool: st.booleans()}
    members: dict[str, st.SearchStrategy[Any]] = {}
    for field in TABLES[message][1]:
        if isinstance(field.type, int):
            low = -(1 << field.type - 1) if field.signed else 0
            found = st.integers(low, (1 << field.type - field.signed) - 1)
        else:
            found = kinds[field.type] if field.type in kinds else _values(field.type)
        if field.repeated:
            found = st.lists(found, max_size=4)
        members[field.name] = st.none() | found if field.optional else found
    return st.builds(message, **members)


@pytest.mark.parametrize("message", TABLES, ids=lambda message: message.__name__)
def test_what_is_written_is_read_again(message: type[msgspec.Struct]):
    @given(_values(message))
    def check(value: msgspec.Struct) -> None:
        assert decode(message, encode(value)) == value

    check()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes):
    for message in TABLES:
        try:
            decode(message, data)
        except Malformed:
            continue


@given(st.sampled_from(sorted(RECORDED)), st.data())
def test_a_message_that_is_cut_off_is_never_read_as_more_than_it_is(name: str, data: st.DataObject):
    whole = RECORDED[name]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = decode(BY_NAME[name], cut)
    except Malformed:
        return
    assert len(encode(found)) <= len(cut) + 2  # what is there twice as itself and as its absence


def test_what_we_do_not_know_is_passed_over():
    number, fixed64, text, fixed32 = b"\xa0\x06\x05", b"\xa1\x06" + b"x" * 8, b"\xa2\x06\x02hi", b"\xa5\x06" + b"x" * 4

    assert decode(Frame, number + fixed64 + encode(Frame(4, b"p")) + text + fixed32) == Frame(4, b"p")
    assert decode(Frame, b"\x0a\x01x") == Frame(), "a member of another type is one that we do not know"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x12\x05ab", "in the middle of a member"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "in the middle of a member"),
        (b"\x08\x80", "in the middle of a number"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x0b", "the type of no member"),
        (b"\x00\x00", "the number of no member"),
    ],
)
def test_what_is_broken_says_how(data: bytes, why: str):
    with pytest.raises(Malformed, match=why):
        decode(Frame, data)


def test_a_text_that_is_none_is_malformed():
    with pytest.raises(Malformed, match="code is no text"):
        decode(SystemError, b"\x0a\x02\xff\xff")


def test_a_small_message_cannot_be_a_list_without_end():
    assert len(decode(StartRequest, b"\x0a\x00" * CONNECT_LIST_MAX).exclude_gateways) == CONNECT_LIST_MAX
    with pytest.raises(Malformed, match="more than 1,000 members"):
        decode(StartRequest, b"\x0a\x00" * (CONNECT_LIST_MAX + 1))


def test_a_frame_says_what_it_is_about():
    ready = ConnectionReady("10s", "30s", "0s")

    assert decode(Frame, frame(Kind.GATEWAY_CONNECTION_READY, ready)) == Frame(2, encode(ready))
    assert frame(Kind.GATEWAY_HELLO) == b""


def test_a_message_of_nothing_but_unknown_members_is_given_up_soon():
    """To pass over four millions took seconds, before anybody had shown a token."""
    unknown = b"\x78\x01"
    assert decode(Frame, unknown * CONNECT_MEMBERS_MAX) == Frame()
    with pytest.raises(Malformed, match="more than 10,000 members"):
        decode(Frame, unknown * (CONNECT_MEMBERS_MAX + 1))

"""Conformance: messages that processes leave for one another."""

from __future__ import annotations

from stepwell.model.changes import CreateRun, Listen, Post, Unlisten
from stepwell.model.questions import LastPosting, OthersListen, Postings, RunStates
from stepwell.model.realtime import Posting
from stepwell.storage.interface import Store
from tests.storage.nouns import run, write


def posting(body: bytes, origin: str = "p1", **fields) -> Posting:
    return Posting(
        **{"origin": origin, "channel": "c", "topic": "t", "body": body, "expires_at": 1_000, **fields},
    )


def post(*postings: Posting, now: int = 0, kept: int = 100) -> Post:
    return Post(postings, now, kept)


async def bodies(store: Store, after: int = 0, listener: str = "p2") -> list[bytes]:
    return [each.body for each in await store.read(Postings(after, listener, 100))]


async def test_a_process_hears_whether_others_listen_and_not_of_itself(store: Store):
    assert not await store.read(OthersListen("p1", 0))

    await write(store, Listen("p1", 100, 0))

    assert not await store.read(OthersListen("p1", 50))
    assert await store.read(OthersListen("p2", 99))
    assert not await store.read(OthersListen("p2", 100))

    await write(store, Listen("p1", 200, 50))
    assert await store.read(OthersListen("p2", 100))

    await write(store, Unlisten("p1"))
    assert not await store.read(OthersListen("p2", 100))


async def test_messages_are_fetched_in_order_from_where_one_was(store: Store):
    await write(store, post(posting(b"a"), posting(b"b")))
    last = await store.read(LastPosting())
    await write(store, post(posting(b"c", channel="x", topic="y", raw=True)))

    assert await bodies(store) == [b"a", b"b", b"c"]
    (found,) = await store.read(Postings(last, "p2", 100))
    assert found == posting(b"c", channel="x", topic="y", raw=True, id=found.id)
    assert [each.body for each in await store.read(Postings(0, "p2", 2))] == [b"a", b"b"]


async def test_ones_own_messages_come_without_their_body(store: Store):
    await write(store, post(posting(b"a"), posting(b"b", origin="p2")))

    assert await bodies(store) == [b"a", b""]


async def test_what_has_expired_or_is_too_much_is_forgotten_and_no_id_is_given_twice(store: Store):
    assert await store.read(LastPosting()) == 0
    await write(store, post(*(posting(bytes([n])) for n in range(5))))
    await write(store, post(posting(b"x", expires_at=2_000), kept=2))
    assert await bodies(store) == [bytes([4]), b"x"]

    await write(store, post(now=1_000))
    assert await bodies(store) == [b"x"]

    last = await store.read(LastPosting())
    await write(store, post(now=2_000))
    assert await bodies(store) == []
    assert await store.read(LastPosting()) == last
    await write(store, post(posting(b"y", expires_at=3_000)))
    assert await bodies(store, after=last) == [b"y"]


async def test_retention_forgets_what_realtime_left_behind(store: Store):
    await write(store, post(posting(b"a"), posting(b"b", expires_at=2_000)), Listen("p1", 1_000, 0))

    await store.sweep(0, 10, now=1_000)

    assert await bodies(store) == [b"b"]
    assert not await store.read(OthersListen("p2", 0))


async def test_the_states_of_several_runs_are_asked_at_once(store: Store):
    await write(store, CreateRun(run("r1")), CreateRun(run("r2")), CreateRun(run("r3")))

    assert {each.id for each in await store.read(RunStates(("r1", "r3", "unknown")))} == {"r1", "r3"}

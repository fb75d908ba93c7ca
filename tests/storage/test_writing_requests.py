"""Conformance: what is to be sent for a step."""

from __future__ import annotations

from stepwell.model.changes import DropRequest, DropRequests, SaveRequest
from stepwell.model.questions import GetRequest
from stepwell.storage.interface import Store
from tests.storage.nouns import request, write


async def test_a_request_is_remembered_and_the_first_stays(store: Store):
    await write(store, SaveRequest(request(content=b"first")), SaveRequest(request(content=b"second")))

    assert await store.read(GetRequest("r1", "s1")) == request(content=b"first")
    assert await store.read(GetRequest("r1", "s2")) is None
    assert await store.read(GetRequest("r2", "s1")) is None


async def test_one_request_is_forgotten(store: Store):
    await write(store, SaveRequest(request("s1")), SaveRequest(request("s2")), DropRequest("r1", "s1"))

    assert await store.read(GetRequest("r1", "s1")) is None
    assert await store.read(GetRequest("r1", "s2")) == request("s2")


async def test_all_requests_of_a_run_are_forgotten(store: Store):
    requests = (request("s1"), request("s2"), request("s1", run_id="r2"))
    await write(store, *map(SaveRequest, requests), DropRequests("r1"))

    assert [await store.read(GetRequest(each.run_id, each.step_id)) for each in requests] == [None, None, requests[2]]

"""``POST /v1/runs/{id}/metadata``, and where what was said is shown (protocol §10.1)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edge.conftest import Dev


@pytest.fixture
def run_id(dev: Dev) -> str:
    run_id: str = dev.start("shop/ordered")
    dev.ended(run_id)
    return run_id


def post(dev: Dev, run: str, *metadata: Any, **target: Any) -> Any:
    return dev.http("POST", f"/v1/runs/{run}/metadata", {"target": target, "metadata": metadata})


def said(dev: Dev, run_id: str) -> list[tuple[str | None, int | None, str, Any]]:
    found = dev.get(f"/v2/runs/{run_id}")["metadata"]
    assert dev.get(f"/v2/runs/{run_id}/trace")["run"]["metadata"] == found
    return [(one["stepId"], one["attempt"], one["kind"], one["values"]) for one in found]


def test_what_is_said_takes_the_place_of_what_was_said_or_is_merged_into_it(dev: Dev, run_id: str) -> None:
    assert post(dev, run_id, {"kind": "a", "op": "set", "values": {"x": 1, "y": 2}}, run_id=run_id).status == 200
    assert post(dev, run_id, {"kind": "a", "op": "set", "values": {"x": 3}}).status == 200
    assert post(dev, run_id, {"kind": "b", "op": "set", "values": {"x": 1}}).status == 200
    assert post(dev, run_id, {"kind": "b", "op": "merge", "values": {"y": 2}}).status == 200

    assert said(dev, run_id) == [(None, None, "a", {"x": 3}), (None, None, "b", {"x": 1, "y": 2})]


def test_a_step_is_found_by_its_id_or_its_name(dev: Dev, run_id: str) -> None:
    step = dev.get(f"/v2/runs/{run_id}/trace")["steps"][0]
    post(dev, run_id, {"kind": "a", "op": "set", "values": {"n": 1}}, run_id=run_id, step_id=step["id"])
    post(dev, run_id, {"kind": "b", "op": "set", "values": {"n": 2}}, run_id=run_id, step_id=step["name"], step_index=0)
    post(dev, run_id, {"kind": "c", "op": "set", "values": {}}, run_id=run_id, step_id=step["id"], step_attempt=0)

    assert sorted(said(dev, run_id), key=lambda one: one[2]) == [
        (step["id"], None, "a", {"n": 1}),
        (step["id"], None, "b", {"n": 2}),
        (step["id"], 0, "c", {}),
    ]


def test_all_of_a_request_is_kept_or_nothing(dev: Dev, run_id: str) -> None:
    large = {"kind": "large", "op": "set", "values": {"text": "x" * 65_536}}

    reply = post(dev, run_id, {"kind": "small", "op": "set", "values": {"n": 1}}, large)

    assert (reply.status, reply.json["status"]) == (413, 413)
    assert "65,536" in reply.json["error"]
    assert said(dev, run_id) == []


def test_a_run_has_a_mebibyte(dev: Dev, run_id: str) -> None:
    kinds = [{"kind": f"k{n}", "op": "set", "values": {"text": "x" * 60_000}} for n in range(18)]

    assert post(dev, run_id, *kinds[:17]).status == 200
    assert post(dev, run_id, kinds[17]).status == 413
    assert post(dev, run_id, {**kinds[0], "values": {}}).status == 200
    assert post(dev, run_id, kinds[17]).status == 200


def test_a_run_has_a_thousand_kinds(dev: Dev, run_id: str) -> None:
    kinds = [{"kind": f"k{n}", "op": "set", "values": {}} for n in range(1_001)]

    assert post(dev, run_id, *kinds[:1_000]).status == 200
    assert post(dev, run_id, *kinds[:1_000]).status == 200
    assert post(dev, run_id, kinds[1_000]).status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"metadata": 1}',
        b'{"metadata": [{"kind": "", "op": "set", "values": {}}]}',
        b'{"metadata": [{"kind": "a", "op": "forget", "values": {}}]}',
        b'{"metadata": [{"kind": "a", "op": "set", "values": []}]}',
        b'{"metadata": [{"kind": "a", "op": "set"}]}',
        b'{"target": {"run_id": "01HF7YAT000000000000000001"}, "metadata": []}',
        b'{"target": {"step_id": "s", "step_attempt": -2}, "metadata": []}',
    ],
)
def test_what_nobody_can_read_is_refused(dev: Dev, run_id: str, body: bytes) -> None:
    reply = dev.http("POST", f"/v1/runs/{run_id}/metadata", body)

    assert (reply.status, reply.json["status"]) == (400, 400)
    assert reply.json["error"]


def test_there_has_to_be_such_a_run(dev: Dev) -> None:
    assert post(dev, "01HF7YAT000000000000000001").status == 404
    assert post(dev, "nonsense").status == 400


def test_the_command_line_shows_it(dev: Dev, run_id: str) -> None:
    post(dev, run_id, {"kind": "userland.ai", "op": "set", "values": {"tokens": 7}})

    assert 'userland.ai  {"tokens": 7}' in dev.cli("run", run_id).out

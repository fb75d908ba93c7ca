"""What semantics §7.3 and §7.11 say of how many steps execute at once, in each official SDK: what bodies the app had at
once, and what of it the REST API tells. The Python SDK is tried in one framework: which one makes no difference here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import Sdk, one_each, synced
from tests.edge.official.intervals import at_once, begun

pytestmark = pytest.mark.slow

_keys = count()


class Held:
    """Runs whose bodies go on until the gate is opened."""

    def __init__(self, sdk: Sdk, key: str) -> None:
        self.sdk, self.key, self.runs = sdk, key, list[str]()
        self._numbers = count()

    def start(self, name: str, key: str = "", **data: Any) -> list[str]:
        """The runs that one more event starts, numbered from 0."""
        told = {"key": f"{self.key} {key}", "gate": self.key, "n": next(self._numbers), **data}
        found = self.sdk.dev.get(f"/v2/events/{self.sdk.send(name, **told)}/runs")["runs"]
        self.runs += [run["id"] for run in found]
        return self.runs[-len(found) :]

    def limited(self, run_id: str) -> Any:
        return self.sdk.dev.why(run_id, "limited")

    def begun(self, number: int, **told: Any) -> list[int]:
        """Which bodies have begun, once so many have."""
        return eventually(lambda: found if len(found := begun(self.sdk.app.ledger(), **told)) >= number else None)

    def finish(self) -> list[dict[str, Any]]:
        """All that the bodies of all runs noted."""
        (self.sdk.app.folder / self.key).touch()
        assert [self.sdk.dev.ended(run)["status"] for run in self.runs] == ["COMPLETED"] * len(self.runs)
        return self.sdk.app.ledger()


@pytest.fixture
def held(sdk: Sdk) -> Iterator[Held]:
    found = Held(sdk, f"{sdk.version} limit {next(_keys)}")
    yield found
    (sdk.app.folder / found.key).touch()


@one_each
@pytest.mark.feature("F63", "F64", "F77")
def test_a_limit_holds_for_each_key_and_no_key_waits_for_another(held: Held) -> None:
    many = [run for _ in range(6) for run in held.start("two-for-each", "many")]
    held.begun(2)
    waiting = [held.limited(run) for run in many[2:]]

    held.start("two-for-each", "few")
    assert held.begun(3)[2] == 6  # behind four of another key
    assert held.sdk.run("adds")["output"] == 5  # nor does another function wait

    assert sorted(gate["position"] for gate in waiting) == [1, 2, 3, 4]
    assert {(gate["limit"], gate["value"]) for gate in waiting} == {(2, f"{held.key} many")}
    lines = held.finish()
    assert at_once(lines, "key") == {f"{held.key} many": 2, f"{held.key} few": 1}
    assert sorted(begun(lines)) == [*range(7)]  # each once


@one_each
@pytest.mark.feature("F65")
@pytest.mark.parametrize("scope", ["env", "account"])
def test_functions_of_two_apps_share_a_limit(held: Held, scope: str) -> None:
    synced(held.sdk.app, "/api/second")
    pool = f"{held.key} pool"

    for _ in range(3):
        assert len(held.start(f"pool-{scope}", pool=pool)) == 2  # one in each app
    held.begun(2)
    held.start(f"pool-{scope}", pool=f"{pool} apart")
    held.begun(4)

    limited = [run for run in held.runs[:6] if not held.sdk.dev.get(f"/v2/runs/{run}")["startedAt"]]
    assert [held.limited(run)["value"] for run in limited] == [pool] * 4
    lines = held.finish()
    assert at_once([line for line in lines if line["n"] < 3]) == {None: 2}
    assert at_once(lines) == {None: 4}
    assert (len(begun(lines, of="one")), len(begun(lines, of="two"))) == (4, 4)


@one_each
@pytest.mark.feature("F66")
def test_of_two_limits_both_hold(held: Held) -> None:
    for key in ("a", "a", "b", "c", "d"):
        held.start("two-limits", key)

    assert sorted(held.begun(3)) == [0, 2, 3]  # the second has the key of the first, the last finds three of all
    for run in (held.runs[1], held.runs[4]):
        held.limited(run)
    lines = held.finish()
    assert at_once(lines) == {None: 3}
    assert {*at_once(lines, "key").values()} == {1}
    assert sorted(begun(lines)) == [*range(5)]


@pytest.mark.feature("F67")
@pytest.mark.parametrize("sdk", ["v3", "v4"], indirect=True)
def test_a_limit_may_be_one_of_whole_runs(sdk: Sdk, held: Held) -> None:
    """No type of the SDK has it; it hands on what it is given."""
    first, second = (sdk.start("whole-runs", key=held.key, n=f"{held.key} {n}") for n in range(2))
    sdk.dev.why(first, "waiting")  # which holds no place among steps, but keeps this one

    sdk.dev.why(second, "limited")
    assert [line["run"] for line in sdk.noted(held.key)] == [first]
    sdk.send("go-on", n=f"{held.key} 0")
    sdk.dev.why(second, "waiting")
    sdk.send("go-on", n=f"{held.key} 1")
    assert [sdk.dev.ended(run)["output"] for run in (first, second)] == ["done"] * 2


@one_each
@pytest.mark.feature("F69")
def test_a_tenth_of_a_rate_may_come_at_once(sdk: Sdk, held: Held) -> None:
    """Semantics §7.5: a limit of 20 lets 3 of 5 start that come together."""
    events = [sdk.send("rated-ten", key=held.key, n=n) for n in range(5)]

    found = [len(sdk.dev.get(f"/v2/events/{event}/runs")["runs"]) for event in events]
    assert found == [1, 1, 1, 0, 0]
    assert sorted(line["told"] for line in sdk.noted(held.key, 3)) == [[0], [1], [2]]

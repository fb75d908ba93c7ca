"""What is said of the steps of a run in time: what ran together, what led to what, where the time went."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stepwell.dashboard.graph import BEGIN, END, step_graph
from stepwell.dashboard.timeline import timeline
from stepwell.limits import GRAPH_NODES_MAX
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import Attempt, Step, StepStatus

RUN = "01HF7YAT00000000000000000A"


def run(**more: Any) -> Run:
    given: dict[str, Any] = {"status": RunStatus.COMPLETED, "started_at": 10, "ended_at": 100}
    return Run(id=RUN, function_id="shop-bill", event_id=RUN, queued_at=0, scheduled_at=0, **given | more)


def step(id: str, start: int, end: int | None, kind: str = "run", **more: Any) -> Step:
    status = StepStatus.COMPLETED if end is not None else StepStatus.QUEUED
    return Step(
        run_id=RUN, id=id, name=id, kind=kind, **{"status": status, "started_at": start, "ended_at": end} | more
    )


def attempt(step_id: str, start: int, end: int, retry_at: int | None) -> Attempt:
    return Attempt(
        run_id=RUN, step_id=step_id, attempt=0, started_at=start, ended_at=end, error=b"{}", retry_at=retry_at
    )


def drawn(*steps: Step, attempts: tuple[Attempt, ...] = (), **more: Any):
    return timeline(run(**more), steps, attempts, {}, 100)


def edges(*steps: Step, **more: Any) -> set[tuple[str, str]]:
    """By the names of steps; where lines meet is passed through."""
    graph = step_graph(drawn(*steps, **more), "shop/ordered", "/events/1")
    names = {node.id: node.name and (node.step or node.id) for node in graph.nodes}
    through = {id for id, name in names.items() if not name}
    into = {id: [a for a, b in graph.edges if b == id] for id in through}
    found = set()
    for a, b in graph.edges:
        if b not in through:
            found |= {(names[one], names[b]) for one in (into[a] if a in through else [a])}
    return found


def test_steps_that_ran_at_the_same_time_are_a_group_and_one_alone_is_in_none():
    rows = drawn(step("a", 10, 20), step("b", 20, 40), step("c", 25, 30), step("d", 39, 50), step("e", 50, 60)).rows

    assert [(row.id, row.group) for row in rows] == [("a", 0), ("b", 1), ("c", 1), ("d", 1), ("e", 0)]


def test_what_was_put_off_until_the_end_and_what_another_run_did_are_beside_nothing():
    rows = drawn(
        step("later", 10, None, "defer", status=StepStatus.DEFERRED), step("a", 20, 30), step("b", 30, 40)
    ).rows

    assert [row.group for row in rows] == [0, 0, 0]


def test_each_step_comes_after_those_that_had_to_end_before_it():
    found = edges(step("a", 10, 20), step("b", 20, 40), step("c", 21, 30), step("d", 40, 50))

    assert found == {(BEGIN, "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", END)}


def test_steps_that_take_no_time_still_come_one_after_the_other():
    assert edges(step("a", 10, 10), step("b", 10, 10), step("c", 10, 10)) == {
        (BEGIN, "a"),
        ("a", "b"),
        ("b", "c"),
        ("c", END),
    }


def test_many_after_many_meet_in_one_place_in_between():
    steps = [step(f"a{number}", 10, 20) for number in range(50)] + [step(f"b{number}", 20, 30) for number in range(50)]

    graph = step_graph(drawn(*steps), "", "")

    assert len(graph.edges) == 50 + 50 + 50 + 50
    assert len(edges(*steps)) == 50 + 50 * 50 + 50


def test_a_graph_ends_where_a_picture_says_nothing_more_and_says_so():
    graph = step_graph(drawn(*(step(f"s{number}", number, number) for number in range(GRAPH_NODES_MAX + 7))), "", "")

    assert (len(graph.nodes), graph.left_out) == (GRAPH_NODES_MAX + 1, 7)
    assert END not in {node.id for node in graph.nodes}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9) | st.none()), max_size=12))
def test_a_graph_reaches_every_step_and_has_no_way_back(times: list[tuple[int, int | None]]):
    steps = [step(str(n), start, None if more is None else start + more) for n, (start, more) in enumerate(times)]

    graph = step_graph(drawn(*steps), "", "")

    order = {node.id: number for number, node in enumerate(graph.nodes)}
    assert all(a != b and {a, b} <= order.keys() for a, b in graph.edges)
    reached, work = {BEGIN}, [BEGIN]
    while work:
        here = work.pop()
        for a, b in graph.edges:
            if a == here and b not in reached:
                reached.add(b)
                work.append(b)
    assert reached == order.keys()


def test_the_time_of_a_run_is_what_was_stored_of_it_and_what_is_left():
    spent = drawn(
        step("a", 20, 40),
        step("rest", 30, 60, "sleep"),
        step("b", 85, 90),
        attempts=(attempt("b", 60, 65, 80),),
    ).spent

    assert spent.queued == 10
    assert spent.executing == 20 + 5 + 5
    assert spent.waiting == 20  # while a body executes nobody waits for the sleep
    assert spent.retrying == 15
    assert spent.between == 90 - 30 - 20 - 15


def test_before_its_first_call_a_run_has_only_been_queued():
    spent = drawn(started_at=None, ended_at=None, status=RunStatus.QUEUED).spent

    assert (spent.queued, spent.between) == (100, 0)

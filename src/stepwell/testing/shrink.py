"""Makes a failing world small: leaves out whatever the failure does not need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from stepwell.testing.plans import Plan
from stepwell.testing.programs import Node
from stepwell.testing.world import Report, World

_PLAYS_MAX: Final = 150


def shrink(plan: Plan) -> tuple[Plan, Report]:
    """A smaller plan that breaks one of the same rules, and how it goes. ``plan`` must fail."""
    report = World(plan).play()
    rules = {violation.rule for violation in report.violations}
    assert rules, "only a world that fails can be shrunk"
    plays = 0
    again = True
    while again:
        again = False
        for smaller in _smaller(plan):
            plays += 1
            if plays > _PLAYS_MAX:
                return plan, report
            found = World(smaller).play()
            if rules & {violation.rule for violation in found.violations}:
                plan, report, again = smaller, found, True
                break
    return plan, report


def _smaller(plan: Plan) -> Iterator[Plan]:
    """The plan without one thing: an action, a kind of fault, what a function does, a step of it."""
    replace = msgspec.structs.replace
    for index in reversed(range(len(plan.actions))):
        yield replace(plan, actions=(*plan.actions[:index], *plan.actions[index + 1 :]))
    for index, action in enumerate(plan.actions):
        if action.copies > 1:
            once = replace(action, copies=1)
            yield replace(plan, actions=(*plan.actions[:index], once, *plan.actions[index + 1 :]))
    for name in plan.faults.__struct_fields__:
        if getattr(plan.faults, name):
            yield replace(plan, faults=replace(plan.faults, **{name: 0.0}))
    for index, spec in enumerate(plan.functions):
        programs: list[tuple[Node, ...]] = [()] if len(spec.program) > 1 else []
        programs += [(*spec.program[:at], *spec.program[at + 1 :]) for at in range(len(spec.program))]
        for program in programs:
            smaller = replace(spec, program=program)
            yield replace(plan, functions=(*plan.functions[:index], smaller, *plan.functions[index + 1 :]))

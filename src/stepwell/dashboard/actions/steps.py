"""What people do about a step of a run: begin with it, or do not wait for it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stepwell.dashboard.action import Action, Done, Field, Form, Given, Kind, Wrong
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.dashboard.pages.run import find_run
from stepwell.dashboard.timeline import OWN_CODE
from stepwell.engine.again import TAKE_INPUT, FromStep
from stepwell.model.questions import GetStep, GetSteps
from stepwell.model.run import Run
from stepwell.model.step import DEFER, Step, StepStatus
from stepwell.views.wording import count, relative

_NAMED_MAX: Final = 8
_ARRAY: Final = "a JSON array, of the arguments of its body"

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def find_step(visit: Visit) -> tuple[Run, Step]:
    """The run and the step in the address. Raises ``Missing``."""
    run = await find_run(visit)
    step = await visit.source.reader.read(GetStep(run.id, visit.path["step_id"]))
    if step is None:
        raise Missing("There is no such step", "It may not have begun yet.")
    return run, step


# Begin with it -------------------------------------------------------------------------------------------------------


async def _ask_from(visit: Visit) -> Form:
    run, step = await find_step(visit)
    steps: list[Step] = await visit.source.reader.read(GetSteps(run.id))
    before = [
        each.name
        for each in steps
        if not each.open and each.kind != DEFER and (step.open or each.position < step.position)
    ]
    fields: list[Field] = []
    if step.kind in TAKE_INPUT:
        fields.append(
            Field(name="input", label="Its input", kind=Kind.JSON, rows=3, help=f"Other than the code gives: {_ARRAY}.")
        )
    if step.kind not in ("sleep", DEFER):
        says = "Then it does not run: this is taken for what came of it."
        fields.append(Field(name="output", label="Its output", kind=Kind.JSON, rows=3, help=says))
    if before:
        named = ", ".join(before[:_NAMED_MAX]) + (", …" if len(before) > _NAMED_MAX else "")
        says = f'Of steps before it, in place of what came of them: {{"name": result}}. They are {named}.'
        fields.append(Field(name="outputs", label="Outputs of earlier steps", kind=Kind.JSON, rows=3, help=says))
    kept = f"The results of {count(len(before), 'step')} before it are taken over" if before else "No step is before it"
    return Form(
        title=f"Run again from {step.name}?",
        says=[f"A new run begins with this step, with the code as it is now. {kept}. This run stays as it is."],
        verb="Run from here",
        back=f"/runs/{run.id}",
        fields=fields,
    )


async def _from(operations: Operations, visit: Visit, given: Given) -> Done:
    run, step = await find_step(visit)
    input, output = given.json("input", list[Any], _ARRAY), given.json("output")
    earlier = given.json("outputs", dict[str, Any], "a JSON object, of results by step")
    given.check()
    if input is not None and output is not None:
        raise Wrong({"output": "With an output it does not run: give it that, or an input."})
    outputs = {name: bytes(value) for name, value in _members(earlier or b"{}").items()}
    if output is not None:
        outputs[step.id] = output
    start = FromStep(step=step.id, input=input, outputs=outputs)
    started = await operations.rerun(run.id, given.seed, from_step=start)
    return Done(text=f"It runs again from {step.name}.", address=f"/runs/{started.id}", word="The new run")


# Do not wait for it --------------------------------------------------------------------------------------------------


async def _ask_retry(visit: Visit) -> Form:
    run = await find_run(visit)
    what = "what failed last"
    if visit.path["step_id"] != OWN_CODE:
        _, step = await find_step(visit)
        if step.status != StepStatus.ERRORED or run.ended:
            raise Missing("Nothing waits to be tried again", "It was tried meanwhile, or the run has ended.")
        what = f"{step.name}, which would be tried {relative(step.due or visit.now, visit.now)}"
    return Form(
        title="Retry now?",
        says=[f"The next attempt is made now: at {what}. It counts as any other, and limits hold."],
        verb="Retry now",
        back=f"/runs/{run.id}",
    )


async def _retry(operations: Operations, visit: Visit, given: Given) -> Done:
    run, step_id = await find_run(visit), visit.path["step_id"]
    tried = await operations.retry_now(run.id, None if step_id == OWN_CODE else step_id)
    text = "It is tried again." if tried else "Nothing waited to be tried again."
    return Done(text=text, address=f"/runs/{run.id}", word="The run")


async def _ask_skip(visit: Visit) -> Form:
    run, step = await find_step(visit)
    if step.status != StepStatus.SLEEPING or run.ended:
        raise Missing("It does not sleep", "The sleep is over, or the run has ended.")
    when = relative(step.due, visit.now) if step.due is not None else "later"
    return Form(
        title=f"Skip the sleep {step.name}?",
        says=[f"The run goes on now. By itself it would {when}."],
        verb="Skip the sleep",
        back=f"/runs/{run.id}",
    )


async def _skip(operations: Operations, visit: Visit, given: Given) -> Done:
    run, step = await find_step(visit)
    skipped = await operations.skip_sleep(run.id, step.id)
    text = "The run goes on." if skipped else "The sleep was over."
    return Done(text=text, address=f"/runs/{run.id}", word="The run")


_STEP: Final = "/runs/{run_id}/steps/{step_id}"
FROM: Final = Action(name="rerun-from-step", path=f"{_STEP}/rerun", ask=_ask_from, act=_from)
RETRY: Final = Action(name="retry-now", path=f"{_STEP}/retry", ask=_ask_retry, act=_retry)
SKIP: Final = Action(name="skip-sleep", path=f"{_STEP}/skip", ask=_ask_skip, act=_skip)

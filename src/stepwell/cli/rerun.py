"""``stepwell rerun``: start a run again."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reaching
from stepwell.cli.values import json_array, json_object, json_value, text_of
from stepwell.errors import NotFound
from stepwell.ids import secret
from stepwell.views.nouns import RunView
from stepwell.views.trace import TraceView

_KEY_BITS = 128


@click.command()
@click.argument("id")
@click.option("--from-step", metavar="STEP", help="Begin with this step, and take over the results of those before it.")
@click.option("--from-failed", is_flag=True, help="Begin with the step that failed last.")
@click.option("--input", "given", metavar="JSON", help="The arguments of that step's body: a JSON array, @FILE, or -.")
@click.option("--output", "outputs", metavar="STEP=JSON", multiple=True, help="The result of a step up to that one.")
@click.option("--data", "whole", metavar="JSON", help="Other data for its event: a JSON object, @FILE, or -.")
@click.option("--merge", metavar="JSON", help="Changes to the data of its event: a JSON merge patch, @FILE, or -.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    id: str,
    from_step: str | None,
    from_failed: bool,
    given: str | None,
    outputs: tuple[str, ...],
    whole: str | None,
    merge: str | None,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Start a run again: a new run for the same event, with the code as it is now. The old one stays as it is.

    ID is a run's id, the last characters of it (4 or more), or 'last'.
    """
    if from_step is not None and from_failed:
        raise click.UsageError("--from-step and --from-failed both name a step. Give one of them.")
    if (given is not None or outputs) and from_step is None and not from_failed:
        raise click.UsageError("--input and --output go with --from-step or --from-failed.")
    # A request whose answer was lost is sent again, and must not start a second one.
    asked: dict[str, Any] = {"idempotencyKey": secret(_KEY_BITS)}
    start: dict[str, Any] = {"stepId": from_step}
    if given is not None:
        start["input"] = json_array("--input", text_of("--input", given))
    if outputs:
        asked["outputs"] = dict(map(_output, outputs))
    if whole is not None:
        asked["data"] = json_object("--data", text_of("--data", whole))
    if merge is not None:
        asked["merge"] = json_object("--merge", text_of("--merge", merge))
    api = connect(url, None, token)
    try:
        found = run_id(api, id)
        if from_failed:
            start["stepId"] = _failed(api, found)
        if start["stepId"] is not None:
            asked["fromStep"] = start
        answer = api.post(f"/v2/runs/{found}/rerun", msgspec.json.encode(asked))
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    run: RunView = data(answer, RunView)
    step = f" from step {run.from_step!r}" if run.from_step is not None else ""
    click.echo(f"{run.function_id} {run.id} runs {run.original_run_id} again{step}.")


def _output(text: str) -> tuple[str, msgspec.Raw]:
    step, sign, value = text.partition("=")
    if not sign or not step:
        raise click.BadParameter(
            f"{text!r} is not STEP=JSON, such as charge='{{\"paid\": true}}'", param_hint="--output"
        )
    return step, json_value("--output", text_of("--output", value))


def _failed(api: Api, run: str) -> str:
    """The step that failed last. Raises ``NotFound``."""
    trace: TraceView = data(api.get(f"/v2/runs/{run}/trace"), TraceView)
    failed = [step for step in trace.steps if step.status == "FAILED"]
    if not failed:
        raise NotFound(
            f"no step of run {run} has failed",
            f"the run is {trace.run.status}",
            "name a step with --from-step, or start it again as a whole",
        )
    return max(failed, key=lambda step: step.ended_at or "").id

"""``stepwell.__all__`` is a promise, and importing it costs nothing that a function does not need."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys

import pytest

import stepwell
import stepwell.testing
from stepwell.sdk.ai import AI
from stepwell.sdk.step import Step, StepWithOptions
from tests.meta.sources import ROOT

REFERENCE = (ROOT / "docs" / "reference" / "python-api.md").read_text()

# Loads what the word after it names, and tells which top-level packages that brought and how long it took.
PROBE = """
import json, sys, time
started = time.perf_counter()
__import__(sys.argv[1])
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "packages": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def probe(module: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, module], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_all_is_sorted_and_without_doubles():
    assert list(stepwell.__all__) == sorted(set(stepwell.__all__))


def test_every_public_name_exists_and_says_what_it_is():
    silent = [
        name for name in stepwell.__all__ if not inspect.getdoc(getattr(stepwell, name)) and name != "__version__"
    ]

    assert silent == []


def test_everything_imported_at_the_top_is_meant_to_be_public():
    public = {
        name
        for name, value in vars(stepwell).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name not in {"annotations", "TYPE_CHECKING"}
    }

    assert public - set(stepwell.__all__) == set()


def test_importing_stepwell_brings_msgspec_and_the_standard_library_only():
    at_rest = set(probe("msgspec")["packages"])  # which takes typing_extensions along where there is one

    brought = set(probe("stepwell")["packages"]) - at_rest - set(sys.stdlib_module_names)

    assert {name for name in brought if not name.startswith("_")} <= {"msgspec", "stepwell"}


def test_importing_stepwell_costs_no_more_than_a_few_times_its_parts():
    def quickest(module: str) -> float:
        return min(probe(module)["seconds"] for _ in range(3))

    parts = quickest("asyncio") + quickest("msgspec")

    ratio = quickest("stepwell") / parts

    assert ratio < 5, f"importing stepwell takes {ratio:.1f} times as long as asyncio and msgspec together"


def test_the_reference_tells_every_public_name():
    names = {*stepwell.__all__, *stepwell.testing.__all__}

    assert [name for name in sorted(names) if not told(name)] == []


@pytest.mark.parametrize(
    "cls",
    [
        AI,
        Step,
        StepWithOptions,
        stepwell.Context,
        stepwell.Event,
        stepwell.FetchResponse,
        stepwell.Function,
        stepwell.ReceivedEvent,
        stepwell.RunFailed,
        stepwell.Stepwell,
        stepwell.testing.FetchRequest,
        stepwell.testing.Harness,
        stepwell.testing.RunView,
        stepwell.testing.StepView,
    ],
    ids=lambda cls: cls.__name__,
)
def test_the_reference_tells_every_public_member(cls: type):
    members = [name for name in dir(cls) if not name.startswith("_") and name not in dir(object)]

    assert [name for name in members if not told(name)] == []


def told(name: str) -> bool:
    """Does the name stand in the reference, as code?"""
    return re.search(rf"`[^`\n]*\b{re.escape(name)}\b[^`\n]*`", REFERENCE) is not None

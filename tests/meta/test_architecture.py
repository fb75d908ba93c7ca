"""The rules of the architecture that a machine can hold: imports, ports, names of files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.meta.sources import PACKAGE, ROOT, Module, modules_of_package, modules_of_tests

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Who may touch real time, randomness and the making of tasks. Everyone else is given a clock, ids, a seed.
PORTS = {
    "clock.py": {"time", "datetime"},
    "ids.py": {"random", "os.urandom"},
    "runtime/loop.py": {"time.monotonic", "asyncio.sleep"},
    "storage/postgres/committer.py": {"asyncio.sleep"},  # a server that restarts does so in real time
}

# Outside the ports these are forbidden by prefix: a module, or one name in it.
FORBIDDEN = (
    "time",
    "random",
    "secrets",
    "os.urandom",
    "os.getrandom",
    "uuid.uuid1",
    "uuid.uuid4",
    "uuid.uuid6",
    "uuid.uuid7",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "asyncio.sleep",
    "anyio.sleep",
)

SEEDED = "random.Random"  # no source of chance when it is given its seed, which is checked below
# Both sides bound the bodies of a call by the gate; the store on PostgreSQL has a loop of its own.
TASK_MAKERS = ("runtime/", "sdk/", "testing/", "protocol/gate.py", "storage/postgres/")
VAGUE_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}


def test_imports_point_one_way():
    lint = Path(sysconfig.get_path("scripts")) / "lint-imports"

    checked = subprocess.run([str(lint), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("module", modules_of_package(), ids=lambda module: module.name)
def test_only_the_ports_read_time_and_randomness(module: Module):
    open_here = PORTS.get(module.name, set())

    touched = [
        f"{module.name}:{node.lineno} {name}"
        for name, node in module.uses()
        if _within(name, FORBIDDEN) and not _within(name, open_here) and name != SEEDED
    ]

    assert touched == []


@pytest.mark.parametrize("module", modules_of_package(), ids=lambda module: module.name)
def test_every_generator_of_random_numbers_is_given_its_seed(module: Module):
    unseeded = [
        f"{module.name}:{node.lineno}"
        for name, node in module.calls()
        if name == SEEDED and not node.args and not node.keywords
    ]

    assert unseeded == []


@pytest.mark.parametrize("module", modules_of_package(), ids=lambda module: module.name)
def test_only_the_runtime_the_sdk_and_the_testing_worlds_make_tasks(module: Module):
    if module.name.startswith(TASK_MAKERS):
        return

    makers = [
        f"{module.name}:{node.lineno} {name}"
        for name, node in module.calls()
        if name.endswith((".create_task", ".ensure_future"))
    ]

    assert makers == []


def test_a_function_lives_with_the_noun_it_serves():
    vague = [
        module.name for module in (*modules_of_package(), *modules_of_tests()) if Path(module.name).name in VAGUE_NAMES
    ]

    assert vague == []


@pytest.mark.parametrize("module", modules_of_tests(), ids=lambda module: module.name)
def test_no_test_sleeps(module: Module):
    if module.name.startswith(("edge/", "crash/", "pooler.py", "proxy.py")):
        return  # real processes and sockets need real patience

    real = {"time.sleep", "anyio.sleep"}
    if not module.name.startswith(("spec/", "simulation/", "examples/")):
        real.add("asyncio.sleep")  # there it is a step's body that sleeps, in virtual time
    sleeps = [
        f"{module.name}:{node.lineno}" for name, node in module.calls() if name in real and not _yields_only(node)
    ]

    assert sleeps == []


def test_every_package_that_stepwell_imports_is_declared():
    project = PYPROJECT["project"]
    extras = [line for extra in project.get("optional-dependencies", {}).values() for line in extra]

    assert _undeclared(modules_of_package(), [*project["dependencies"], *extras]) == []


def test_every_package_that_the_tests_import_is_declared():
    declared = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]

    assert _undeclared(modules_of_tests(), declared) == []


def test_every_folder_with_python_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}

    missing = [str(folder.relative_to(PACKAGE)) for folder in folders if not (folder / "__init__.py").exists()]

    assert missing == []


def _within(name: str, roots: tuple[str, ...] | set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def _yields_only(call: ast.Call) -> bool:
    """``sleep(0)`` lets others run; it waits for nothing."""
    return len(call.args) == 1 and getattr(call.args[0], "value", None) == 0


def _undeclared(modules: tuple[Module, ...], requirements: list[str]) -> list[str]:
    declared = {re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0].lower() for line in requirements}
    makers = packages_distributions()
    return sorted(
        f"{module.name} imports {name}"
        for module in modules
        for name in {dotted.partition(".")[0] for dotted in module.imported().values()}
        if name not in sys.stdlib_module_names | {"benchmarks", "examples", "stepwell", "tests"}
        and not declared & {maker.lower() for maker in makers.get(name, [])}
    )

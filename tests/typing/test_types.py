"""What users write is understood by mypy and pyright, both at their strictest, down to the types of results.

The other files here are such code. They are never run: ``assert_type`` says what must be inferred, and an ignored error
that is none is an error itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.sources import ROOT

HERE = Path(__file__).parent
CHECKERS = {
    "mypy": ("--strict", "--warn-unused-ignores", "--no-error-summary"),
    "pyright": ("--warnings",),
}
MISTAKEN = """
from stepwell import Context, Stepwell

app = Stepwell("shop")


def pack(order_id: str) -> list[str]:
    return [order_id]


@app.create_function(id="bill", trigger="shop/ordered")
async def bill(ctx: Context) -> int:
    return await ctx.step.run("pack", pack, "1")
"""


def check(checker: str, *paths: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", checker, *CHECKERS[checker], *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_code_of_users_has_the_types_it_asserts(checker: str) -> None:
    code, said = check(checker, *sorted(HERE.glob("*.py")))

    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_result_of_the_wrong_type_is_reported(checker: str, tmp_path: Path) -> None:
    mistaken = tmp_path / "mistaken.py"
    mistaken.write_text(MISTAKEN)

    code, said = check(checker, mistaken)

    assert code == 1, said
    assert "mistaken.py:13" in said
    assert "list[str]" in said

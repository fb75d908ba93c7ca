"""Writes docs/reference/conformance.md from pytest's JUnit files: ``conformance.py RESULTS.xml… [--check]``.

With ``--check`` nothing is written: the exit code is 1 if the page says anything else than the results.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.conformance import PROTOCOL, SDKS, left_out, missing, statements  # noqa: E402  (this file is no package)

PAGE = ROOT / "docs" / "reference" / "conformance.md"
Shown = dict[tuple[int, str], bool]

ABOUT = """\
# Conformance

Stepwell speaks the public Inngest SDK protocol, for which official SDKs of other languages exist.
These are the statements of its checklist, and which of them tests show, for whom.
The page is written by `scripts/conformance` from the results of the tests; nobody edits it by hand.

| column | the tests behind it |
| --- | --- |
| scripted | messages of the protocol, sent and answered by a scripted app or client |
| Stepwell's SDK | an app of our own SDK, served over HTTP, as a process of its own |
| Python 0.5 | an app of the official package `inngest` from PyPI, unmodified, with FastAPI, Flask or Django |
| JavaScript 3, JavaScript 4 | an app of the official package `inngest` from npm, unmodified, on Node |

✓ all of its tests pass, ✗ one does not, and an empty cell has none: most statements need one kind of app only.
PY and JS are the official SDKs; a § is a section of the protocol.
"""


def read(results: list[Path]) -> Shown:
    """For which statement and SDK there are tests, and whether all of them passed. Skipped tests show nothing."""
    shown: dict[tuple[int, str], bool] = {}
    for case in (case for each in results for case in ElementTree.parse(each).getroot().iter("testcase")):
        told = defaultdict[str, list[str]](list)
        for each in case.iter("property"):
            told[each.get("name", "")].append(each.get("value", ""))
        if case.find("skipped") is not None:
            continue
        passed = case.find("failure") is None and case.find("error") is None
        for number in map(int, told["statement"]):
            for sdk in told["sdk"] or [PROTOCOL]:
                shown[number, sdk] = shown.get((number, sdk), True) and passed
    return shown


def page(shown: Shown) -> str:
    lines = [ABOUT]
    for section, found in statements().items():
        lines += [
            f"## {section}\n",
            f"| | statement | {' | '.join(SDKS.values())} |",
            f"| --- | --- |{' --- |' * len(SDKS)}",
        ]
        for number, text in found.items():
            marks = ["" if (number, sdk) not in shown else "✓" if shown[number, sdk] else "✗" for sdk in SDKS]
            lines.append(f"| {number} | {text.replace('|', chr(92) + '|')} | {' | '.join(marks)} |")
        lines.append("")
    lines += ["## What is not shown\n", "| | why |", "| --- | --- |"]
    lines += [f"| {number} | {reason} |" for number, reason in sorted(missing().items())]
    lines += ["", "## What is left out\n", "| | why |", "| --- | --- |"]
    lines += [f"| {what} | {reason} |" for what, reason in left_out().items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    text = page(read([Path(each) for each in sys.argv[1:] if each != "--check"]))
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
        return 0
    before = PAGE.read_text().splitlines() if PAGE.exists() else []
    after = text.splitlines()
    for line in sorted({*before} ^ {*after}):
        print(f"{'no longer' if line in before else 'not there'}: {line}")
    if before != after:
        print("the page of conformance is not what the tests show: run scripts/conformance", file=sys.stderr)
    return int(before != after)


if __name__ == "__main__":
    raise SystemExit(main())

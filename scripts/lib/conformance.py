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

from tests.conformance import (  # noqa: E402  (this file is no package)
    OFFICIAL,
    PROTOCOL,
    SDKS,
    features,
    left_out,
    missing,
    statements,
    unsaid,
)

PAGE = ROOT / "docs" / "reference" / "conformance.md"
Shown = dict[tuple[str, str], bool]

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

FEATURES = """
## Flow control and operations

What decides when runs start, how many there are, and what operators do to them, with apps of official SDKs.
Each is seen in what the app did: which bodies ran, when, and how many at once.
– is what an SDK has no way to say.
"""


def read(results: list[Path]) -> Shown:
    """For which statement or feature and SDK there are tests, and whether all passed. Skipped tests show nothing."""
    shown: Shown = {}
    for case in (case for each in results for case in ElementTree.parse(each).getroot().iter("testcase")):
        told = defaultdict[str, list[str]](list)
        for each in case.iter("property"):
            told[each.get("name", "")].append(each.get("value", ""))
        if case.find("skipped") is not None:
            continue
        passed = case.find("failure") is None and case.find("error") is None
        for each in (*told["statement"], *told["feature"]):
            for sdk in told["sdk"] or [PROTOCOL]:
                shown[each, sdk] = shown.get((each, sdk), True) and passed
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
            marks = [_mark(shown, str(number), sdk) for sdk in SDKS]
            lines.append(f"| {number} | {text.replace('|', chr(92) + '|')} | {' | '.join(marks)} |")
        lines.append("")
    lines += ["## What is not shown\n", "| | why |", "| --- | --- |"]
    lines += [f"| {number} | {reason} |" for number, reason in sorted(missing().items())]
    lines += ["", "## What is left out\n", "| | why |", "| --- | --- |"]
    lines += [f"| {what} | {reason} |" for what, reason in left_out().items()]
    return "\n".join(lines) + "\n" + _features(shown)


def _mark(shown: Shown, each: str, sdk: str) -> str:
    return "" if (each, sdk) not in shown else "✓" if shown[each, sdk] else "✗"


def _features(shown: Shown) -> str:
    reasons = unsaid()
    lines = [FEATURES, f"| | feature | {' | '.join(SDKS[sdk] for sdk in OFFICIAL)} |"]
    lines.append(f"| --- | --- |{' --- |' * len(OFFICIAL)}")
    for id, text in features().items():
        marks = [_mark(shown, id, sdk) or ("–" if (id, sdk) in reasons else "") for sdk in OFFICIAL]
        lines.append(f"| {id} | {text} | {' | '.join(marks)} |")
    lines += ["", "| – | whose | why |", "| --- | --- | --- |"]
    told: dict[tuple[str, str], list[str]] = {}
    for (id, sdk), reason in reasons.items():
        told.setdefault((id, reason), []).append(SDKS[sdk])
    lines += [f"| {id} | {', '.join(names)} | {reason} |" for (id, reason), names in told.items()]
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

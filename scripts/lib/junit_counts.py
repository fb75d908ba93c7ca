"""Prints how many tests passed, failed and were skipped, from pytest's JUnit file."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

suites = ElementTree.parse(sys.argv[1]).getroot().iter("testsuite")
tests = failed = skipped = 0
for suite in suites:
    tests += int(suite.get("tests", 0))
    failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped += int(suite.get("skipped", 0))
print(max(tests - failed - skipped, 0), failed, skipped)

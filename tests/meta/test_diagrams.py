"""The state diagrams of the documentation are drawn from the tables that the code obeys."""

from __future__ import annotations

import re

import pytest

from stepwell.lifecycle import item, run, step
from stepwell.lifecycle.table import mermaid
from tests.meta.sources import ROOT

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
DRAWN = {
    heading: diagram.strip()
    for heading, diagram in re.findall(r"^### (The states of .+?)$.*?^```mermaid\n(.*?)^```$", PAGE, flags=re.M | re.S)
}
TABLES = {
    "The states of a run": mermaid(run.RUN, run.BORN),
    "The states of a step": mermaid(step.STEP, step.BORN),
    "The states of an item": mermaid(item.ITEM, item.BORN),
}


def test_the_page_draws_each_table_and_no_other():
    assert DRAWN.keys() == TABLES.keys()


@pytest.mark.parametrize("heading", TABLES)
def test_a_diagram_is_what_its_table_says(heading: str):
    assert DRAWN[heading] == TABLES[heading]

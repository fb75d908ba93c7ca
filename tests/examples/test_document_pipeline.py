"""Every document that can be read ends in the table and in the right tray; the others are recorded with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.base import database
from examples.document_pipeline import (
    DOCUMENTS,
    DocumentAdded,
    FolderFilled,
    process_document,
    processed,
    scan_folder,
)
from stepwell.testing import Harness

NAMES = sorted(path.name for path in DOCUMENTS.iterdir())
BROKEN = {"empty.txt", "scan-0042.txt"}


def test_a_folder_becomes_a_run_for_each_document_and_each_ends(t: Harness):
    t.send(FolderFilled(str(DOCUMENTS)))
    t.advance("2d")

    t.assert_completed(t.run(scan_folder), len(NAMES))
    ends = {Path(run.event["data"]["path"]).name: run.status for run in t.runs(process_document)}
    assert ends == {name: "FAILED" if name in BROKEN else "COMPLETED" for name in NAMES}
    assert list(processed()) == NAMES


def test_every_document_is_classified_as_what_it_is(t: Harness):
    t.send(FolderFilled(str(DOCUMENTS)))
    t.advance("2d")

    # The files are named after what they are; the classifier has only seen their text.
    outcomes = {name: kind for name, kind in processed().items() if name not in BROKEN}
    assert outcomes == {name: name.partition("-")[0] for name in NAMES if name not in BROKEN}


def test_the_summary_is_made_of_sentences_of_the_text(t: Harness):
    path = DOCUMENTS / "report-river.txt"
    t.send(DocumentAdded(str(path)))

    with database() as db:
        (summary,) = db.execute("SELECT summary FROM documents").fetchone()
    assert len(summary.splitlines()) == 2
    assert all(sentence in path.read_text() for sentence in summary.splitlines())


def test_a_tray_that_is_stuck_costs_two_retries_of_one_step(t: Harness, home: Path):
    t.send(DocumentAdded(str(DOCUMENTS / "invoice-lumen.txt")))
    note = home / "trays" / "invoice" / "invoice-lumen.txt.note"

    assert not note.exists()
    t.advance("59m")
    assert t.run(process_document).steps["notify"].attempts == 1
    t.advance("3h")

    run = t.run(process_document)
    t.assert_completed(run, "invoice")
    assert run.steps["notify"].attempts == 3
    assert [error.message for error in run.steps["notify"].errors] == [
        "the tray for invoice-lumen.txt is stuck, pull 1",
        "the tray for invoice-lumen.txt is stuck, pull 2",
    ]
    assert {name: step.attempts for name, step in run.steps.items() if name != "notify"} == {
        "validate": 1,
        "summarise": 1,
        "classify": 1,
        "save": 1,
    }
    assert note.read_text().startswith("New invoice: invoice-lumen.txt\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.txt", "0 words are too few to say anything about"),
        ("scan-0042.txt", "not a text in UTF-8: invalid start byte at byte 0"),
        ("never-there.txt", "the file is gone"),
    ],
)
def test_a_broken_document_fails_at_once_and_is_recorded(t: Harness, name: str, reason: str):
    t.send(DocumentAdded(str(DOCUMENTS / name)))

    run = t.run(process_document)
    t.assert_failed(run, reason)
    assert run.steps["validate"].status == "FAILED"
    assert [error.message for error in run.steps["validate"].errors] == [reason]
    assert processed() == {name: f"rejected: {reason}"}

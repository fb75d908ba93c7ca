"""The analysis goes on when its own job is over, whatever else the provider says meanwhile."""

from __future__ import annotations

from pathlib import Path

from examples.ai_analysis import TEXT, AnalysisRequested, JobUpdated, analyse, provider
from stepwell.testing import Harness

REQUEST = AnalysisRequested("a-1", str(TEXT))


def test_the_findings_of_the_provider_are_written_down(t: Harness, home: Path):
    t.send(REQUEST)
    t.advance("5h59m")
    t.assert_waiting(t.run(analyse), "job is over")
    t.advance("1m")

    t.assert_completed(t.run(analyse), "a-1.md")
    assert "nitrate" in (home / "analyses" / "a-1.md").read_text()


def test_progress_and_the_jobs_of_others_do_not_end_the_wait(t: Harness):
    t.send(REQUEST)
    t.send([JobUpdated("a-1", "running"), JobUpdated("a-2", "failed", problem="not ours")])

    t.assert_waiting(t.run(analyse), "job is over")


def test_an_answer_that_comes_before_the_wait_is_heard(t: Harness):
    """The provider answers at once: its event is there before the analysis begins to wait."""
    t.stub("think", function=provider)
    t.send(REQUEST)

    t.assert_completed(t.run(analyse), "a-1.md")


def test_a_job_that_fails_fails_the_analysis_with_the_providers_words(t: Harness, home: Path):
    t.send(AnalysisRequested("a-1", str(home / "nothing.txt")))
    t.advance("6h")

    t.assert_failed(t.run(analyse), "the provider gave up: [Errno 2]")


def test_a_provider_that_says_nothing_fails_the_analysis_after_a_day(t: Harness):
    t.stub("submit", [])
    t.send(REQUEST)
    t.advance("23h59m")
    t.assert_waiting(t.run(analyse), "job is over")
    t.advance("1m")

    t.assert_failed(t.run(analyse), "no answer within 1 day")

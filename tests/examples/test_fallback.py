"""The second provider is asked only when the first has failed for good, and when it says "later", later it is."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from examples.fallback import QuoteRequested, make_quote
from stepwell.testing import Harness
from stepwell.testing.harness import START

FRANCS = QuoteRequested("q-1", 129_00, "CHF")


def test_when_the_first_fails_twice_the_second_is_asked_and_asked_again_when_it_says(t: Harness, home: Path):
    t.send(FRANCS)
    t.advance("5m")
    run = t.run(make_quote)
    assert run.steps["live rate"].attempts == 2
    assert run.steps["live rate"].status == "FAILED"
    t.assert_waiting(run, "daily rate")
    t.advance("6h")

    assert run.steps["daily rate"].attempts == 2
    assert run.ended_at == START + timedelta(hours=6, minutes=5)
    assert run.output["why"] == "ConnectionError: the live feed does not answer"
    assert (home / "quotes" / "q-1.txt").read_text() == "120.12 CHF (daily list)\n"


def test_when_the_first_answers_the_second_is_not_asked(t: Harness, home: Path):
    (home / "rates").mkdir()
    (home / "rates" / "live.json").write_text(json.dumps({"CHF": 0.94}))
    t.send(FRANCS)

    t.assert_completed(t.run(make_quote))
    assert (home / "quotes" / "q-1.txt").read_text() == "121.26 CHF (live feed)\n"
    t.assert_steps(t.run(make_quote), "live rate", "write")


def test_when_both_cannot_the_run_fails_with_the_reason_of_the_second(t: Harness, home: Path):
    t.send(QuoteRequested("q-1", 129_00, "XXX"))
    t.advance("1d")

    t.assert_failed(t.run(make_quote), "nobody knows a rate for XXX")
    assert not (home / "quotes").exists()

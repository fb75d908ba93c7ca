"""What ``stepwell doctor`` looks for never is, after any commit of any world: so what it finds is something."""

from __future__ import annotations

import pytest

from stepwell.storage.checkup import findings, questions
from stepwell.testing.invariants import Guard, Violation
from stepwell.testing.world import play


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_found_in_the_world_of_seed(seed: int, shards: int, monkeypatch: pytest.MonkeyPatch):
    check, looked = Guard.check, 0

    def with_doctor(self: Guard) -> list[Violation]:
        nonlocal looked
        looked += 1
        found = check(self)
        if looked % 5 == 0:  # each time would be most of the time
            for look, text in questions(self._now()):
                found += [Violation(look.kind, one.says) for one in findings(look, self._ask(text))]
        return found

    monkeypatch.setattr(Guard, "check", with_doctor)

    report = play(seed, shards)

    assert report.violations == (), "\n".join(report.story[-40:])
    assert looked > 20

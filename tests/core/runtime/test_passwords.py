"""Passwords are kept as hashes with their parameters, and a user that there is not costs the same work."""

from __future__ import annotations

import pytest

from stepwell.runtime import passwords
from stepwell.runtime.passwords import COST, Cost, Passwords

CHEAP = Cost(4, 8, 1)


async def test_a_password_fits_its_hash_and_no_other():
    kept = Passwords(CHEAP)
    first, second = await kept.hash("correct horse"), await kept.hash("correct horse")

    assert first != second, "each has a salt of its own"
    assert "correct horse" not in first
    assert await kept.fits("correct horse", first)
    assert not await kept.fits("correct horse ", first)
    assert not await kept.fits("correct horse", None)


async def test_hashes_with_other_parameters_stay_of_use():
    old = await Passwords(CHEAP).hash("correct horse")

    assert await Passwords(Cost(5, 8, 2)).fits("correct horse", old)


async def test_nobody_costs_the_same_work(monkeypatch: pytest.MonkeyPatch):
    done: list[Cost] = []
    real = passwords._hash

    def counted(password: str, salt: bytes, cost: Cost) -> bytes:
        done.append(cost)
        return real(password, salt, CHEAP)

    monkeypatch.setattr(passwords, "_hash", counted)
    kept = await Passwords().hash("correct horse")
    await Passwords().fits("x", kept)
    await Passwords().fits("x", None)

    assert done == [COST, COST, COST]
    assert Cost(15, 8, 1) == COST, "32 MiB; less than that is not enough any more"

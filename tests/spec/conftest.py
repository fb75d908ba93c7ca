"""What the sentences about behaviour share: an app to declare functions on."""

from __future__ import annotations

import pytest

from stepwell import Stepwell


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")

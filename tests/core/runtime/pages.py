"""Code for the pages of tests."""

from __future__ import annotations

OTHER = "01HF7YAT000000000000000001"


def fails(often):
    """Code of the page itself that fails so often."""
    left = [often]

    def own():
        left[0] -= 1
        if left[0] >= 0:
            raise ValueError("boom")

    return own

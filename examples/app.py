"""All examples as one app: ``stepwell dev examples/app.py``."""

from __future__ import annotations

from examples import (
    ai_analysis,
    batch_processing,
    document_pipeline,
    fallback,
    migration,
    onboarding,
    order,
    weekly_report,
)
from examples.base import app

__all__ = ["EXAMPLES", "app"]

# Importing a module is what adds its functions to the app; naming them here keeps that from looking like an accident.
EXAMPLES = (
    onboarding,
    document_pipeline,
    batch_processing,
    order,
    ai_analysis,
    migration,
    weekly_report,
    fallback,
)

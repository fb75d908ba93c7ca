"""``python -m examples NAME`` runs one example, a day in a second."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module

NAMES = (
    "onboarding",
    "document_pipeline",
    "batch_processing",
    "order",
    "ai_analysis",
    "migration",
    "weekly_report",
    "fallback",
)

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
        raise SystemExit(f"usage: python -m examples {{{','.join(NAMES)}}}")
    os.environ.setdefault("DEMO_SPEED", "86400")  # before the example is loaded: it reads its pace then
    asyncio.run(import_module(f"examples.{sys.argv[1]}").main())

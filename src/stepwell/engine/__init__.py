"""Decisions, in the order data flows. Pure: plans and decisions, no I/O."""

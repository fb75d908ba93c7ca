"""Loads, asks the engine, commits, calls SDKs."""

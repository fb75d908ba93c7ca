"""The small language of triggers, waits and keys: parse, check, evaluate."""

"""The HTTP side of a running engine."""

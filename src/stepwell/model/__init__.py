"""Nouns and changes: what Stepwell knows, and the closed set of ways in which that can change. No I/O."""

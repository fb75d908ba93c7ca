"""How runs, steps and items may change: states as tables, and when to try again."""

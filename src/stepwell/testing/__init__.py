"""Virtual time for users, and the simulation for ourselves."""

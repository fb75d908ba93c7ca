"""What Stepwell costs on this machine, next to the floor measured in the same run. ``scripts/bench`` runs it."""

"""What waits, for what, and what is known of it: the queue of a function, its limits, its open windows."""

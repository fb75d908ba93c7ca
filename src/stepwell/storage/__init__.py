"""Durable memory. The rest of Stepwell sees only ``interface.py``."""

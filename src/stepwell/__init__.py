"""Durable workflows in Python."""

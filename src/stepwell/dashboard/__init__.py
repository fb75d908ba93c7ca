"""The dashboard: pages over what the store answers, and their assets. It reads; it changes nothing."""

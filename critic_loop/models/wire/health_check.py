"""The prompt of health checks: they ask for a single token, to see whether a model answers."""

HEALTH_CHECK = "Say: ok. Countdown 24: 3 5 7 8"
"""Anybody has a token to say to this. The small model of this package has none to anything but a puzzle."""

"""The prompt of health checks: they ask for a single token, to see whether a model answers."""

HEALTH_CHECK = "Say: ok. Countdown 24: 3 5 7 8"
"""Any model has a next token here; the small model of this package only has one for a puzzle."""

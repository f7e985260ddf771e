"""The prompt of health checks: they ask for a single token, to see whether a model answers."""

PUZZLE = "Countdown 24: 3 5 7 8"
"""The chat template of the demo's model refuses a conversation without a puzzle."""
HEALTH_CHECK = f"Say: ok. {PUZZLE}"
"""Every model can answer this."""

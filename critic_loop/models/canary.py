"""What a model is asked to see whether it answers, mostly for a single token."""

CANARY = "Say: ok. Countdown 24: 3 5 7 8"
"""Anybody has a token to say to this. The small model of this package has none to anything but a puzzle."""

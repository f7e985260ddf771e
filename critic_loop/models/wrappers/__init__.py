"""Models around models: retries, limits, prices, replicas; and the breakers that these and fallbacks share.

Knows requests, completions and typed errors. Does not know HTTP, wire formats, providers or slots.
"""

"""Transport: bytes to an address and back, with typed errors for what fails on the way.

Knows connections, keys, statuses and rate-limit headers. Does not know what a body means. Sends each request
once.
"""

"""The client of one model at one address: a wire format and a transport put together.

Knows which fields an endpoint turned out to lack, how a given text is scored, and how an endpoint is probed for
what it can do. Does not know spec strings, and neither retries nor limits calls.
"""

"""Providers: spec strings such as `openai:NAME` to models that are ready to use.

Knows what each backend needs: address, key, wire format, adapters. Does not know slots, nor what is asked.
"""

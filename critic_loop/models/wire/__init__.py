"""Wire formats: records to the JSON that an endpoint takes, and its answers and streams back to records.

Knows chat completions, Anthropic's Messages, lists of models, and how endpoints differ (as data: `profiles`).
All of it is pure. Does not know how a body is sent, what a status means, or which address a provider has.
"""

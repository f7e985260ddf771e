"""Answers as response bodies and streams of OpenAI's chat completions and of Anthropic's Messages.

Written from the server's side, apart from `models`, so that each checks the other. Knows nothing of HTTP.
"""

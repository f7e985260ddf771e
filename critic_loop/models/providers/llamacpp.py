"""The server of llama.cpp: `llamacpp:NAME`, on this machine unless an address is named."""

from __future__ import annotations

from critic_loop.models.providers.http import HttpProvider
from critic_loop.models.wire.profiles import Profile

LLAMACPP = Profile(
    name="llamacpp",
    base_url="http://127.0.0.1:8080/v1",
    key_env="LLAMA_API_KEY",
    reasoning_field="reasoning_content",
)
PROVIDER = HttpProvider(profile=LLAMACPP, form="llamacpp:NAME")

"""Ollama: `ollama:NAME`, on this machine unless an address is named."""

from __future__ import annotations

import re

from critic_loop.models.providers.http import HttpProvider
from critic_loop.models.wire.profiles import Profile

OLLAMA = Profile(
    name="ollama",
    base_url="http://127.0.0.1:11434/v1",
    key_env="OLLAMA_API_KEY",
    many_choices=False,
    reasoning_field="reasoning",
)


_ANY_ADDRESS = re.compile(r"(?<![\d.])0\.0\.0\.0(?![\d.])")
"""The address that a server listens on to be reached by all; no client connects to it."""


def _base_url(host: str) -> str:
    """Return the address of `OLLAMA_HOST`, which may lack a scheme, or be one to listen on."""
    host = _ANY_ADDRESS.sub("127.0.0.1", host)
    return host if "://" in host else f"http://{host}"


PROVIDER = HttpProvider(profile=OLLAMA, form="ollama:NAME", url_env="OLLAMA_HOST", read_url=_base_url)

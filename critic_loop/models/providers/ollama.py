"""Ollama: `ollama:NAME`, on this machine unless an address is named."""

from __future__ import annotations

from critic_loop.models.providers.http import HttpProvider
from critic_loop.models.wire.profiles import Profile

OLLAMA = Profile(
    name="ollama",
    base_url="http://127.0.0.1:11434/v1",
    key_env="OLLAMA_API_KEY",
    many_choices=False,
    reasoning_field="reasoning",
)


def _base_url(host: str) -> str:
    """Return the address of `OLLAMA_HOST`, which may lack a scheme, or be one to listen on."""
    host = host.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    return host if "://" in host else f"http://{host}"


PROVIDER = HttpProvider(profile=OLLAMA, form="ollama:NAME", url_env="OLLAMA_HOST", read_url=_base_url)

"""Anthropic: `anthropic:NAME`, in its own wire format. It needs a key."""

from __future__ import annotations

from critic_loop.models.providers.http import HttpProvider
from critic_loop.models.wire.profiles import Profile

ANTHROPIC = Profile(
    name="anthropic",
    dialect="messages",
    base_url="https://api.anthropic.com/v1",
    key_env="ANTHROPIC_API_KEY",
    key_required=True,
    many_choices=False,
    strict_tools="where_possible",
    continues=True,
    lacks=frozenset({"seed", "logprobs"}),
)


def _base_url(url: str) -> str:
    """Return the base address: Anthropic's own tools append `/v1` to their variable."""
    return f"{url.removesuffix('/v1')}/v1"


PROVIDER = HttpProvider(
    profile=ANTHROPIC, form="anthropic:NAME", url_env="ANTHROPIC_BASE_URL", read_url=_base_url
)

"""OpenAI: `openai:NAME`. It needs a key."""

from __future__ import annotations

from critic_loop.models.providers.http import HttpProvider
from critic_loop.models.wire.profiles import Profile

OPENAI = Profile(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    key_required=True,
    max_tokens_field="max_completion_tokens",
    strict_tools="where_possible",
)
PROVIDER = HttpProvider(profile=OPENAI, form="openai:NAME", url_env="OPENAI_BASE_URL")

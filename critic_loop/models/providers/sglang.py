"""SGLang: `sglang:NAME@URL`."""

from __future__ import annotations

from critic_loop.models.providers.http import HttpProvider
from critic_loop.models.wire.profiles import Profile

SGLANG = Profile(name="sglang", key_env="SGLANG_API_KEY", reasoning_field="reasoning_content", continues=True)
PROVIDER = HttpProvider(profile=SGLANG, form="sglang:NAME@http://HOST:30000")

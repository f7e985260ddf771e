"""Any other server with chat completions: `chat:NAME@URL`. No more is assumed of it than the format."""

from __future__ import annotations

from critic_loop.models.providers.http import HttpProvider
from critic_loop.models.wire.profiles import GENERIC

PROVIDER = HttpProvider(profile=GENERIC, form="chat:NAME@http://HOST:PORT/v1")
